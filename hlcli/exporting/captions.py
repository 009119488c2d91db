"""A captioner as two graphs: an encoder, run once per image, and a step of the decoder, run once per word.

What the encoder answers is what the first step reads, `memory_…` and the captions so far, which are empty. A step also
reads `token_ids` [B, K], the last word of K captions of each image, and answers `log_probs` [B, K, V] of the next one
and the captions so far as `next_…`. A beam search lets captions change places by picking rows [B, K, S] of `visible`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hlcli.building import normalize
from hlcli.captioning.batch import CaptionInputs
from hlcli.captioning.captioner import Captioner, CaptionNetwork
from hlcli.exporting.formats import Run
from hlcli.exporting.graphs import Graph, Tensors, on_cpu, trace
from hlcli.exporting.pictures import noise
from hlcli.exporting.verification import ExportDifference, compare, greatest
from hlcli.models.folder import LoadedModel

_MEMORY, _NEXT = "memory_", "next_"
_ALLOWED = 1e-3
"""ExportDifference of log-probabilities and features, which are no numbers below 1, and grow from word to word."""
_BATCH_SIZES = (1, 2, 5)
_BEAMS = 3
_INPUT_AXES = {
    "images": {0: "batch"},
    "grid_features": {0: "batch", 1: "grid_tokens"},
    "region_features": {0: "batch", 1: "regions"},
    "padding_mask": {0: "batch", 1: "regions"},
}
_STORED_CELLS = 7
"""Grid cells of made-up stored features; any number will do."""


class _EncoderGraph(nn.Module):
    """Images, or stored features of them, to the state before the first word."""

    def __init__(self, captioner: Captioner, normalize: nn.Module) -> None:
        super().__init__()
        self.captioner, self.normalize = captioner, normalize

    def forward(self, inputs: Tensors) -> dict[str, Tensor]:
        """The state of images uint8 [B, 3, H, W], grid features [B, N, D] or region features [B, R, E]."""
        floats = {name: self.normalize(tensor) if name == "images" else tensor for name, tensor in inputs.items()}
        network = self.captioner.network
        _, state = network.start(self.captioner.encode(CaptionInputs(**floats)))
        return network.state_tensors(state)


class _StepGraph(nn.Module):
    """The state and the last words to the next ones."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensors) -> dict[str, Tensor]:
        """Log-probabilities and the next state; see the top of this file."""
        log_probs, state = self.network.step(self.network.state_of(inputs), inputs["token_ids"])
        state_tensors = self.network.state_tensors(state)
        after = {_NEXT + name: tensor for name, tensor in state_tensors.items() if not name.startswith(_MEMORY)}
        return {"log_probs": log_probs, **after}


