"""The only door to image encoders: a model name becomes a module that gives grid features."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hlcli.encoders.backbone_names import TIMM_NAMES
from hlcli.encoders.backbone_sizes import check_image_size, has_fixed_size
from hlcli.encoders.backbone_weights import (
    freeze_parameters,
    load_backbone_weights,
    reach_published_weights,
    read_backbone_weights,
)
from hlcli.encoders.checkpointing import checkpoint_blocks, counting
from hlcli.encoders.cvt import build_cvt, is_cvt
from hlcli.errors import RecipeError

_TRESNET_LV2 = "tresnet_lv2"
_TRESNET_LV2_SLOPE = 1e-6


class GridBackbone(nn.Module):
    """An image encoder that returns one feature per cell of a grid.

    Args:
        model: a timm model without pooling and classifier, or a `Cvt`.
        image_size: height and width of the images in pixels.
        name: the recipe's name of the model.
        frozen_norms: keep every batch norm as it is, statistics included.
        class_token: keep the class token as token 0, before the grid; other extra tokens are always dropped.
        gradient_checkpointing: remember only what enters each block, and run the blocks once more in the backward
            pass ("Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174). The numbers are the same.

    Attributes:
        name: the model's name as given.
        num_features: feature width D.
        grid: height and width of the grid, N = h · w.
        class_tokens: 1 if a class token stands before the grid, else 0.

    Raises:
        RecipeError: when a class token is wanted but the model has none, or its blocks cannot run once more.
    """

    def __init__(
        self,
        model: nn.Module,
        image_size: tuple[int, int],
        *,
        name: str = "",
        frozen_norms: bool = False,
        class_token: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.name = name
        self.frozen_norms = frozen_norms
        self.prefix_tokens = int(getattr(model, "num_prefix_tokens", 0))
        self.class_tokens = int(class_token)
        if class_token and (self.prefix_tokens == 0 or getattr(model, "cls_token", None) is None):
            raise RecipeError("backbone.class_token: this model has no class token.", "Set it to false.")
        if frozen_norms:
            freeze_batch_norms(model)
        self.counted_norms = checkpoint_blocks(model, name) if gradient_checkpointing else []
        self.num_features, self.grid = self._probe(image_size)

    def forward(self, images: Tensor) -> Tensor:
        """Grid features [B, N, D], row by row, of images [B, 3, H, W]; with a class token [B, 1 + N, D]."""
        features = self._forward_features(images)
        if features.ndim == 3:  # [B, prefix + N, D] of transformers
            grid_features = features[:, self.prefix_tokens :]
            if not self.class_tokens:
                return grid_features
            if self.prefix_tokens == 1:
                return features
            return torch.cat((features[:, :1], grid_features), dim=1)
        if self._is_channels_last():
            return features.flatten(1, 2)  # [B, h, w, D] → [B, N, D]
        return features.flatten(2).transpose(1, 2)  # [B, D, h, w] → [B, N, D]

    def train(self, mode: bool = True) -> GridBackbone:
        """As usual, but frozen batch norms stay in evaluation mode."""
        super().train(mode)
        if self.frozen_norms:
            for module in self.model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    @property
    def needs_several_images(self) -> bool:
        """Whether a batch of one image cannot be trained: batch norms would see one value per channel."""
        is_trained = any(isinstance(module, _BatchNorm) for module in self.model.modules()) and not self.frozen_norms
        return is_trained and self.grid == (1, 1)

    def _forward_features(self, images: Tensor) -> Tensor:
        with counting(self.counted_norms):
            return self._features(images)

    def _features(self, images: Tensor) -> Tensor:
        if not hasattr(self.model, "forward_features"):  # cut after a stage: a list of one map
            return self.model(images)[0]
        forward_features: Callable[[Tensor], Tensor] = self.model.forward_features  # type: ignore[assignment]
        return forward_features(images)

    def _is_channels_last(self) -> bool:
        return getattr(self.model, "output_fmt", "NCHW") == "NHWC"  # a text, or an Enum that is one

    @torch.no_grad()
    def _probe(self, image_size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        """Feature width and grid, found with one empty image."""
        tensors = (*self.model.parameters(), *self.model.buffers())
        if 0 < sum(tensor.is_meta for tensor in tensors) < len(tensors):
            return self._probe_shapes(image_size)
        parameter = next(self.model.parameters())
        was_training = self.model.training
        self.model.eval()
        images = torch.zeros(1, 3, *image_size, device=parameter.device, dtype=parameter.dtype)
        try:
            features = self._forward_features(images)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise RecipeError(
                f"backbone.name: this model does not take images of {image_size[0]}×{image_size[1]} pixels: {error}",
                "Change data.image_size.",
            ) from error
        self.model.train(was_training)
        if not isinstance(features, Tensor) or features.ndim not in (3, 4):
            raise RecipeError("backbone.name: this model gives no grid of features.", "Choose a CNN or a ViT.")
        if features.ndim == 4:
            _, a, b, c = features.shape
            return (c, (a, b)) if self._is_channels_last() else (a, (b, c))
        tokens = features.shape[1] - self.prefix_tokens
        return features.shape[2], _token_grid(self.model, tokens)

    def _probe_shapes(self, image_size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        """The same for a model some of whose weights follow: without any numbers for the while."""
        model = self.model
        self.model = copy.deepcopy(model).to("meta")
        try:
            return self._probe(image_size)
        finally:
            self.model = model


def _token_grid(model: nn.Module, tokens: int) -> tuple[int, int]:
    """Height and width of a transformer's grid."""
    grid = getattr(getattr(model, "patch_embed", model), "grid_size", None)
    if grid is not None and grid[0] * grid[1] == tokens:
        return int(grid[0]), int(grid[1])
    side = round(tokens**0.5)
    return (side, side) if side * side == tokens else (1, tokens)


def freeze_batch_norms(model: nn.Module) -> None:
    """Make every batch norm a constant affine map; its step counter disappears from the state."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval().requires_grad_(False)
            module.num_batches_tracked = None


def build_backbone(
    name: str,
    image_size: tuple[int, int],
    *,
    pretrained: bool = False,
    weights: Path | None = None,
    stage: int | None = None,
    freeze_batch_norm: bool = False,
    frozen: tuple[str, ...] = (),
    class_token: bool = False,
    position_antialias: bool = True,
    gradient_checkpointing: bool = False,
) -> GridBackbone:
    """Create an image encoder that gives grid features.

    Args:
        name: timm model name, e.g. `resnet101.tv_in1k`; or `cvt_w24_384.in22k`, `cvt:FOLDER_OR_HUB_NAME`,
            `tresnet_lv2`.
        image_size: height and width in pixels.
        pretrained: fetch the published weights (cached by the Hugging Face hub).
        weights: a local file instead: safetensors, or a torch state dict, under timm's names or the published codes'.
        stage: stage that gives the grid, an index into timm's list of feature maps; None for the last one.
        freeze_batch_norm: keep statistics and weights of batch norms constant.
        frozen: name prefixes of parameters that are not trained.
        class_token: keep the class token as token 0.
        position_antialias: resize a transformer's learned positions as timm does; False as the published codes do.
        gradient_checkpointing: less memory in training, for about a quarter more time; see `GridBackbone`.

    Raises:
        RecipeError: for an unknown name, a size that does not fit, a prefix without parameters, or weights that
            cannot be fetched.
        CheckpointError: when the local weights do not fit.
        MissingDependencyError: for a CvT without transformers.
    """
    if is_cvt(name) and name not in TIMM_NAMES:
        if stage is not None:
            raise RecipeError("backbone.stage: a CvT gives its last stage only.", "Leave it out.")
        model: nn.Module = build_cvt(name, image_size, pretrained=pretrained and weights is None)
        if weights is not None:
            load_backbone_weights(model, read_backbone_weights(weights, name), weights)
    else:
        model = _create(name, image_size, pretrained, weights, stage, position_antialias)
    check_image_size(model, name, image_size)
    freeze_parameters(model, name, frozen)
    return GridBackbone(
        model,
        image_size,
        name=name,
        frozen_norms=freeze_batch_norm,
        class_token=class_token,
        gradient_checkpointing=gradient_checkpointing,
    )


def _create(
    name: str,
    image_size: tuple[int, int],
    pretrained: bool,
    weights: Path | None,
    stage: int | None,
    position_antialias: bool,
) -> nn.Module:
    """The timm model, cut after a stage if there is one, with its weights."""
    if name == _TRESNET_LV2:
        return _create_tresnet_lv2(image_size, pretrained, weights, stage)
    sizes: dict[str, Any] = {"img_size": image_size} if has_fixed_size(name) else {}
    state: dict[str, Tensor] | None = None
    if weights is not None:
        state = read_backbone_weights(weights, name)
    elif pretrained and sizes and not position_antialias:
        state = _timm_model(name, pretrained=True, num_classes=0).state_dict()  # at the size of its own
    if state is not None:
        whole = _timm_model(name, num_classes=0, **sizes)
        load_backbone_weights(whole, state, weights or name, position_antialias=position_antialias)
        if stage is None:
            return whole
        pretrained, sizes = True, {**sizes, "pretrained_cfg_overlay": {"state_dict": whole.state_dict()}}
    if stage is None:
        return _timm_model(name, pretrained=pretrained, num_classes=0, **sizes)
    try:
        return _timm_model(name, pretrained=pretrained, features_only=True, out_indices=(stage,), **sizes)
    except (AssertionError, IndexError, AttributeError) as error:
        raise RecipeError(f"backbone.stage: {name} has no stage {stage} to take features from.") from error


def _timm_model(name: str, *, pretrained: bool = False, **options: Any) -> nn.Module:
    """timm's `create_model`, its errors in our words."""
    try:
        if pretrained and "pretrained_cfg_overlay" not in options:  # which brings weights
            reach_published_weights(name)
        return timm.create_model(name, pretrained=pretrained, **options)
    except OSError as error:  # the hub's errors are OSErrors
        raise RecipeError(
            f"backbone.name: the weights of {name} could not be fetched: {error}",
            "Go online once, or set backbone.weights: FILE, or backbone.pretrained: false.",
        ) from error
    except RuntimeError as error:
        if not pretrained:
            raise
        raise RecipeError(
            f"backbone.name: timm has no weights for {name}: {error}", "Set pretrained: false."
        ) from error


def _create_tresnet_lv2(
    image_size: tuple[int, int], pretrained: bool, weights: Path | None, stage: int | None
) -> nn.Module:
    """SGRE's `tresnet_lv2`: timm's `tresnet_v2_l` with almost no slope below zero; nobody publishes its weights."""
    if pretrained and weights is None:
        raise RecipeError(
            f"backbone.name: {_TRESNET_LV2} has no weights to fetch.",
            "Set backbone.weights: FILE or backbone.pretrained: false, or take tresnet_v2_l.miil_in21k.",
        )
    model = _create("tresnet_v2_l", image_size, False, weights, stage, True)
    for module in model.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = _TRESNET_LV2_SLOPE
    return model
