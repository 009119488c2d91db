"""timm models as grids of features."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn.modules.batchnorm import _BatchNorm

from hlcli.backbones import build_backbone
from hlcli.errors import CheckpointError, RecipeError


def pictures(*size: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [
        ("test_resnet", (64, 96), (2, 3)),
        ("test_resnet", (33, 47), (2, 2)),
        ("test_convnext", (64, 96), (2, 3)),
        ("test_mambaout", (64, 96), (2, 3)),
        ("test_vit", (32, 80), (2, 5)),
    ],
)
def test_features_stand_row_by_row_on_the_grid(name: str, size: tuple[int, int], grid: tuple[int, int]):
    backbone = build_backbone(name, size).eval()
    images = pictures(*size)
    with torch.no_grad():
        features = backbone(images)
        whole = timm.create_model(name, num_classes=0, img_size=size) if "vit" in name else None
        raw = backbone.model.forward_features(images)
    assert backbone.grid == grid
    assert features.shape == (2, grid[0] * grid[1], backbone.num_features)
    row, column = grid[0] - 1, grid[1] - 1
    cell = features[1, row * grid[1] + column]
    if whole is not None:  # one class token first
        torch.testing.assert_close(cell, raw[1, 1 + row * grid[1] + column], rtol=0, atol=0)
    elif "mamba" in name:  # channels last
        torch.testing.assert_close(cell, raw[1, row, column], rtol=0, atol=0)
    else:
        torch.testing.assert_close(cell, raw[1, :, row, column], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "stage", "features", "grid"),
    [
        ("test_resnet", 3, 192, (4, 6)),
        ("test_resnet", 4, 96, (2, 3)),
        ("test_convnext", 0, 24, (16, 24)),
        ("test_mambaout", 0, 16, (16, 24)),  # channels last
        ("test_vit", 1, 64, (4, 6)),
    ],
)
def test_a_stage_gives_a_finer_grid(name: str, stage: int, features: int, grid: tuple[int, int]):
    backbone = build_backbone(name, (64, 96), stage=stage)
    assert (backbone.num_features, backbone.grid) == (features, grid)
    assert backbone(pictures(64, 96)).shape == (2, grid[0] * grid[1], features)


def test_the_last_stage_is_the_default():
    torch.manual_seed(0)
    whole = build_backbone("test_resnet", (64, 64)).eval()
    torch.manual_seed(0)
    cut = build_backbone("test_resnet", (64, 64), stage=4).eval()
    cut.load_state_dict(whole.state_dict())
    torch.testing.assert_close(cut(pictures(64, 64)), whole(pictures(64, 64)), rtol=0, atol=0)


def train_a_step(backbone: torch.nn.Module) -> None:
    backbone.train()
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.5)
    backbone(pictures(64, 64)).square().sum().backward()
    optimizer.step()


def test_frozen_batch_norms_keep_every_bit():
    backbone = build_backbone("test_resnet", (64, 64), freeze_batch_norm=True)
    norms = {n: m for n, m in backbone.named_modules() if isinstance(m, _BatchNorm)}
    assert norms
    assert not [name for name in backbone.state_dict() if name.endswith("num_batches_tracked")]
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    train_a_step(backbone)
    after = backbone.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("conv1" in name for name in changed)
    assert not [name for name in changed if name.rpartition(".")[0] in norms]
    assert not any(norm.training for norm in norms.values())
    assert backbone.model.layer1.training
    assert not backbone.needs_several_images


def test_batch_norms_learn_otherwise():
    backbone = build_backbone("test_resnet", (64, 64))
    before = backbone.model.bn1.running_mean.clone()
    train_a_step(backbone)
    assert not torch.equal(backbone.model.bn1.running_mean, before)
    assert build_backbone("test_resnet", (32, 32)).needs_several_images
    assert not build_backbone("test_vit", (16, 16)).needs_several_images


def test_frozen_prefixes_are_not_trained():
    backbone = build_backbone("test_resnet", (64, 64), frozen=("conv1", "layer1."))
    frozen = {name for name, parameter in backbone.model.named_parameters() if not parameter.requires_grad}
    expected = {n for n, _ in backbone.model.named_parameters() if n.startswith(("conv1", "layer1."))}
    assert frozen == expected
    assert "conv1.weight" in frozen or any(name.startswith("conv1") for name in frozen)
    train_a_step(backbone)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("test_resnt", {}, r"backbone.name: timm knows no model 'test_resnt'. Did you mean test_resnet"),
        ("", {}, "timm knows no model ''"),
        ("test_resnet.nobody", {}, r"timm knows no weights 'test_resnet.nobody'. There are: test_resnet.r160_in1k"),
        ("test_resnet", {"frozen": ("layer9",)}, "no parameter named layer9… .it has conv1, bn1, layer1"),
        ("test_resnet", {"stage": 9}, "backbone.stage: test_resnet has no stage 9"),
        ("test_vit", {"size": (50, 64)}, "does not take images of 50×64 pixels"),
    ],
)
def test_wrong_settings_name_themselves(name: str, fields: dict, message: str):
    fields = dict(fields)
    size = fields.pop("size", (64, 64))
    with pytest.raises(RecipeError, match=message):
        build_backbone(name, size, **fields)


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


def test_weights_that_cannot_be_fetched_say_how_to_do_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RecipeError, match=r"could not be fetched: .*backbone.pretrained: false"):
        build_backbone("test_efficientnet.r160_in1k", (64, 64), pretrained=True)
    with pytest.raises(RecipeError, match="timm has no weights for"):
        build_backbone("vit_so150m_patch16_reg4_map_256", (32, 32), pretrained=True)
