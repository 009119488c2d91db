"""A power cut leaves the old or the new, never half of it: content reaches the disk before its name, then its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_order import watched_renames
from noise_photos import write_photos
from tiny import tiny_recipe

import hlcli
from hlcli.data.datasets.folder import Folder
from hlcli.data.preparation import preprocess
from hlcli.models.folder import read_model
from hlcli.runs import Run

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells what a descriptor is of")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, a store and predictions, made under observation, and photos."""
    return tmp_path_factory.mktemp("made")


def _train(folder: Path) -> None:
    recipe = tiny_recipe("data.num_train=16", "data.num_val=8", "train.checkpoint_every_steps=1",
                         "train.keep_best_state=true")  # fmt: skip
    hlcli.train(recipe, folder / "run")


def _preprocess(folder: Path) -> None:
    photos = write_photos(folder / "photos", 3, "{}.jpg")
    rows = [f"{path.name},cat,train" for path in sorted(photos.iterdir())]
    (folder / "labels.csv").write_text("\n".join(["image,labels,split", *rows]))
    preprocess(Folder(images=photos, labels=folder / "labels.csv", root=folder / "root"), image_size=8)


def _predict(folder: Path) -> None:
    predictor = hlcli.Predictor(read_model(folder / "run"))
    for ending in ("jsonl", "csv", "parquet"):
        hlcli.predict(predictor, [folder / "photos"], out=folder / f"predictions.{ending}")


@pytest.mark.parametrize(
    ("work", "names"),
    [
        (_train, {"training.pt", "former.pt", "status.json", "recipe.yaml", "model", ".model.ready", ".model.old"}),
        (_preprocess, {"store"}),
        (_predict, {"predictions.jsonl", "predictions.csv", "predictions.parquet"}),
    ],
    ids=["run", "store", "predictions"],
)
def test_content_is_on_the_disk_before_its_name(work: Callable[[Path], None], names: set[str], made: Path) -> None:
    """In this order: predictions need the run."""
    with watched_renames(made) as renames:
        work(made)
    assert renames.unfinished() == []
    assert names - {".model.old"} <= {target.name for target in renames.targets}


def test_lines_of_metrics_are_on_the_disk_before_the_state_that_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.log_event({"event": "step"})
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    assert run.metrics_length() == run.metrics_file.stat().st_size
    assert synced == [run.metrics_file.stat().st_ino]
