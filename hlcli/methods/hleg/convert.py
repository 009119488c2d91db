"""Weights of the published HLEG code ⇄ ours.

The reference has three levels and lists them fine → coarse; its names are on the left of the tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hlcli.errors import CheckpointError

# Per level, fine → coarse; ours are stacked into one matrix each.
TOKEN_PROJECTIONS = ("transformer.pro_m_t", "transformer.decoder.proj_m_t1", "transformer.decoder.proj_m_t2")
CLASSIFIERS = ("fc_num_class", "fc_middle", "fc_coarse")
BACKBONE = ("backbone.0.body.", "backbone.model.")
PLAIN = {
    "query_embed.weight": "head.fine_queries",
    "transformer.decoder.norm.weight": "head.final_norm.weight",
    "transformer.decoder.norm.bias": "head.final_norm.bias",
    "transformer.encoder.norm.weight": "head.encoder.norm.weight",
    "transformer.encoder.norm.bias": "head.encoder.norm.bias",
}
ENCODER_LAYER = {"self_attn": "self_attention", "norm1": "self_norm", "norm2": "feed_norm"}
DECODER_LAYER = {
    "self_attn": "self_attention",
    "norm1": "self_norm",
    "multihead_attn": "cross_attention",
    "norm2": "cross_norm",
    "norm3": "feed_norm",
}
FEED_FORWARD = {"linear1": "feed_forward.expand", "linear2": "feed_forward.contract"}
STACKS = {
    "transformer.encoder.layers": ("head.encoder.layers", ENCODER_LAYER | FEED_FORWARD),
    "transformer.decoder.layers": ("head.decoder", DECODER_LAYER | FEED_FORWARD),
}
LAYER_KEY = re.compile(r"(?P<stack>[a-z.]+?)\.(?P<index>\d+)\.(?P<part>[a-z_]+\d?)\.(?P<rest>.+)")
TEMPLATE = "transformer.decoder.decoder_layer."  # registered by the reference, never run


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and reshape the reference's weights; a state without backbone or positions gives one without them.

    What the reference registers but never uses is left out: the template decoder layer, decoder layers beyond the
    third, and the encoder's norm where it has no encoder layers.

    Raises:
        CheckpointError: when names are unknown, missing from a group, or there twice (with and without `module.`).
    """
    state = _without_prefix(state)
    ours: dict[str, Tensor] = {}
    unknown = []
    has_encoder = any(key.startswith("transformer.encoder.layers.") for key in state)
    grouped = {f"{name}.{part}" for name in TOKEN_PROJECTIONS for part in ("weight", "bias")}
    grouped |= {f"{name}.{part}" for name in CLASSIFIERS for part in ("W", "b")}
    for key, value in state.items():
        if key in grouped or _is_unused(key, has_encoder):
            continue
        if key == "backbone.1.pe":
            ours["head.position"] = value.flatten(2).squeeze(0).T  # [1, D, h, w] → [N, D]
        elif key == "input_proj.weight":
            ours["head.input_projection.weight"] = value.flatten(1)  # [D, C, 1, 1] → [D, C]
        elif key == "input_proj.bias":
            ours["head.input_projection.bias"] = value
        elif (name := _our_name(key)) is not None:
            ours[name] = value
        else:
            unknown.append(key)
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} names do not belong to an HLEG checkpoint: {', '.join(sorted(unknown)[:10])}"
            f"{'…' if len(unknown) > 10 else ''}."
        )
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
    names = {ours: theirs for theirs, ours in PLAIN.items()}
    theirs: dict[str, Tensor] = {}
    for key, value in state.items():
        if key == "head.position":
            theirs["backbone.1.pe"] = value.T.unflatten(-1, grid)[None]
        elif key == "head.input_projection.weight":
            theirs["input_proj.weight"] = value[:, :, None, None]
        elif key == "head.input_projection.bias":
            theirs["input_proj.bias"] = value
        elif key.startswith("head.token_projection."):
            part = key.rpartition(".")[2]
            theirs |= {f"{name}.{part}": v for name, v in zip(TOKEN_PROJECTIONS, value.split(sizes), strict=True)}
        elif key == "head.classifier.weight":
            theirs |= {f"{name}.W": v[None] for name, v in zip(CLASSIFIERS, value.split(sizes), strict=True)}
        elif key == "head.classifier.offset":
            theirs |= {f"{name}.b": v for name, v in zip(CLASSIFIERS, value.split(sizes, dim=1), strict=True)}
        elif key.startswith(BACKBONE[1]):
            if not key.endswith(".num_batches_tracked"):  # the reference's frozen norm has none
                theirs[BACKBONE[0] + key.removeprefix(BACKBONE[1])] = value
        else:
            theirs[names.get(key) or _their_layer_name(key)] = value
    return theirs | (_template(theirs) if template_layer else {})


