"""Captions are exported from a store without its images, which may be hundreds of gigabytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from karpathy_files import write_coco_karpathy

from hlcli.data.coco_captions import read_caption_annotations
from hlcli.data.datasets.karpathy import CocoKarpathy
from hlcli.data.datasets.shapes import Shapes
from hlcli.data.export import write_exports
from hlcli.data.preparation import preprocess
from hlcli.data.records import Record
from hlcli.data.store import Selection, StoreSplit, open_records, split_captions, split_files, store_folder
from hlcli.errors import DataError


@pytest.fixture
def no_whole_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: StoreSplit, row: int) -> Record:
        raise AssertionError("a whole record was read, with its image")

    monkeypatch.setattr(StoreSplit, "__getitem__", refuse)


@pytest.mark.usefixtures("no_whole_record")
def test_captions_leave_without_the_images(tmp_path: Path):
    write_coco_karpathy(tmp_path / "coco")
    data = CocoKarpathy(root=tmp_path)
    preprocess(data, options={"allow_partial": True}, image_size=8)
    for form in ("captions", "m2"):
        assert all(path.stat().st_size for path in write_exports(data, form))
    data = Shapes(root=tmp_path, num_train=3, num_val=2, num_test=0, render_size=16, skip=("shapes-train-000001",))
    preprocess(data)
    images = read_caption_annotations(write_exports(data, "captions")[0])
    assert [image.image_id for image in images] == ["shapes-train-000000", "shapes-train-000002"]


@pytest.mark.parametrize("image_size", [0, 8])
def test_ids_files_and_captions_are_those_of_the_records(tmp_path: Path, image_size: int):
    """Stored as files that stay where they are, and as bytes."""
    write_coco_karpathy(tmp_path / "coco")
    data = CocoKarpathy(root=tmp_path)
    preprocess(data, options={"allow_partial": True}, image_size=image_size)
    stored = open_records(data, "train")
    for records in (stored, Selection(stored, [2, 0]), list(stored)):
        files = [record.image if isinstance(record.image, Path) else None for record in records]
        assert split_files(records) == [(r.image_id, file) for r, file in zip(records, files, strict=True)]
        assert split_captions(records) == [record.captions for record in records]
        assert (None in files) == (image_size > 0)


def test_files_of_images_that_stay_where_they_are_keep_their_names(tmp_path: Path):
    write_coco_karpathy(tmp_path / "coco")
    data = CocoKarpathy(root=tmp_path)
    preprocess(data, options={"allow_partial": True})
    (store_folder(data) / "caption_ids.json").unlink()
    path = write_exports(data, "captions")[0]
    assert json.loads(path.read_text())["images"][1] == {"id": 9, "file_name": "COCO_train2014_000000000009.jpg"}
    with pytest.raises(DataError, match="m2 is for coco-karpathy"):
        write_exports(data, "m2")
