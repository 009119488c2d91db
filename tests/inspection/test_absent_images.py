"""One image without a file hides nothing else of a folder; training and preparation refuse it as ever."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from inspected import found, write_folder

from hlcli.data.datasets.folder import Folder
from hlcli.data.preparation import preprocess
from hlcli.data.store import open_records
from hlcli.errors import DataError
from hlcli.inspection.data import debug_data
from hlcli.inspection.findings import Inspection

ROWS = {"a.png": "cat,train", "b.png": "dog,train", "bad.png": "cat,train", "c.png": "cat;dog,val"}


@pytest.fixture
def data(tmp_path: Path) -> Folder:
    """Five rows: one image without a file, one that is none."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "bad.png").write_text("no image")
    written = write_folder(tmp_path, {**ROWS, "gone.png": "dog,train"})
    (tmp_path / "photos" / "gone.png").unlink()
    return written


def check_told(inspection: Inspection) -> None:
    absent = found(inspection, "files", "1 of 4 images has no file.")
    assert (absent.level, absent.where, absent.splits) == ("error", ("train gone.png",), ("train",))
    assert "data.skip" not in absent.mend


def test_the_other_images_are_inspected(data: Folder):
    inspection = debug_data(data, workers=1)
    check_told(inspection)
    assert found(inspection, "images", "1 image cannot be decoded").where[0].startswith("train bad.png")
    assert found(inspection, "images", "3 images decoded")
    assert [(counts.split, counts.images) for counts in inspection.splits] == [("train", 4), ("val", 1)]


def test_labels_kept_in_part_hide_it_neither(data: Folder):
    check_told(debug_data(data.model_copy(update={"labels_kept": "single"}), images=False))


def test_a_skipped_image_without_a_file_is_told_for_training_refuses_it(data: Folder):
    skipping = data.model_copy(update={"skip": ("gone.png", "a.png")})
    inspection = debug_data(skipping, images=False)
    assert found(inspection, "files", "1 of 3 images has no file.").where == ("train gone.png",)
    with pytest.raises(DataError, match=r"gone\.png \(line 6\)"):
        open_records(skipping, "train")


def test_training_and_preparation_refuse_it_even_after_an_inspection(data: Folder):
    debug_data(data, images=False)
    with pytest.raises(DataError, match=r"1 of 4 images are not in .*gone\.png \(line 6\)"):
        open_records(data, "train")
    with pytest.raises(DataError, match=r"gone\.png"):
        preprocess(data)


def test_the_disk_is_asked_once_for_every_image(data: Folder, monkeypatch: pytest.MonkeyPatch):
    asked, isfile = Counter[str](), os.path.isfile

    def counting(path: str | os.PathLike[str]) -> bool:
        asked[os.path.basename(path)] += 1
        return isfile(path)

    data.split_names()  # reads the file of labels
    monkeypatch.setattr("hlcli.inspection.files.os.path.isfile", counting)
    monkeypatch.setattr("hlcli.inspection.files.find_images", lambda places: [])
    debug_data(data, workers=1)
    assert {name: asked[name] for name in (*ROWS, "gone.png")} == dict.fromkeys((*ROWS, "gone.png"), 1)
