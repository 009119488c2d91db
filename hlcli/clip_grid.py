"""The image tower of a CLIP model as a backbone: features of grid cells instead of one vector per image.

Transformers give the tokens of their patches behind the last norm (`ln_post`), ResNets the last map before the
attention pool; the vector of the whole image is the one that CLIP compares with texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from hlcli.backbones import GridBackbone, build_backbone
from hlcli.clip import build_clip
from hlcli.data.transforms import NORMALIZATIONS
from hlcli.encoders.backbone_names import TIMM_NAMES
from hlcli.encoders.clip_models import find_clip_model, resnet_grid
from hlcli.encoders.clip_weights import PREFIX
from hlcli.errors import RecipeError


class _ImageFeatures(NamedTuple):
    """Features of a batch of images: grid cells [B, N, D], row by row, and whole images [B, G]."""

    grid_features: Tensor
    global_features: Tensor


class ClipGrid(nn.Module):
    """An image tower of CLIP that gives one feature per cell of a grid; a `GridBackbone` in all but its parts.

    Args:
        visual: the image side of an open_clip model, or of `ClipTowers`.
        image_size: height and width of the images in pixels.
        name: the recipe's name of the model.
        with_global: keep what makes the vector of the whole image, for `features`; without it every parameter of the
            tower serves the grid.

    Attributes:
        name: as given.
        num_features: feature width D.
        grid: height and width of the grid, N = h · w.
        class_tokens: 0, no class token stands before the grid.
        needs_several_images: whether a batch of one image cannot be trained.

    Raises:
        RecipeError: when the tower pools its tokens by attention, so that none belongs to a cell.
    """

    def __init__(self, visual: Any, image_size: tuple[int, int], *, name: str = "", with_global: bool = False) -> None:
        super().__init__()
        self.visual = visual
        self.name = name
        self.class_tokens = 0
        self.has_global = with_global
        self.trunk: GridBackbone | None = None
        if hasattr(visual, "trunk"):  # a model of timm
            self.trunk = GridBackbone(visual.trunk, image_size, name=name)
            self.grid, self.num_features = self.trunk.grid, self.trunk.num_features
            head = "head"
        elif hasattr(visual, "attnpool"):
            self.grid, self.num_features = resnet_grid(image_size), visual.attnpool.q_proj.in_features
            head = "attnpool"
        elif getattr(visual, "attn_pool", None) is None and getattr(visual, "pool_type", "none") != "none":
            self.grid, self.num_features = visual.grid_size, visual.ln_post.normalized_shape[0]
            head = "proj"
        else:
            raise RecipeError(f"backbone.name: the image tower of {name} gives no grid of features.", "Take ViT-L-14.")
        self.is_resnet = head == "attnpool"
        self.needs_several_images = self.is_resnet and self.grid == (1, 1)
        if not with_global:
            setattr(visual, head, None)

    def forward(self, images: Tensor) -> Tensor:
        """Grid features [B, N, D], row by row, of images [B, 3, H, W]."""
        if self.trunk is not None:
            return self.trunk(images)
        if self.is_resnet:
            return self._map(images).flatten(2).transpose(1, 2)  # [B, D, h, w] → [B, N, D]
        return self.visual.ln_post(self._tokens(images)[:, 1:])

    def features(self, images: Tensor) -> _ImageFeatures:
        """Grid and global features of images [B, 3, H, W]; the latter in the space that texts share, not normalised."""
        if not self.has_global:
            raise ValueError("Expected a tower with its global feature, but it was left out (`with_global`).")
        visual = self.visual
        if self.trunk is not None:
            return _ImageFeatures(self.trunk(images), visual(images))
        if self.is_resnet:
            cells = self._map(images)
            return _ImageFeatures(cells.flatten(2).transpose(1, 2), visual.attnpool(cells))
        tokens = self._tokens(images)
        pooled, _ = visual._pool(tokens)
        return _ImageFeatures(visual.ln_post(tokens[:, 1:]), pooled if visual.proj is None else pooled @ visual.proj)

    def _tokens(self, images: Tensor) -> Tensor:
        """Class token and patches [B, 1 + N, D] before the last norm."""
        return self.visual.transformer(self.visual._embeds(images))

    def _map(self, images: Tensor) -> Tensor:
        """A ResNet's last map [B, D, h, w]."""
        visual = self.visual
        return visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))


def build_grid_backbone(
    name: str,
    image_size: tuple[int, int],
    *,
    pretrained: bool = False,
    weights: Path | None = None,
    with_global: bool = False,
) -> GridBackbone | ClipGrid:
    """Create an image encoder that gives grid features: a model of timm, or the image tower of `clip:NAME`.

    Args:
        name: as for `build_backbone`, or `build_clip`.
        image_size: height and width in pixels.
        pretrained: fetch the published weights.
        weights: a local file instead.
        with_global: keep what `image_features` needs for the vector of the whole image: a timm transformer's class
            token, CLIP's projection.

    Raises:
        HlcliError: when the name, the size or the weights cannot be used; the kind says why.
    """
    if not name.startswith(PREFIX):
        backbone = build_backbone(name, image_size, pretrained=pretrained, weights=weights)
        if not with_global or backbone.prefix_tokens == 0 or getattr(backbone.model, "cls_token", None) is None:
            return backbone
        return GridBackbone(backbone.model, image_size, name=name, class_token=True)
    towers = build_clip(name, image_size, pretrained=pretrained, weights=weights)
    return ClipGrid(towers.visual, image_size, name=towers.name, with_global=with_global)


def image_features(backbone: GridBackbone | ClipGrid, images: Tensor) -> _ImageFeatures:
    """Grid and global features of images [B, 3, H, W] by a backbone of `build_grid_backbone`.

    The global feature of a timm model is its class token, or, without one, the mean of the grid.
    """
    if isinstance(backbone, ClipGrid):
        return backbone.features(images)
    features = backbone(images)
    if backbone.class_tokens:
        return _ImageFeatures(features[:, 1:], features[:, 0])
    return _ImageFeatures(features, features.mean(dim=1))


def native_image_size(name: str) -> tuple[int, int]:
    """Height and width in pixels for which the weights of a model were trained; 224 where that is not known."""
    if name.startswith(PREFIX):
        size = find_clip_model(name).config["vision_cfg"].get("image_size", 224)
        return (int(size), int(size)) if not isinstance(size, list | tuple) else (int(size[0]), int(size[1]))
    config = _timm_config(name)
    return (224, 224) if config is None else (int(config.input_size[1]), int(config.input_size[2]))


def native_normalization(name: str) -> str:
    """Name of the colour normalization with which the weights of a model were trained; `imagenet` if not known."""
    if name.startswith(PREFIX):
        return "clip"
    config = _timm_config(name)
    if config is not None:
        for known, (mean, std) in NORMALIZATIONS.items():
            if torch.allclose(torch.tensor([mean, std]), torch.tensor([config.mean, config.std])):
                return known
    return "imagenet"


def _timm_config(name: str) -> Any:
    """timm's facts on published weights; None for models of others."""
    if not timm.is_model(name.split(".")[0]) or name in TIMM_NAMES:
        return None
    return timm.get_pretrained_cfg(name, allow_unregistered=True)
