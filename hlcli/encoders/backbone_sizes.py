"""Which image sizes a backbone takes, said before its own error message would."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import timm
from timm.layers import PatchEmbed
from timm.models.swin_transformer import SwinTransformer
from timm.models.tresnet import TResNet
from torch import nn

from hlcli.encoders.backbone_names import TIMM_NAMES
from hlcli.encoders.cvt import STRIDE as CVT_STRIDE
from hlcli.encoders.cvt import Cvt
from hlcli.errors import RecipeError, nearest

logger = logging.getLogger(__name__)

_SWIN_STRIDE = 32


class _SizeRule(NamedTuple):
    """Sides of images are multiples of `step`, and no less than `least`."""

    step: tuple[int, int]
    least: int


def has_fixed_size(name: str) -> bool:
    """Whether the architecture is built for one image size.

    Raises:
        RecipeError: for a name timm does not know, with near matches.
    """
    architecture = name.split(".")[0]
    if name.startswith("hf-hub:"):
        return False
    if name in TIMM_NAMES:
        raise RecipeError(f"backbone.name: {name} is the published code's name.", f"Write {TIMM_NAMES[name]}.")
    if not timm.is_model(architecture):
        near = nearest(architecture, timm.list_models(), most=3)
        raise RecipeError(
            f"backbone.name: timm knows no model {name!r}.",
            f"Did you mean {', '.join(near)}?" if near else "`timm.list_models()` lists them all.",
        )
    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    except RuntimeError as error:  # an unknown tag behind the dot
        known = ", ".join(timm.list_pretrained(f"{architecture}.*"))
        raise RecipeError(
            f"backbone.name: timm knows no weights {name!r}.",
            f"There are: {known}." if known else f"Write {architecture}.",
        ) from error
    return bool(config is not None and config.fixed_input_size)


def check_image_size(model: nn.Module, name: str, image_size: tuple[int, int]) -> None:
    """Refuse a size that a backbone cannot take, or would cut off; warn where it leaves the published settings.

    Raises:
        RecipeError: naming the nearest sizes that fit.
    """
    rule = _size_rule(model)
    if rule is None:
        return
    height, width = image_size
    smaller = _fitting(image_size, rule, up=False)
    larger = _fitting(image_size, rule, up=True)
    if larger != image_size:
        steps = " and ".join(dict.fromkeys(f"{step}" for step in rule.step))
        smaller = larger if min(smaller) < rule.least else smaller
        choices = dict.fromkeys(f"{h}×{w}" for h, w in (smaller, larger))
        raise RecipeError(
            f"data.image_size: {name} does not take images of {height}×{width} pixels: sides must be multiples of "
            f"{steps}, {rule.least} at least.",
            f"The next that fit: {', '.join(choices)}.",
        )
    if isinstance(model, SwinTransformer):
        _warn_of_padding(model, name, image_size)


def _size_rule(model: nn.Module) -> _SizeRule | None:
    """The rule of a backbone; None for one that takes any size, or whose rule is not known here."""
    if isinstance(model, Cvt):
        return _SizeRule((CVT_STRIDE, CVT_STRIDE), CVT_STRIDE)
    if isinstance(model, TResNet):  # 4×4 pixels become channels; the last blur reflects, for which it needs 2×2
        return _SizeRule((4, 4), 20)
    patches = getattr(getattr(model, "model", model), "patch_embed", None)
    if isinstance(patches, PatchEmbed) and not patches.dynamic_img_pad:
        return _SizeRule(patches.patch_size, max(patches.patch_size))
    return None


def _fitting(image_size: tuple[int, int], rule: _SizeRule, *, up: bool) -> tuple[int, int]:
    """The nearest size that fits, downwards or upwards side by side."""
    height, width = (
        max(-(-side // step) if up else side // step, -(-rule.least // step) if up else 0) * step
        for side, step in zip(image_size, rule.step, strict=True)
    )
    return height, width


def _warn_of_padding(model: Any, name: str, image_size: tuple[int, int]) -> None:
    """The published Swin takes whole windows only; timm fills the last ones up."""
    blocks = [block for layer in model.layers for block in layer.blocks]
    sides = {pair for block in blocks for pair in zip(block.input_resolution, block.window_size, strict=True)}
    if any(side % window for side, window in sides):
        whole = max(window for _, window in sides) * _SWIN_STRIDE
        logger.warning(
            "%s fills its windows up with zeros at %d×%d pixels. The published code cannot run at this size; whole "
            "windows need multiples of %d.",
            name,
            *image_size,
            whole,
        )
