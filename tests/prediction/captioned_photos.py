"""A captioner, photos for it, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_captioner import captioner_recipe, change_eval, write_captioner

from hlcli.recipe import EvalSection

BACKBONE = "test_resnet.r160_in1k"


@pytest.fixture(name="model", scope="module")
def given_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captioner(tmp_path_factory.mktemp("models") / "one")


@pytest.fixture(name="photos", scope="module")
def given_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos, one file that is broken and one that is no image."""
    folder = tmp_path_factory.mktemp("photos") / "é 漢"
    (folder / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, name in enumerate(("a.jpg", "b.PNG", "c.png", "deeper/d.webp", "e.jpg", "f.jpg", "g.jpg", "h.jpg")):
        pixels = rng.integers(0, 256 // (1 + number), (40 + number, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "bad.jpg").write_bytes((folder / "a.jpg").read_bytes()[:100])
    (folder / "notes.txt").write_text("no image")
    return folder


def decoding(**changes: Any) -> EvalSection:
    """As the model's recipe finds captions, with changes."""
    return change_eval(captioner_recipe(), changes)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


DRAWN = decoding(decoder="sample", temperature=1.5, top_p=0.9, seed=5)
