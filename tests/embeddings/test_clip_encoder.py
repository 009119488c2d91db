"""CLIP models as text encoders."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
import text_models
import torch
from torch.testing import assert_close

from hlcli.errors import (
    CheckpointError,
    DownloadError,
    InputError,
)

from .encoder_parts import encode

# CLIP


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_models.write_clip(tmp_path_factory.mktemp("clip"))


def test_clip_encodes_with_the_weights_of_a_file(clip_weights: Path):
    import open_clip

    model = open_clip.create_model("tiny-clip").eval()
    model.load_state_dict(torch.load(clip_weights, weights_only=True))
    with torch.no_grad():
        expected = model.encode_text(open_clip.tokenize(["a photo of a cat"]))[0]
    assert_close(encode(f"clip:tiny-clip/{clip_weights}", "a photo of a cat"), expected)


def test_published_clip_weights_get_the_activation_that_they_were_trained_with(monkeypatch: pytest.MonkeyPatch):
    import open_clip

    asked: list[tuple[str, str, bool]] = []

    def create_model(name: str, *, pretrained: str, force_quick_gelu: bool) -> Any:
        asked.append((name, pretrained, force_quick_gelu))
        raise RuntimeError("no network\nand more")

    monkeypatch.setattr(httpx, "head", lambda url, **options: None)
    monkeypatch.setattr(open_clip, "create_model", create_model)
    for name in ("clip:ViT-B/32", "clip:RN50", "clip:ViT-B-32/laion2b_s34b_b79k"):
        with pytest.raises(DownloadError, match=r"cannot be fetched: no network\. Without") as caught:
            encode(name, "cat")
        assert "clip:" in str(caught.value.hint)
    assert asked == [
        ("ViT-B-32", "openai", True), ("RN50", "openai", True), ("ViT-B-32", "laion2b_s34b_b79k", False),
    ]  # fmt: skip


def test_unknown_clip_names_are_told_with_those_that_exist(clip_weights: Path, tmp_path: Path):
    with pytest.raises(InputError) as caught:
        encode("clip:RN5", "cat")
    assert "RN50" in str(caught.value.hint)
    with pytest.raises(InputError) as caught:
        encode("clip:RN50/opnai", "cat")
    assert "openai" in str(caught.value.hint)
    with pytest.raises(InputError, match="clip:tiny-clip/openai is neither a file nor a published set"):
        encode("clip:tiny-clip", "cat")
    text_models.write_clip(tmp_path, "wider-clip", width=32)
    with pytest.raises(CheckpointError, match="does not hold the weights of wider-clip"):
        encode(f"clip:wider-clip/{clip_weights}", "cat")
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"broken\.pt does not hold the weights of tiny-clip"):
        encode(f"clip:tiny-clip/{tmp_path / 'broken.pt'}", "cat")


@pytest.mark.parametrize("name", ["tiny", "own.json", '{"embed_dim": 8}'])
def test_clip_models_without_trained_weights_encode_nothing(name: str):
    with pytest.raises(InputError, match=r"has no trained weights: its texts would mean nothing") as caught:
        encode(f"clip:{name}", "cat")
    assert "model.graph=clip asks the model's own text encoder" in str(caught.value.hint)


def test_clip_leaves_the_root_logger_as_it_was(clip_weights: Path):
    before = list(logging.getLogger().handlers)
    encode(f"clip:tiny-clip/{clip_weights}", "cat")
    assert logging.getLogger().handlers == before
