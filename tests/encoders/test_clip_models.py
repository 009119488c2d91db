from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

pytest.importorskip("open_clip")
from tiny_clip import tiny_config

from hlcli.clip import build_clip
from hlcli.encoders import loading
from hlcli.encoders.clip_models import find_clip_model, inline_clip_name
from hlcli.errors import MissingDependencyError, RecipeError


@pytest.mark.parametrize(
    ("name", "architecture", "tag", "quick_gelu"),
    [
        ("clip:RN50", "RN50", "openai", True),
        ("clip:RN50-quickgelu", "RN50-quickgelu", "openai", True),
        ("clip:ViT-B/32", "ViT-B-32", "openai", True),
        ("clip:ViT-B-32/laion2b_s34b_b79k", "ViT-B-32", "laion2b_s34b_b79k", False),
        ("clip:convnext_base", "convnext_base", "", False),
    ],
)
def test_the_name_says_which_weights_and_which_activation(name: str, architecture: str, tag: str, quick_gelu: bool):
    source = find_clip_model(name)
    assert (source.architecture, source.tag) == (architecture, tag)
    assert bool(source.config.get("quick_gelu")) is quick_gelu


def test_the_activation_is_built_whether_weights_are_fetched_or_follow():
    with torch.device("meta"):
        names = ("clip:RN50", "clip:ViT-B-32/laion2b_e16")
        towers = [build_clip(name, (224, 224)).text.transformer for name in names]
    kinds = [{type(module).__name__ for module in tower.modules()} for tower in towers]
    assert ["QuickGELU" in kind for kind in kinds] == [True, False]
    assert ["GELU" in kind for kind in kinds] == [False, True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clip:RN5", r"open_clip has no model of this name. Did you mean .*RN50"),
        ("clip:RN50/opnai", r"no published weights 'opnai' of RN50. Published: openai"),
        ("clip:ViT-B-16-SigLIP", "text tower of clip:ViT-B-16-SigLIP cannot be used"),
        ("clip:roberta-ViT-B-32", "no CLIP transformer. Take a CLIP model such as RN50-quickgelu"),
        ("clip:coca_ViT-B-32", "no CLIP transformer"),
        ("clip:missing.json", r"missing\.json is missing\. Give the path of an open_clip model configuration"),
    ],
)
def test_models_that_cannot_be_used_are_refused_with_those_that_can(name: str, message: str):
    with pytest.raises(RecipeError, match=message), torch.device("meta"):
        build_clip(name, (224, 224))


def changed(section: str, **values: Any) -> str:
    """The tiny ViT's configuration with other values in a section."""
    config = tiny_config("vit")
    return json.dumps({**config, section: {**config[section], **values}})


@pytest.mark.parametrize("is_inline", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"embed_dim": 8', "is no model configuration: it is no JSON"),
        ('{"embed_dim": 8}', "embed_dim, vision_cfg and text_cfg were expected"),
        ('{"model_cfg": 3}', "embed_dim, vision_cfg and text_cfg were expected"),
        (json.dumps({**tiny_config("vit"), "vision_cfg": [1]}), r"vision_cfg must be names with values, got \[1\]"),
        (json.dumps({**tiny_config("vit"), "text_cfg": "hello"}), "text_cfg must be names with values, got 'hello'"),
        (json.dumps({**tiny_config("vit"), "embed_dim": True}), "embed_dim must be a whole number above 0, got True"),
        (changed("vision_cfg", patch_size="a"), r"vision_cfg\.patch_size must be a whole number above 0, got 'a'"),
        (changed("vision_cfg", image_size=3.5), r"vision_cfg\.image_size must be a whole number"),
        (changed("vision_cfg", layers=[1, 1, 0, 1]), r"vision_cfg\.layers must be a whole number above 0, got 0"),
        (changed("text_cfg", context_length="77"), r"text_cfg\.context_length must be a whole number"),
        (changed("text_cfg", tokenizer_kwargs=[1]), "tokenizer_kwargs must be names with values"),
        (changed("text_cfg", tokenizer_kwargs={"colour": 1}), "tokenizer_kwargs: .*colour"),
        (changed("vision_cfg", head_width=32), "cannot be built: .*heads"),
        (changed("vision_cfg", layers=[]), "cannot be built: "),
        (changed("vision_cfg", norm_kwargs="x"), "cannot be built: "),
        (changed("vision_cfg", timm_model_name="gone"), "cannot be built for images of 32×32 pixels: .*gone"),
        (json.dumps({**tiny_config("vit"), "depth": 3}), "cannot be built: .*depth"),
    ],
)
def test_a_configuration_that_is_wrong_is_told(tmp_path: Path, is_inline: bool, content: str, message: str):
    path = tmp_path / "own.json"
    path.write_text(content)
    with pytest.raises(RecipeError, match=f"^backbone.name: .*{message}") as caught:
        build_clip(f"clip:{content if is_inline else path}", (32, 32))
    assert "this size" not in str(caught.value)
    assert len(caught.value.message) < 250 + len(str(path))


def test_a_file_of_something_else_is_no_configuration(tmp_path: Path):
    path = tmp_path / "own.json"
    for content, message in ((b"[1]", "is no model configuration"), (b"\xff", "own.json cannot be read")):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=message):
            build_clip(f"clip:{path}", (32, 32))
    path.unlink()
    path.mkdir()
    with pytest.raises(RecipeError, match=r"own\.json cannot be read"):
        inline_clip_name(f"clip:{path}")


def test_a_configuration_is_read_from_a_file_or_from_the_name_itself(tmp_path: Path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"model_cfg": tiny_config("vit"), "preprocess_cfg": {}}, indent=2))
    inline = inline_clip_name(f"clip:{path}")
    towers = []
    for name in (f"clip:{path}", inline, 'clip:{"model_cfg": ' + json.dumps(tiny_config("vit")) + "}"):
        torch.manual_seed(0)
        towers.append(build_clip(name, (32, 32)))
    first, *others = (tower.state_dict() for tower in towers)
    for other in others:
        assert_close(other, first, rtol=0, atol=0)
    assert len(towers[1].name) < 60
    with pytest.raises(RecipeError, match=r"image tower of clip:\{.{30,40}… has no parameter named layer9") as caught:
        build_clip(inline, (32, 32), frozen=("layer9",))
    assert "patch_size" not in str(caught.value)


def test_an_inline_name_says_everything_and_always_the_same(tmp_path: Path):
    config = tiny_config("resnet")
    for number, keys in enumerate((list(config), sorted(config, reverse=True))):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({key: config[key] for key in keys}, indent=number))
    inline, other = (inline_clip_name(f"clip:{tmp_path / name}") for name in ("0.json", "1.json"))
    assert inline == other
    assert " " not in inline
    assert json.loads(inline.removeprefix("clip:")) == config
    for name in (inline, "clip:tiny", "clip:RN50/openai", "resnet50.tv_in1k", "folder/own.json"):
        assert inline_clip_name(name) == name
    with pytest.raises(RecipeError, match=r"gone\.json is missing"):
        inline_clip_name("clip:gone.json")


def test_a_missing_library_is_named_with_who_needs_it_and_its_pip_line(monkeypatch: pytest.MonkeyPatch):
    def missing(module: str) -> None:
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(loading, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"^backbone\.name: clip:RN50 needs open_clip ") as caught:
        build_clip("clip:RN50", (224, 224))
    assert caught.value.hint == 'pip install "hlcli[clip]"'
