"""The decoder's state as tensors by name, for graphs that run without this program.

Names that begin with `memory_` are what captions are made from, which no word changes; the others are the captions so
far: `past_…`, keys and values of their words; `visible` [B, K, S], the words that each consists of; `position`, how
many words that is.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hlcli.methods.hin.decoder import DecoderState, LevelMemory, memory_of
from hlcli.methods.hin.layers import KeysValues

_MASK = "memory_padding_mask"


def state_tensors(state: DecoderState) -> dict[str, Tensor]:
    """The state's tensors; the inverse of `state_of`."""
    memory = {
        f"memory_{number}_{asked}_{part}": tensor
        for number, level in enumerate(state.memory.levels)
        for asked, pair in level._asdict().items()
        for part, tensor in pair._asdict().items()
    }
    if state.memory.padding_mask is not None:
        memory[_MASK] = state.memory.padding_mask
    past = {
        f"past_{number}_{part}": tensor
        for number, pair in enumerate(state.past)
        for part, tensor in pair._asdict().items()
    }
    position = torch.as_tensor(state.position, device=state.visible.device)
    return {**memory, **past, "visible": state.visible, "position": position}


def state_of(tensors: Mapping[str, Tensor], num_layers: int) -> DecoderState:
    """The state of a decoder with that many layers; its position is a tensor."""
    levels = tuple(
        LevelMemory(*(_pair(tensors, f"memory_{number}_{asked}") for asked in LevelMemory._fields))
        for number in range(num_layers)
    )
    past = tuple(_pair(tensors, f"past_{number}") for number in range(num_layers))
    return DecoderState(memory_of(levels, tensors.get(_MASK)), past, tensors["visible"], tensors["position"])


def free_axes(name: str) -> dict[int, str]:
    """Axes of a tensor of that name that may have any length, beside the first one, the images'."""
    if name == "visible":
        return {1: "captions", 2: "words"}
    if name == _MASK:
        return {1: "regions"}
    if name.startswith("past"):
        return {2: "words"}
    if name.startswith("memory"):
        return {2: "grid_tokens" if "grid_attention" in name or "to_grid" in name else "regions"}
    return {}


def _pair(tensors: Mapping[str, Tensor], name: str) -> KeysValues:
    return KeysValues(*(tensors[f"{name}_{part}"] for part in KeysValues._fields))