class CaptionExport:
    """A captioner's graphs, traced, and what they must answer.

    Args:
        loaded: the model.

    Attributes:
        encoder: graph and operations.
        step: graph and operations.

    Raises:
        HlcliError: when torch cannot follow the network.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.recipe = loaded.recipe
        self.captioner: Any = on_cpu(loaded.model)
        captioner: Any = loaded.recipe.model.for_export(copy.deepcopy(self.captioner))
        module = _EncoderGraph(captioner, normalize(self.recipe.data)).eval()
        example = self.example(2)
        encoder = Graph("encoder", module, example, _INPUT_AXES)
        self.encoder: tuple[Graph, ExportedProgram] = encoder, trace(encoder)
        with torch.no_grad():
            state = _some_words_later(module(example), captioner.network, self._network.begin)
        step = Graph("decoder_step", _StepGraph(captioner.network).eval(), state, self._step_axes(state))
        self.step: tuple[Graph, ExportedProgram] = step, trace(step)

    @property
    def _network(self) -> CaptionNetwork:
        network: CaptionNetwork = self.captioner.network
        return network

    def _step_axes(self, state: Tensors) -> dict[str, dict[int, str]]:
        axes = {name: {0: "batch", **self._network.free_axes(name)} for name, part in state.items() if part.ndim}
        return {**axes, "token_ids": {0: "batch", 1: "captions"}}

    def example(self, batch_size: int) -> dict[str, Tensor]:
        """Made-up inputs of the encoder."""
        generator = torch.Generator().manual_seed(batch_size)
        method: Any = self.recipe.model
        inputs = {}
        if self.captioner.backbone is not None:
            inputs["images"] = noise(batch_size, self.recipe.data.height_width)
        else:
            shape = batch_size, _STORED_CELLS, method.grid_width
            inputs["grid_features"] = torch.randn(shape, generator=generator)
        if self.captioner.windows is None:
            slots = max(2, self.recipe.data.max_regions)  # any number will do but 1
            inputs["region_features"] = torch.randn(batch_size, slots, method.region_width, generator=generator)
            filled = torch.randint(1, slots + 1, (batch_size, 1), generator=generator)
            inputs["padding_mask"] = torch.arange(slots) >= filled
        return inputs

    def verify(
        self, files: tuple[str, str], runs: tuple[Run, Run], pictures: dict[str, Tensor] | None
    ) -> Iterator[ExportDifference]:
        """Run both files on made-up inputs and on pictures, word by word along the greedy caption.

        Raises:
            HlcliError: when one answers something else than PyTorch.
        """
        tried = [(f"noise {size}", self.example(size), 1) for size in _BATCH_SIZES]
        tried.append((f"noise {_BATCH_SIZES[-1]}, {_BEAMS} beams", self.example(_BATCH_SIZES[-1]), _BEAMS))
        if pictures is not None:
            tried.append((f"pictures {len(next(iter(pictures.values())))}", pictures, 1))
        for name, inputs, beams in tried:
            yield from greatest(self._verify_captions(name, files, runs, inputs, beams))

    @torch.inference_mode()
    def _verify_captions(
        self, name: str, files: tuple[str, str], runs: tuple[Run, Run], inputs: Tensors, beams: int
    ) -> Iterator[ExportDifference]:
        """Follow the likeliest words as PyTorch finds them; a file goes on from its own answers."""
        network = self._network
        floats = {one: normalize(self.recipe.data)(part) if one == "images" else part for one, part in inputs.items()}
        last, state = network.start(self.captioner.encode(CaptionInputs(**floats)))
        found = runs[0](inputs)
        yield from compare(files[0], name, found, network.state_tensors(state), allowed=_ALLOWED)
        for word in range(self.recipe.eval.max_words):
            answer = runs[1]({**found, "token_ids": last})
            log_probs, state = network.step(state, last)
            after = {_NEXT + key: part for key, part in _captions_of(network.state_tensors(state)).items()}
            yield from compare(files[1], name, answer, {"log_probs": log_probs, **after}, allowed=_ALLOWED)
            found.update({key: answer[_NEXT + key] for key in _captions_of(found)})
            last = log_probs.argmax(dim=-1)  # [B, K]
            if word == 0 and beams > 1:
                last = log_probs[:, 0].topk(beams, dim=-1).indices
                apart = torch.zeros_like(last)
                state = network.reorder(state, apart)
                found.update(_captions_of(network.state_tensors(network.reorder(network.state_of(found), apart))))


def _captions_of(state: Tensors) -> dict[str, Tensor]:
    """The part of a state that words change."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(_MEMORY)}


def _some_words_later(state: Tensors, network: CaptionNetwork, word: int) -> dict[str, Tensor]:
    """A state with captions of two words, three of each image, and a third word to read: no axis of 0 or 1."""
    for num_captions in (1, _BEAMS):
        words = torch.full((len(state["visible"]), num_captions), word)
        _, after = network.step(network.state_of(state), words)
        if num_captions < _BEAMS:
            after = network.reorder(after, torch.zeros(len(words), _BEAMS, dtype=torch.long))
        state = network.state_tensors(after)
    return {**state, "token_ids": words}
