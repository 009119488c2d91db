"""The five commands of docs/own_photos.md, as they are written there."""

from __future__ import annotations

import json
import random
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from command_line import run
from hub_cache import put_into_cache, use_cache
from PIL import Image, ImageDraw
from safetensors.torch import save_file

GUIDE = Path(__file__).parents[2] / "docs" / "own_photos.md"
COLOURS = ("red", "green", "blue", "yellow")


def blocks(section: str) -> list[str]:
    """The code blocks of a section of the guide."""
    text = GUIDE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"```\n(.+?)```", text, flags=re.DOTALL)


def commands(section: str) -> list[str]:
    """The commands among them."""
    return [line for block in blocks(section) for line in block.splitlines() if line.startswith("hlcli ")]


def draw_photos(folder: Path, count: int, seed: int) -> dict[str, list[str]]:
    """Photos of discs; the colours on each."""
    rng, found = random.Random(seed), {}
    folder.mkdir()
    for number in range(count):
        colours = sorted(rng.sample(COLOURS, rng.choice((1, 2))))
        image = Image.new("RGB", (80, 64), "white")
        for colour in colours:
            left, top = rng.randrange(50), rng.randrange(34)
            ImageDraw.Draw(image).ellipse((left, top, left + 30, top + 30), fill=colour)
        image.save(folder / f"{number}.jpg")
        found[f"{number}.jpg"] = colours
    return found


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights where the published ones of the backbone would lie once they are fetched, of a narrow backbone:
    checkpoints of the whole one, 180 MB in each epoch, take longer than all the rest."""
    narrow = partial(timm.models.resnet.resnet18, channels=(8, 8, 16, 16))
    monkeypatch.setitem(timm.models._registry._model_entrypoints, "resnet18", narrow)
    torch.manual_seed(0)
    (tmp_path / "weights").mkdir()
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "weights" / "model.safetensors")
    put_into_cache(use_cache(tmp_path / "cache", monkeypatch), "timm/resnet18.a1_in1k", tmp_path / "weights")


@pytest.mark.usefixtures("weights")
def test_five_commands_lead_from_photos_and_a_table_to_predictions(work_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    found = draw_photos(Path("photos"), 24, seed=0)
    table = "".join(f'{name},"{", ".join(colours)}"\n' for name, colours in found.items())
    Path("labels.csv").write_text(f"file,tags\n{table}", encoding="utf-8")
    draw_photos(Path("new_photos"), 3, seed=1)
    words = commands("Five commands")
    assert len(words) == 5
    outputs = []
    for command in words:
        done = run(*shlex.split(command)[1:])
        assert done.exit_code == 0, (command, done.output)
        outputs.append(done.output)
    said = " ".join(outputs[0].replace("│", " ").split())
    for line in blocks("Five commands")[1].splitlines():
        assert " ".join(line.split()) in said, line
    assert "0 errors" in outputs[1]
    assert "mAP" in outputs[3]
    rows = [json.loads(line) for line in Path("predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [Path(row["image"]).name for row in rows] == ["0.jpg", "1.jpg", "2.jpg"]
    colours = {label["name"] for row in rows for label in row["labels"]}
    assert colours <= set(COLOURS)
