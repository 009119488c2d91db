"""timm models as grids of features."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from faulty_server import without_proxies  # noqa: F401
from pictures import pictures
from safetensors.torch import save_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hlcli.backbones import build_backbone
from hlcli.errors import RecipeError


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


def test_weights_that_cannot_be_fetched_say_how_to_do_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RecipeError, match=r"could not be fetched: .*backbone.pretrained: false"):
        build_backbone("test_efficientnet.r160_in1k", (64, 64), pretrained=True)
    with pytest.raises(RecipeError, match="timm has no weights for"):
        build_backbone("vit_so150m_patch16_reg4_map_256", (32, 32), pretrained=True)


@pytest.fixture
def closed_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A hub that nothing answers for, which is asked all the same; its cache."""
    import socket

    from huggingface_hub import constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    return tmp_path


def test_a_hub_that_does_not_answer_is_asked_once_and_not_for_a_minute(
    closed_hub: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("timm asked, again and again"))
    with pytest.raises(RecipeError, match=r"could not be fetched: .*refused") as caught:
        build_backbone("test_efficientnet.r160_in1k", (64, 64), pretrained=True)
    assert "Go online once" in (caught.value.hint or "")


def test_weights_that_were_fetched_before_need_no_hub(closed_hub: Path):
    network = timm.create_model("test_efficientnet")
    folder = closed_hub / "models--timm--test_efficientnet.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(network.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    built = build_backbone("test_efficientnet.r160_in1k", (64, 64), pretrained=True)
    torch.testing.assert_close(built.model.state_dict()["conv_stem.weight"], network.state_dict()["conv_stem.weight"])


def test_a_class_token_stands_before_the_grid_where_it_is_kept():
    torch.manual_seed(0)
    with_token = build_backbone("test_vit", (32, 48), class_token=True).eval()
    without = build_backbone("test_vit", (32, 48)).eval()
    without.load_state_dict(with_token.state_dict())
    images = torch.randn(2, 3, 32, 48)
    tokens, grid_features = with_token(images), without(images)
    assert (with_token.class_tokens, without.class_tokens) == (1, 0)
    assert with_token.grid == without.grid
    assert tokens.shape[1] == grid_features.shape[1] + 1
    torch.testing.assert_close(tokens[:, 1:], grid_features)


def test_a_class_token_that_is_not_there_cannot_be_kept():
    with pytest.raises(RecipeError, match=r"backbone\.class_token: this model has no class token"):
        build_backbone("test_resnet", (32, 32), class_token=True)


@pytest.mark.parametrize(
    ("name", "size", "features", "side", "has_class_token"),
    [
        ("resnet101.tv_in1k", 576, 2048, 18, False),
        ("resnet34.tv_in1k", 448, 512, 14, False),
        ("tresnet_m.miil_in1k_448", 448, 2048, 14, False),
        ("tresnet_l.miil_in1k_448", 448, 2432, 14, False),
        ("tresnet_xl.miil_in1k_448", 448, 2656, 14, False),
        ("tresnet_v2_l.miil_in21k", 576, 2048, 18, False),
        ("vit_base_patch16_224.orig_in21k_ft_in1k", 448, 768, 28, True),
        ("vit_large_patch16_224.augreg_in21k", 448, 1024, 28, True),
        ("swin_large_patch4_window12_384.ms_in22k", 384, 1536, 12, False),
        ("swin_large_patch4_window12_384.ms_in22k", 448, 1536, 14, False),
    ],
)
def test_the_papers_backbones_have_the_grids_of_the_table(
    name: str, size: int, features: int, side: int, has_class_token: bool
):
    with torch.device("meta"):
        backbone = build_backbone(name, (size, size), class_token=has_class_token)
    assert (backbone.name, backbone.num_features, backbone.grid) == (name, features, (side, side))
    assert backbone.class_tokens == has_class_token


def test_tresnet_lv2_is_version_2_with_almost_no_slope():
    with torch.device("meta"):
        backbone = build_backbone("tresnet_lv2", (448, 448))
        plain = build_backbone("tresnet_v2_l", (448, 448))
    slopes = {module.negative_slope for module in backbone.modules() if isinstance(module, nn.LeakyReLU)}
    assert slopes == {1e-6}
    assert list(backbone.state_dict()) == list(plain.state_dict())
    assert backbone.num_features == 2048
    with pytest.raises(RecipeError, match="tresnet_lv2 has no weights to fetch"):
        build_backbone("tresnet_lv2", (448, 448), pretrained=True)


def test_names_of_the_published_code_are_told_timms():
    with pytest.raises(RecipeError, match=r"tresnet_l21k is the published code's name. Write tresnet_v2_l.miil_in21k"):
        build_backbone("tresnet_l21k", (448, 448))
