"""Weights of CLIP models: local files in every form, and published ones."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

pytest.importorskip("open_clip")
import open_clip
from tiny_clip import tiny_clip, tiny_config, write_config, write_weights

from hlcli.clip import build_clip
from hlcli.encoders import clip_weights
from hlcli.errors import CheckpointError, DownloadError, RecipeError

# Local weights


def written(tmp_path: Path, form: str) -> Path:
    """The tiny ViT's weights in one of the forms that people have them in."""
    state = tiny_clip("vit").state_dict()
    path = tmp_path / f"{form}.pt"
    match form:
        case "safetensors":
            from safetensors.torch import save_file

            path = tmp_path / "weights.safetensors"
            save_file(state, path)
        case "training":
            wrapped = {f"module.{name}": value for name, value in state.items()}
            torch.save({"epoch": 3, "state_dict": wrapped}, path)
        case "openai":
            facts = {"input_resolution": 32, "context_length": 16, "vocab_size": 49408}
            half = {name: value.half() if value.ndim > 1 else value for name, value in state.items()}
            torch.save({**half, **{name: torch.tensor(value) for name, value in facts.items()}}, path)
    return path


@pytest.mark.parametrize("form", ["safetensors", "training", "openai"])
def test_weights_load_in_every_form_they_are_given_out_in(tmp_path: Path, form: str):
    made = build_clip(f"clip:{write_config(tmp_path)}", (32, 32), weights=written(tmp_path, form))
    expected = tiny_clip("vit")
    for name, value in made.visual.state_dict().items():
        assert_close(value, expected.visual.state_dict()[name], rtol=1e-3, atol=1e-3)
    assert made.text.positional_embedding.dtype == torch.float32
    assert_close(made.text.text_projection, expected.text_projection, rtol=1e-3, atol=1e-3)


def test_weights_of_one_tower_layout_load_into_the_other(tmp_path: Path):
    path = tmp_path / "custom.json"
    path.write_text(json.dumps({**tiny_config("vit"), "custom_text": True}))
    made = build_clip(f"clip:{path}", (32, 32), weights=write_weights(tmp_path))
    assert_close(made.text.text_projection, tiny_clip("vit").text_projection)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_torchscript_archive_is_refused_unread_with_another_way(tmp_path: Path):
    script = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    script.save(str(tmp_path / "RN50.pt"))
    with pytest.raises(CheckpointError, match=r"RN50\.pt is a TorchScript archive.*which is not run") as caught:
        build_clip(f"clip:{write_config(tmp_path)}", (32, 32), weights=tmp_path / "RN50.pt")
    assert "safetensors" in str(caught.value.hint)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path):
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(CheckpointError, match="asks to run code"):
        build_clip(f"clip:{write_config(tmp_path)}", (32, 32), weights=tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_model_are_named(tmp_path: Path):
    weights = write_weights(tmp_path, "resnet")
    with pytest.raises(CheckpointError, match=r"does not fit this CLIP model: \d+ keys missing .*unexpected"):
        build_clip(f"clip:{write_config(tmp_path, 'vit')}", (32, 32), weights=weights)


# Published weights


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What open_clip's factory is asked for; it answers with a tiny ResNet, or a tiny ViT."""
    calls: list[dict[str, Any]] = []

    def create_model(name: str, **options: Any) -> Any:
        calls.append({"name": name, **options})
        return tiny_clip("resnet" if name.startswith("RN") else "vit")

    monkeypatch.setattr(open_clip, "create_model", create_model)
    monkeypatch.setattr(clip_weights, "ask_hub", lambda name, hint: None)
    return calls


def test_published_weights_come_with_their_activation(asked: list[dict[str, Any]]):
    build_clip("clip:RN50", (64, 64), pretrained=True)
    build_clip("clip:ViT-B-32/laion2b_e16", (32, 32), pretrained=True)
    assert asked == [
        {"name": "RN50", "pretrained": "openai", "force_quick_gelu": True},
        {"name": "ViT-B-32", "pretrained": "laion2b_e16", "force_quick_gelu": False, "force_image_size": (32, 32)},
    ]


def test_local_weights_are_taken_before_published_ones(tmp_path: Path, asked: list[dict[str, Any]]):
    build_clip(f"clip:{write_config(tmp_path)}", (32, 32), pretrained=True, weights=write_weights(tmp_path))
    assert not asked


def test_a_model_without_published_weights_says_so(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"no weights to fetch.*Set backbone\.weights"):
        build_clip(f"clip:{write_config(tmp_path)}", (32, 32), pretrained=True)
    with pytest.raises(RecipeError, match=r"Write clip:convnext_base/laion400m"):
        build_clip("clip:convnext_base", (224, 224), pretrained=True)


def test_a_hub_out_of_reach_is_asked_once_and_a_way_out_named(silent_hub: list[str], capfd: pytest.CaptureFixture[str]):
    with pytest.raises(DownloadError, match=r"clip:RN50/openai cannot be fetched.*no network") as caught:
        build_clip("clip:RN50", (224, 224), pretrained=True)
    assert "backbone.weights" in str(caught.value.hint)
    assert len(silent_hub) == 1
    assert capfd.readouterr() == ("", "")


def test_a_file_fetched_before_is_used_without_asking_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: list[dict[str, Any]]
):
    from huggingface_hub import constants

    cached = tmp_path / "models--timm--resnet50_clip.openai"
    snapshot = cached / "snapshots" / "abc" / "open_clip_model.safetensors"
    snapshot.parent.mkdir(parents=True)
    snapshot.touch()
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(clip_weights, "ask_hub", lambda name, hint: pytest.fail("asked"))
    build_clip("clip:RN50", (64, 64), pretrained=True)
    assert asked[0]["pretrained"] == str(snapshot)
    assert asked[0]["force_quick_gelu"] is True


def test_a_model_that_does_not_fit_is_refused_before_anything_is_fetched(asked: list[dict[str, Any]]):
    with pytest.raises(RecipeError, match="text tower"):
        build_clip("clip:ViT-B-16-SigLIP", (224, 224), pretrained=True)
    assert not asked


def test_the_factory_reads_files_without_unpickling(tmp_path: Path):
    """What keeps published weights of other formats than safetensors from running code."""
    import inspect

    assert inspect.signature(open_clip.create_model).parameters["weights_only"].default is True
    assert inspect.signature(open_clip.load_checkpoint).parameters["weights_only"].default is True


def test_building_logs_nothing_through_the_root_logger(tmp_path: Path, asked: list[dict[str, Any]]):
    before = list(logging.getLogger().handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_clip("clip:RN50", (64, 64), pretrained=True)
    assert logging.getLogger().handlers == before
