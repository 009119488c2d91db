"""Backbone weights as the published SALGL and SGRE codes name them ⇄ as timm (and our CvT) names them.

All names are relative to the backbone: `layer1.0.conv1.weight`, not `backbone.layer1.…`. Names that no rule knows
pass through unchanged, so that whoever loads the weights can report them. States that already carry timm's names
pass unchanged too, apart from their classifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

_Family = Literal["resnet", "tresnet", "vit", "swin", "cvt", "other"]

# Architectures of the published codes that are called otherwise here; the rest have timm's names.
TIMM_NAMES = {
    "tresnet_l21k": "tresnet_v2_l.miil_in21k",
    "tresnet_m21k": "tresnet_m.miil_in21k",
    "vit_base_patch16_224_in21k": "vit_base_patch16_224.augreg_in21k",
    "vit_large_patch16_224_in21k": "vit_large_patch16_224.augreg_in21k",
    "swin_large_patch4_window12_384_in22k": "swin_large_patch4_window12_384.ms_in22k",
    "cvt_21_384": "cvt_w24_384.in22k",
}

# Parts that belong to a classifier, and constants that are computed.
_DROPPED: dict[_Family, tuple[str, ...]] = {
    "resnet": ("fc.",),
    "tresnet": ("head.",),
    "vit": ("head.", "pre_logits."),
    "swin": ("head.",),
    "cvt": ("head.", "classifier."),
    "other": (),
}
_SWIN_CONSTANTS = ("relative_position_index", "attn_mask")

_ABN_OFFSET = 1e-5
"""The in-place activated batch norm of the reference scales by |weight| + this."""
_TRESNET_RULES = (  # the first that fits counts
    (re.compile(r"(conv\d)\.0\.0\."), r"\1.conv."),  # units with blur
    (re.compile(r"(conv\d)\.0\.1\."), r"\1.bn."),
    (re.compile(r"(conv\d|downsample\.\d)\.0\."), r"\1.conv."),
    (re.compile(r"(conv\d|downsample\.\d)\.1\."), r"\1.bn."),
)

_CVT_PARTS = {
    "patch_embed.proj": "embedding.convolution_embeddings.projection",
    "patch_embed.norm": "embedding.convolution_embeddings.normalization",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
}
for _short, _long in (("q", "query"), ("k", "key"), ("v", "value")):
    _projection = f"attention.attention.convolution_projection_{_long}.convolution_projection"
    _CVT_PARTS[f"attn.conv_proj_{_short}.conv"] = f"{_projection}.convolution"
    _CVT_PARTS[f"attn.conv_proj_{_short}.bn"] = f"{_projection}.normalization"
    _CVT_PARTS[f"attn.proj_{_short}"] = f"attention.attention.projection_{_long}"
_CVT_PARTS_BACK = {ours: theirs for theirs, ours in _CVT_PARTS.items()}
_CVT_THEIRS = re.compile(r"stage(\d)\.(?:blocks\.(\d+)\.)?(?:(.+)\.)?(\w+)")
_CVT_OURS = re.compile(r"encoder\.stages\.(\d)\.(?:layers\.(\d+)\.)?(?:(.+)\.)?(\w+)")


def family(backbone_name: str) -> _Family:
    """Which rules a backbone's names follow: `tresnet_l.miil_in1k_448` → `tresnet`."""
    architecture = backbone_name.removeprefix("hf-hub:").rpartition("/")[2]
    if backbone_name.startswith("cvt:"):
        return "cvt"
    for known in ("resnet", "tresnet", "vit", "swin", "cvt"):
        if re.match(rf"{known}(\d|_)", architecture):
            return known  # type: ignore[return-value]
    return "other"


def from_reference_backbone(state: Mapping[str, Tensor], backbone_name: str) -> dict[str, Tensor]:
    """The reference's backbone weights under our names, without classifier and computed constants.

    Args:
        state: weights by their names in the reference, without the prefix `backbone.`.
        backbone_name: the recipe's `backbone.name`.
    """
    kind = family(backbone_name)
    body = {key: value for key, value in state.items() if not key.startswith(_DROPPED[kind])}
    if kind == "tresnet":
        return _tresnet_from_reference(body)
    if kind == "swin":
        return _swin_from_reference(body)
    if kind == "cvt":
        return {_cvt_name_from_reference(key): value for key, value in body.items()}
    return body