def complete(converted: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Add from `model` what the reference may lack: positions, which are computed, and counters of batch norms."""
    own = model.state_dict()
    optional = {k: v for k, v in own.items() if k == "head.position" or k.endswith(".num_batches_tracked")}
    return {**optional, **converted}


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take one leading `module.` off each name."""
    stripped = {key.removeprefix("module."): value for key, value in state.items()}
    if len(stripped) != len(state):
        raise CheckpointError("The checkpoint holds some weights twice, with and without the prefix `module.`.")
    return stripped


def _is_unused(key: str, has_encoder: bool) -> bool:
    """Whether the reference registers this weight but never uses it."""
    if key.startswith(TEMPLATE):
        return True
    if key.startswith("transformer.encoder.norm."):
        return not has_encoder
    match = LAYER_KEY.fullmatch(key)
    return match is not None and match["stack"] == "transformer.decoder.layers" and int(match["index"]) > 2


def _our_name(key: str) -> str | None:
    if key.startswith(BACKBONE[0]):
        return BACKBONE[1] + key.removeprefix(BACKBONE[0])
    match = LAYER_KEY.fullmatch(key)
    if match is None or match["stack"] not in STACKS:
        return PLAIN.get(key)
    stack, parts = STACKS[match["stack"]]
    part = parts.get(match["part"])
    return None if part is None else f"{stack}.{match['index']}.{part}.{match['rest']}"


def _their_layer_name(key: str) -> str:
    for theirs, (ours, parts) in STACKS.items():
        for their_part, our_part in parts.items():
            match = re.fullmatch(rf"{re.escape(ours)}\.(\d+)\.{re.escape(our_part)}\.(.+)", key)
            if match:
                return f"{theirs}.{match[1]}.{their_part}.{match[2]}"
    raise CheckpointError(f"{key} is not a weight of HLEG.")


def _stacked(state: Mapping[str, Tensor], grouped: set[str]) -> dict[str, Tensor]:
    """The three levels' token projections and classifiers, one below the other."""
    absent = sorted(key for key in grouped if key not in state)
    if absent:
        raise CheckpointError(f"The checkpoint lacks {', '.join(absent)}.", "Is it from the published HLEG code?")
    return {
        "head.token_projection.weight": torch.cat([state[f"{name}.weight"] for name in TOKEN_PROJECTIONS]),
        "head.token_projection.bias": torch.cat([state[f"{name}.bias"] for name in TOKEN_PROJECTIONS]),
        "head.classifier.weight": torch.cat([state[f"{name}.W"][0] for name in CLASSIFIERS]),  # [1, K, D] each
        "head.classifier.offset": torch.cat([state[f"{name}.b"] for name in CLASSIFIERS], dim=1),  # [1, K] each
    }


def _template(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A stand-in for the unused layer: the fine level's, whose missing parts are copies of their like."""
    first = "transformer.decoder.layers.0."
    layer = {key.removeprefix(first): value for key, value in theirs.items() if key.startswith(first)}
    for key, value in list(layer.items()):
        layer.setdefault(key.replace("multihead_attn.", "self_attn.").replace("norm2.", "norm1."), value)
    return {TEMPLATE + key: value.clone() for key, value in layer.items()}
