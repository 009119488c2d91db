from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_clip import tiny_clip, write_config, write_weights

from hlcli.clip_grid import (
    ClipGrid,
    build_grid_backbone,
    image_features,
    native_image_size,
    native_normalization,
)
from hlcli.errors import RecipeError

SIZES = {"vit": (32, 32), "resnet": (64, 64)}


def images(kind: str) -> torch.Tensor:
    return torch.randn(3, 3, *SIZES[kind], generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_transformer_tokens_are_open_clips_own_behind_the_last_norm():
    visual = tiny_clip("vit").visual
    found = ClipGrid(visual, (32, 32), with_global=True).features(images("vit"))
    visual.output_tokens = True
    pooled, tokens = visual(images("vit"))
    assert torch.equal(found.grid_features, tokens)
    assert torch.equal(found.global_features, pooled)


@torch.inference_mode()
def test_resnet_cells_are_the_map_before_the_attention_pool():
    visual = tiny_clip("resnet").visual
    grid = ClipGrid(visual, (64, 64), with_global=True)
    found = grid.features(images("resnet"))
    cells = visual.forward_intermediates(images("resnet"), indices=1)["image_intermediates"][-1]
    assert (grid.grid, grid.num_features) == ((2, 2), 128)
    torch.testing.assert_close(found.grid_features[:, 1], cells[:, :, 0, 1])  # row by row: first the one to the right
    torch.testing.assert_close(found.global_features, visual(images("resnet")))


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_without_the_global_vector_every_parameter_serves_the_grid(kind: str):
    whole = ClipGrid(tiny_clip(kind).visual, SIZES[kind], with_global=True).eval()
    grid = ClipGrid(tiny_clip(kind).visual, SIZES[kind]).eval()
    features = grid(images(kind))
    torch.testing.assert_close(features, whole.features(images(kind)).grid_features)
    features.square().sum().backward()
    assert [name for name, parameter in grid.named_parameters() if parameter.grad is None] == []
    with pytest.raises(ValueError, match="left out"):
        grid.features(images(kind))


@torch.inference_mode()
def test_a_clip_model_is_built_by_name_with_its_weights(tmp_path: Path):
    name = f"clip:{write_config(tmp_path)}"
    backbone = build_grid_backbone(name, (32, 32), weights=write_weights(tmp_path), with_global=True).eval()
    assert (backbone.grid, backbone.num_features) == ((4, 4), 16)
    expected = tiny_clip("vit").visual(images("vit"))
    torch.testing.assert_close(image_features(backbone, images("vit")).global_features, expected)


@torch.inference_mode()
def test_a_larger_image_has_more_cells(tmp_path: Path):
    backbone = build_grid_backbone(f"clip:{write_config(tmp_path)}", (48, 64), weights=write_weights(tmp_path)).eval()
    assert backbone.grid == (6, 8)
    assert backbone(torch.zeros(1, 3, 48, 64)).shape == (1, 48, 16)


@torch.inference_mode()
def test_timms_clip_transformers_apply_the_last_norm_to_every_token():
    name = "vit_base_patch32_clip_224.openai"
    backbone = build_grid_backbone(name, (64, 64), with_global=True).eval()
    cells = backbone(torch.randn(1, 3, 64, 64))
    torch.testing.assert_close(cells.mean(dim=-1), torch.zeros(1, 5), rtol=0, atol=1e-5)  # gain 1 and offset 0 at first
    assert (backbone.grid, backbone.num_features, backbone.class_tokens) == ((2, 2), 768, 1)


@torch.inference_mode()
def test_the_global_vector_of_a_timm_model_is_its_class_token_or_the_mean():
    vit = build_grid_backbone("test_vit.r160_in1k", (64, 64), with_global=True).eval()
    images = torch.randn(2, 3, 64, 64)
    found = image_features(vit, images)
    torch.testing.assert_close(found.global_features, vit.model.forward_features(images)[:, 0])
    assert found.grid_features.shape == (2, 16, 64)
    cnn = build_grid_backbone("test_resnet.r160_in1k", (64, 64), with_global=True).eval()
    found = image_features(cnn, images)
    torch.testing.assert_close(found.global_features, cnn.model(images))


@pytest.mark.parametrize(
    ("name", "image_size", "normalization"),
    [
        ("clip:tiny", (64, 64), "clip"),
        ("clip:ViT-L-14-336-quickgelu", (336, 336), "clip"),
        ("test_vit.r160_in1k", (160, 160), "half"),
        ("resnet18.tv_in1k", (224, 224), "imagenet"),
        ("vit_large_patch14_clip_336.openai", (336, 336), "clip"),
        ("cvt_w24_384.in22k", (224, 224), "imagenet"),
    ],
)
def test_size_and_colours_are_those_of_the_weights(name: str, image_size: tuple[int, int], normalization: str):
    assert native_image_size(name) == image_size
    assert native_normalization(name) == normalization


def test_a_tower_that_pools_by_attention_is_refused():
    visual = tiny_clip("vit").visual
    visual.attn_pool = torch.nn.Identity()
    with pytest.raises(RecipeError, match="gives no grid"):
        ClipGrid(visual, (32, 32), name="clip:coca")