def to_reference_backbone(state: Mapping[str, Tensor], backbone_name: str) -> dict[str, Tensor]:
    """Our backbone weights under the reference's names; classifiers and constants that we lack stay absent.

    Args:
        state: weights by their names in our backbone, without the prefix `backbone.model.`.
        backbone_name: the recipe's `backbone.name`.
    """
    kind = family(backbone_name)
    if kind == "tresnet":
        return _tresnet_to_reference(state)
    if kind == "swin":
        return {_shift_downsample(key, -1): value for key, value in state.items()}
    if kind == "cvt":
        return {_cvt_name_to_reference(key): value for key, value in state.items()}
    return dict(state)


def _tresnet_from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    ours = {}
    for key, value in state.items():
        name = _first_rule(key)
        is_scale = name != key and name.endswith(".bn.weight")
        ours[name] = value.abs() + _ABN_OFFSET if is_scale else value
    return ours


def _first_rule(key: str) -> str:
    for pattern, replacement in _TRESNET_RULES:
        name, count = pattern.subn(replacement, key)
        if count:
            return name
    return key


def _tresnet_to_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Positive scales only: where ours is negative, the convolution and the mean before it change their sign too."""
    theirs = {}
    for key, value in state.items():
        unit, _, rest = key.rpartition(".conv.") if ".conv." in key else key.rpartition(".bn.")
        if not unit:
            theirs[key] = value
            continue
        scale = state[f"{unit}.bn.weight"]
        sign = torch.where(scale < 0, -1.0, 1.0).to(scale.dtype)
        inner = ".0" if _has_blur(unit, state) else ""
        if key.endswith(".conv.weight"):
            theirs[f"{unit}{inner}.0.{rest}"] = value * sign[:, None, None, None]
        elif rest == "running_mean":
            theirs[f"{unit}{inner}.1.{rest}"] = value * sign
        elif rest == "weight":
            theirs[f"{unit}{inner}.1.{rest}"] = (value.abs() - _ABN_OFFSET).clamp(min=0)
        else:
            theirs[f"{unit}{inner}.1.{rest}"] = value
    return theirs


def _has_blur(unit: str, state: Mapping[str, Tensor]) -> bool:
    """Whether a unit halves the grid: the 3×3 convolution of a block whose shortcut starts with pooling."""
    block, _, conv = unit.rpartition(".")
    if f"{block}.downsample.1.conv.weight" not in state:
        return False
    return conv == ("conv2" if f"{block}.conv3.conv.weight" in state else "conv1")


def _swin_from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    body = {key: value for key, value in state.items() if not key.endswith(_SWIN_CONSTANTS)}
    if not any(key.startswith("layers.0.downsample.") for key in body):  # timm's names
        return body
    return {_shift_downsample(key, 1): value for key, value in body.items()}


def _shift_downsample(key: str, by: int) -> str:
    """The reference merges patches at the end of a stage, timm at the start of the next."""
    return re.sub(r"^layers\.(\d+)\.downsample\.", lambda match: f"layers.{int(match[1]) + by}.downsample.", key)


def _cvt_name_from_reference(key: str) -> str:
    match = _CVT_THEIRS.fullmatch(key)
    if match is None:
        return re.sub(r"^norm\.", "layernorm.", key.removeprefix("cvt."))
    stage, block, part, leaf = match.groups()
    inside = "" if block is None else f"layers.{block}."
    return f"encoder.stages.{stage}.{inside}{'' if part is None else _CVT_PARTS.get(part, part) + '.'}{leaf}"


def _cvt_name_to_reference(key: str) -> str:
    match = _CVT_OURS.fullmatch(key)
    if match is None:
        return re.sub(r"^layernorm\.", "norm.", key)
    stage, block, part, leaf = match.groups()
    inside = "" if block is None else f"blocks.{block}."
    return f"stage{stage}.{inside}{'' if part is None else _CVT_PARTS_BACK.get(part, part) + '.'}{leaf}"
