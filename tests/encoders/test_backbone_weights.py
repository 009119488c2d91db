"""Weights of backbones from files: their own and published ones, positions of any size."""

from __future__ import annotations

from pathlib import Path

import pytest
import reference_backbones as reference
import timm
import torch
import torch.nn.functional as F
from pictures import pictures
from safetensors.torch import save_file
from timm.models.tresnet import TResNet
from torch import Tensor, nn

from hlcli.backbones import build_backbone
from hlcli.encoders import backbone_weights
from hlcli.encoders.backbone_weights import fit_positions, load_backbone_weights, read_backbone_weights
from hlcli.errors import CheckpointError


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """A whole model's weights, classifier included."""
    torch.manual_seed(5)
    return timm.create_model("test_resnet").state_dict()


@pytest.mark.parametrize("form", ["safetensors", "pth", "module.", "num_batches_tracked"])
@pytest.mark.parametrize("stage", [None, 2])
def test_local_weights_are_loaded_without_their_classifier(
    tmp_path: Path, published: dict[str, torch.Tensor], form: str, stage: int | None
):
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(published, path)
    elif form == "pth":
        torch.save({"state_dict": published, "epoch": 3}, path)
    elif form == "num_batches_tracked":  # older files have no counters
        torch.save({k: v for k, v in published.items() if not k.endswith(form)}, path)
    else:
        torch.save({f"module.{name}": value for name, value in published.items()}, path)
    if form == "module.":
        with pytest.raises(CheckpointError, match=r"\d+ keys missing .*bn1.*unexpected"):
            build_backbone("test_resnet", (64, 64), weights=path, stage=stage)
        return
    backbone = build_backbone("test_resnet", (64, 64), weights=path, stage=stage, pretrained=True)
    own = backbone.model.state_dict()
    assert len(own) > 20
    assert all(torch.equal(own[name], published[name]) for name in own)


def test_local_weights_of_another_model_are_refused(tmp_path: Path, published: dict[str, torch.Tensor]):
    torch.save(published, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w.pth does not fit this backbone: \d+ keys missing"):
        build_backbone("test_convnext", (64, 64), weights=tmp_path / "w.pth")
    torch.save(published | {"conv1.0.weight": torch.zeros(1), "bn1.weight": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="does not fit this backbone"):
        build_backbone("test_resnet", (64, 64), weights=tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="is not a file"):
        build_backbone("test_resnet", (64, 64), weights=tmp_path / "none.pth")


@torch.no_grad()
def test_files_of_the_published_tresnet_are_loaded(tmp_path: Path):
    theirs = reference.TResNet((1, 1, 1, 1), 8)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)
    state = {key: value for key, value in theirs.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save({"model": state}, tmp_path / "tresnet_l_448.pth")
    ours = TResNet([1, 1, 1, 1], width_factor=0.125, num_classes=0).eval()
    path = tmp_path / "tresnet_l_448.pth"
    load_backbone_weights(ours, read_backbone_weights(path, "tresnet_l.miil_in1k_448"), path)
    expected = theirs.eval()(pictures(64, 64))
    torch.testing.assert_close(ours.forward_features(pictures(64, 64)), expected, rtol=1e-4, atol=1e-5)


def bicubic(table: Tensor, side: int, height: int, width: int, *, antialias: bool) -> Tensor:
    """Positions [1, 1 + side², D] enlarged as the published codes do: the class token kept, the grid interpolated."""
    grid = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False, antialias=antialias)
    return torch.cat((table[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)), dim=1)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(448, 448), (96, 320)])
def test_positions_are_resized_as_told(size: tuple[int, int], antialias: bool):
    model = timm.create_model("test_vit", img_size=size, num_classes=0)
    table = torch.randn(1, 1 + 14 * 14, 64)
    resized = fit_positions(table, model, antialias=antialias)
    expected = bicubic(table, 14, size[0] // 16, size[1] // 16, antialias=antialias)
    torch.testing.assert_close(resized, expected, rtol=0, atol=5e-7)
    assert (resized - bicubic(table, 14, size[0] // 16, size[1] // 16, antialias=not antialias)).abs().max() > 0.1


def test_positions_that_fit_stay_bit_for_bit():
    model = timm.create_model("test_vit", img_size=64, num_classes=0)
    for shape in ((1, 17, 64), (1, 18, 64), (1, 37, 32)):  # as it is; no square; another width
        table = torch.randn(shape)
        assert fit_positions(table, model, antialias=False) is table


@pytest.mark.parametrize("source", ["file", "hub"])
@pytest.mark.parametrize("stage", [None, 1])
def test_published_positions_are_resized_without_antialias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, stage: int | None
):
    published = timm.create_model("test_vit").state_dict()  # 160×160 pixels
    published["pos_embed"] = torch.randn(1, 101, 64)
    torch.save(published, tmp_path / "vit.pth")
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_args, **_kwargs: dict(published))
    monkeypatch.setattr(backbone_weights, "reach_hub", lambda: None)
    given = {"weights": tmp_path / "vit.pth"} if source == "file" else {"pretrained": True}
    for antialias in (False, True):
        backbone = build_backbone("test_vit", (64, 96), stage=stage, position_antialias=antialias, **given)
        state = backbone.model.state_dict()
        (key,) = (key for key in state if key.endswith("pos_embed"))
        expected = bicubic(published["pos_embed"], 10, 4, 6, antialias=antialias)
        torch.testing.assert_close(state[key], expected, rtol=0, atol=5e-7)
        block = next(key for key in state if key.endswith("blocks.1.mlp.fc1.weight"))
        assert torch.equal(state[block], published["blocks.1.mlp.fc1.weight"])
