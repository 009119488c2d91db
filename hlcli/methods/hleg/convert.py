"""Weights of the published HLEG code ⇄ ours.

The reference has three levels and lists them fine → coarse; its names are on the left of the tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hlcli.errors import CheckpointError
from hlcli.methods.reference_names import (
    COUNTER,
    decoder_table,
    encoder_table,
    inverted,
    position_rows,
    position_table,
    refuse_unknown,
    rename,
    rename_all,
    without_wrapper,
)

# Per level, fine → coarse; ours are stacked into one matrix each.
_TOKEN_PROJECTIONS = ("transformer.pro_m_t", "transformer.decoder.proj_m_t1", "transformer.decoder.proj_m_t2")
_CLASSIFIERS = ("fc_num_class", "fc_middle", "fc_coarse")
NAMES = {
    "backbone.0.body": "backbone.model",
    "input_proj": "head.input_projection",
    "query_embed.weight": "head.fine_queries",
    "transformer.encoder.norm": "head.encoder.norm",
    "transformer.decoder.norm": "head.final_norm",
    **encoder_table("transformer.encoder"),
    **decoder_table("transformer.decoder"),
}
POSITION = ("backbone.1.pe", "head.position")
_TEMPLATE = "transformer.decoder.decoder_layer"  # registered by the reference, never run


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and reshape the reference's weights; a state without backbone or positions gives one without them.

    What the reference registers but never uses is left out: the template decoder layer, decoder layers beyond the
    third, and the encoder's norm where it has no encoder layers.

    Raises:
        CheckpointError: when names are unknown, missing from a group, or there twice (with and without `module.`).
    """
    state = without_wrapper(state)
    grouped = {f"{name}.{part}" for name in _TOKEN_PROJECTIONS for part in ("weight", "bias")}
    grouped |= {f"{name}.{part}" for name in _CLASSIFIERS for part in ("W", "b")}
    has_encoder = any(name.startswith("transformer.encoder.layers.") for name in state)
    plain = {
        name: value
        for name, value in state.items()
        if name != POSITION[0] and name not in grouped and not _is_unused(name, has_encoder)
    }
    ours = rename_all(plain, NAMES, "HLEG")
    if POSITION[0] in state:
        ours[POSITION[1]] = position_rows(state[POSITION[0]])
    if "input_proj.weight" in state:
        ours["head.input_projection.weight"] = state["input_proj.weight"].flatten(1)  # [D, C, 1, 1] → [D, C]
    return ours | _stacked(state, grouped)


def to_reference(
    state: Mapping[str, Tensor], level_sizes: Sequence[int], grid: tuple[int, int], *, template_layer: bool = False
) -> dict[str, Tensor]:
    """Our weights under the reference's names.

    Args:
        state: state dict of `Hleg`.
        level_sizes: labels per level, coarse → fine.
        grid: height and width of the feature map.
        template_layer: also write the decoder layer that the reference registers but never runs, for strict loaders.

    Raises:
        CheckpointError: when there are not three levels, or a name is not HLEG's.
    """
    if len(level_sizes) != 3:
        raise CheckpointError(f"The published HLEG has exactly three levels; this model has {len(level_sizes)}.")
    sizes = list(reversed(level_sizes))
    names = inverted(NAMES)
    theirs: dict[str, Tensor] = {}
    unknown = []
    for key, value in state.items():
        if key == POSITION[1]:
            theirs[POSITION[0]] = position_table(value, grid)
        elif key == "head.input_projection.weight":
            theirs["input_proj.weight"] = value[:, :, None, None]
        elif key.startswith("head.token_projection."):
            part = key.rpartition(".")[2]
            theirs |= {f"{name}.{part}": v for name, v in zip(_TOKEN_PROJECTIONS, value.split(sizes), strict=True)}
        elif key == "head.classifier.weight":
            theirs |= {f"{name}.W": v[None] for name, v in zip(_CLASSIFIERS, value.split(sizes), strict=True)}
        elif key == "head.classifier.offset":
            theirs |= {f"{name}.b": v for name, v in zip(_CLASSIFIERS, value.split(sizes, dim=1), strict=True)}
        elif key.endswith(COUNTER):
            continue  # the reference's frozen norm has none
        elif (name := rename(key, names)) is not None:
            theirs[name] = value
        else:
            unknown.append(key)
    refuse_unknown(unknown, "HLEG")
    return theirs | (_template(theirs) if template_layer else {})


def _is_unused(name: str, has_encoder: bool) -> bool:
    """Whether the reference registers this weight but never uses it."""
    if name.startswith("transformer.encoder.norm."):
        return not has_encoder
    layer = re.match(r"transformer\.decoder\.layers\.(\d+)\.", name)
    return name.startswith(f"{_TEMPLATE}.") or (layer is not None and int(layer[1]) > 2)


def _stacked(state: Mapping[str, Tensor], grouped: set[str]) -> dict[str, Tensor]:
    """The three levels' token projections and classifiers, one below the other."""
    absent = sorted(key for key in grouped if key not in state)
    if absent:
        raise CheckpointError(f"The checkpoint lacks {', '.join(absent)}.", "Is it from the published HLEG code?")
    return {
        "head.token_projection.weight": torch.cat([state[f"{name}.weight"] for name in _TOKEN_PROJECTIONS]),
        "head.token_projection.bias": torch.cat([state[f"{name}.bias"] for name in _TOKEN_PROJECTIONS]),
        "head.classifier.weight": torch.cat([state[f"{name}.W"][0] for name in _CLASSIFIERS]),  # [1, K, D] each
        "head.classifier.offset": torch.cat([state[f"{name}.b"] for name in _CLASSIFIERS], dim=1),  # [1, K] each
    }


def _template(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A stand-in for the unused layer: the fine level's, whose missing parts are copies of their like."""
    first = "transformer.decoder.layers.0."
    layer = {key.removeprefix(first): value for key, value in theirs.items() if key.startswith(first)}
    for key, value in list(layer.items()):
        layer.setdefault(key.replace("multihead_attn.", "self_attn.").replace("norm2.", "norm1."), value)
    return {f"{_TEMPLATE}.{key}": value.clone() for key, value in layer.items()}
