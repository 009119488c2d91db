"""CvT through the door of all backbones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import reference_backbones as reference
import torch
from huggingface_hub import constants
from timm.layers import DropPath
from torch import nn

from hlcli.backbones import build_backbone
from hlcli.encoders.cvt import W24, Cvt
from hlcli.errors import CheckpointError, MissingDependencyError, RecipeError

transformers = pytest.importorskip("transformers")

SIZES = {"embed_dim": [8, 16, 24], "depth": [1, 2, 3], "num_heads": [1, 2, 3], "drop_path_rate": [0.0, 0.0, 0.3]}
SIZE = (64, 96)


def published(**fields) -> nn.Module:
    """transformers' own model, tiny, with large random weights."""
    torch.manual_seed(0)
    model = transformers.CvtForImageClassification(transformers.CvtConfig(**{**SIZES, "num_labels": 5, **fields}))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CvT as Hugging Face stores it."""
    path = tmp_path_factory.mktemp("cvt")
    published().save_pretrained(path)
    return path


def images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_it_is_the_published_encoder_with_a_norm_on_every_token(folder: Path):
    backbone = build_backbone(f"cvt:{folder}", SIZE, pretrained=True, class_token=True).eval()
    assert (backbone.grid, backbone.num_features, backbone.class_tokens) == ((4, 6), 24, 1)
    for module in backbone.modules():  # what transformers computes
        if hasattr(module, "activation"):
            module.activation = nn.GELU()
    theirs = published()
    raw = theirs.cvt(images(*SIZE))
    tokens = backbone(images(*SIZE))
    torch.testing.assert_close(tokens[:, :1], theirs.layernorm(raw.cls_token_value), rtol=1e-5, atol=1e-6)
    cell = theirs.layernorm(raw.last_hidden_state[:, :, 2, 5])
    torch.testing.assert_close(tokens[:, 1 + 2 * 6 + 5], cell, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_class_token_can_be_left_out(folder: Path):
    whole = build_backbone(f"cvt:{folder}", SIZE, pretrained=True, class_token=True).eval()
    grid = build_backbone(f"cvt:{folder}", SIZE, pretrained=True).eval()
    assert grid(images(*SIZE)).shape == (2, 24, 24)
    assert torch.equal(grid(images(*SIZE)), whole(images(*SIZE))[:, 1:])


def test_stochastic_depth_grows_with_the_layers(folder: Path):
    backbone = build_backbone(f"cvt:{folder}", SIZE)
    rates = [module.drop_prob for module in backbone.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0] + [0, 0] * 2 + [0, 0, 0.15, 0.15, 0.3, 0.3])


@torch.no_grad()
def test_a_dropped_branch_leaves_the_stream_as_it_is():
    model = Cvt(published(depth=[1, 2, 3], drop_path_rate=[0.0, 0.0, 1.0]), (32, 32)).eval()
    layers = model.encoder.stages[-1].layers
    for module in layers[-1].modules():
        module.train(isinstance(module, DropPath))  # drops both branches, always
    dropped = model(images(32, 32))
    del layers[-1]
    assert torch.equal(dropped, model(images(32, 32)))


@pytest.mark.parametrize("form", ["reference", "hugging face"])
def test_local_weights_under_either_name_are_loaded(folder: Path, tmp_path: Path, form: str):
    torch.manual_seed(9)
    if form == "reference":
        theirs = reference.CvT((8, 16, 24), (1, 2, 3), (1, 2, 3)).eval()
        path = tmp_path / "CvT.pth"
        torch.save(theirs.state_dict(), path)
    else:
        theirs = build_backbone(f"cvt:{folder}", (64, 64), pretrained=True).eval()
        path = folder / "model.safetensors"
    backbone = build_backbone(f"cvt:{folder}", (64, 64), weights=path).eval()
    with torch.no_grad():
        torch.testing.assert_close(backbone(images(64, 64)), theirs(images(64, 64)), rtol=1e-4, atol=1e-5)


def test_every_weight_that_does_not_fit_is_named(folder: Path, tmp_path: Path):
    state = reference.CvT((8, 16, 24), (1, 2, 3), (1, 2, 3)).state_dict()
    state["norm.weight"] = torch.zeros(12)
    state["stage9.strange"] = state.pop("stage0.blocks.0.norm1.bias")
    torch.save(state, tmp_path / "CvT.pth")
    with pytest.raises(CheckpointError) as caught:
        build_backbone(f"cvt:{folder}", (64, 64), weights=tmp_path / "CvT.pth")
    assert caught.value.message.endswith(
        "CvT.pth does not fit this backbone: 1 key missing (encoder.stages.0.layers.0.layernorm_before.bias), "
        "1 key unexpected (encoder.stages.9.strange), 1 key of another shape (layernorm.weight [12] instead of [24])."
    )


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("FOLDER", {"size": (60, 64)}, r"does not take images of 60×64 pixels: .*multiples of 16.*: 48×64, 64×64\."),
        ("FOLDER", {"size": (8, 8)}, r"multiples of 16, 16 at least. The next that fit: 16×16\."),
        ("FOLDER", {"stage": 1}, "backbone.stage: a CvT gives its last stage only"),
        ("cvt_13", {}, f"no CvT is named 'cvt_13'. Write {W24}, or cvt:FOLDER_OR_HUGGING_FACE_NAME"),
        ("cvt_21_384", {}, f"cvt_21_384 is the published code's name. Write {W24}"),
        ("cvt:./nowhere/at/all", {}, r"backbone.name: ./nowhere/at/all could not be read"),
    ],
)
def test_wrong_settings_name_themselves(folder: Path, name: str, fields: dict, message: str):
    size = fields.get("size", (64, 64))
    with pytest.raises(RecipeError, match=message):
        build_backbone(name.replace("FOLDER", f"cvt:{folder}"), size, stage=fields.get("stage"))


def test_a_folder_of_another_model_is_refused(tmp_path: Path):
    transformers.ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="is no CvT but 'vit'"):
        build_backbone(f"cvt:{tmp_path}", (64, 64))


def test_a_hub_that_does_not_answer_is_asked_once(silent_hub: list[str]):
    with pytest.raises(RecipeError, match="microsoft/cvt-w24-384-22k could not be read: no network"):
        build_backbone(W24, (384, 384), pretrained=True)
    assert silent_hub == [constants.ENDPOINT]


def test_without_transformers_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        MissingDependencyError, match=r'needs the package transformers. Run: pip install "hlcli\[cvt\]"'
    ):
        build_backbone(W24, (384, 384))


def test_the_large_one_has_its_published_size():
    with torch.device("meta"):
        backbone = build_backbone(W24, (384, 384))
    assert (backbone.grid, backbone.num_features) == ((24, 24), 1024)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == pytest.approx(276e6, rel=0.01)
