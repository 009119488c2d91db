"""One, two and three processes measure, predict, caption and extract the same to the last bit, whatever the sizes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from effort import effort
from noise_photos import write_photos
from tiny_captioner import captioner_recipe, change_eval, write_captioner
from tiny_label_models import LABEL_METHODS, tiny_label_model
from two_processes import in_processes

import hlcli
from hlcli.launching import make_accelerator
from hlcli.prediction.captions import caption
from hlcli.recipe import Recipe
from hlcli.tasks.choice import make_task

SIZES = (1, 2, 5, 7)
"""Images of a split; batches of three: fewer than processes, one for each, a small one at the end."""
FILES = ("predictions.jsonl", "predictions.failures.jsonl", "measured.jsonl", "captions.jsonl",
         "captions.failures.jsonl", "drawn.jsonl", "features.hdf5", "features.failures.jsonl")  # fmt: skip


class Work(NamedTuple):
    """What is done by each number of processes."""

    methods: list[tuple[str, int]]  # of labels, with the images of a split
    caption_sizes: list[int]
    captioner: Path
    photos: Path


def measured(recipe: Recipe, model: torch.nn.Module | None = None) -> dict[str, Any]:
    """What training would say of a network after an epoch: all metrics, loss, thresholds."""
    task = make_task(recipe, make_accelerator(cpu=True))
    if model is None:
        torch.manual_seed(0)
        model = task.build_model(initial_weights=False, data_files=True).eval()
    criterion = task.build_criterion().eval()
    (scores,) = task.evaluate([model], criterion, epoch=0, check=lambda: None)
    assert scores.numbers["loss"] is not None
    return {"numbers": scores.numbers, "thresholds": scores.thresholds}


def do_everything(work: Work, folder: Path) -> None:
    """In each process: all verbs. What they return goes to a file of the process, what they write to `folder`."""
    rank, found = os.environ.get("RANK", "0"), {}
    for method, size in work.methods:
        loaded = tiny_label_model(method, f"data.num_val={size}", "eval.threshold=self")
        found[f"{method} {size}"] = measured(loaded.recipe, loaded.model)
    for size in work.caption_sizes:
        found[f"captions {size}"] = measured(captioner_recipe(f"data.num_val={size}"))
    loaded = tiny_label_model("salgl", "data.num_test=7", "data.num_val=5", "eval.threshold=self")
    report = hlcli.evaluate(loaded, split="test", out=folder / "measured.jsonl")
    found["eval"] = report.metrics.to_json()
    hlcli.predict(loaded, [work.photos, work.photos / "0.png"], out=folder / "predictions.jsonl", batch_size=2)
    options: dict[str, Any] = {"batch_size": 2, "num_captions": 2}
    caption(work.captioner, work.photos, out=folder / "captions.jsonl", **options)
    drawing = change_eval(captioner_recipe(), {"decoder": "sample", "temperature": 1.5, "seed": 5})
    caption(work.captioner, work.photos, out=folder / "drawn.jsonl", decoding=drawing, **options)
    features = hlcli.FeatureOptions(backbone="test_resnet.r160_in1k", pretrained=False, image_size=32)
    hlcli.embed_images(work.photos, features, out=folder / "features.hdf5", batch_size=2, workers=0)
    (folder / f"process{rank}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("same")
    photos = write_photos(folder / "photos", 5)
    for name in ("copy.png", "other_copy.png"):
        shutil.copy(photos / "1.png", photos / name)
    for name in ("3a.png", "broken.png"):
        (photos / name).write_bytes((photos / "2.png").read_bytes()[:100])
    each = effort(1, len(SIZES))
    methods = [
        (method, SIZES[(start + more) % len(SIZES)])
        for start, method in enumerate(LABEL_METHODS)
        for more in range(each)
    ]
    return Work(methods, list(SIZES[-each:]), write_captioner(folder / "captioner"), photos)


@pytest.fixture(scope="module")
def alone(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes."""
    folder = tmp_path_factory.mktemp("alone")
    do_everything(work, folder)
    return folder


@pytest.mark.parametrize("count", [2, 3][effort(1, 0) :])
def test_any_number_of_processes_says_the_same_to_the_last_bit(
    work: Work, alone: Path, tmp_path: Path, count: int
) -> None:
    in_processes(count, do_everything, work, tmp_path)
    one = json.loads((alone / "process0.json").read_text())
    for rank in range(count):
        assert json.loads((tmp_path / f"process{rank}.json").read_text()) == one, f"process {rank}"
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (alone / name).read_bytes(), name
    assert len((alone / "predictions.jsonl").read_text().splitlines()) == 7
    assert len((alone / "predictions.failures.jsonl").read_text().splitlines()) == 2


class _StoppedError(Exception):
    """In the middle of the work."""


def caption_until(work: Work, out: Path, stop_after: int | None) -> None:
    """Caption photos one by one in rounds, going on with what is there, until so many are done."""
    seen = 0

    def show(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == stop_after:
            raise _StoppedError

    try:
        caption(work.captioner, work.photos, out=out, resume=stop_after != 1, show=show, batch_size=1)
    except _StoppedError:
        return
    assert stop_after is None


def test_captions_that_were_begun_by_some_processes_are_finished_by_others(work: Work, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    caption(work.captioner, work.photos, out=whole, batch_size=1)
    in_processes(3, caption_until, work, out, 1)
    assert not out.exists()
    in_processes(2, caption_until, work, out, 2)
    assert not out.exists()
    caption_until(work, out, None)
    for name in (".jsonl", ".failures.jsonl"):
        assert out.with_suffix(name).read_bytes() == whole.with_suffix(name).read_bytes()
