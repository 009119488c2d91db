"""Karpathy's split of COCO and Flickr, from its JSON files and from the id lists of the papers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from karpathy_files import (
    COCO,
    caption,
    coco_document,
    flickr_document,
    write_coco_karpathy,
    write_coco_photos,
    write_flickr,
    write_id_lists,
    write_json,
)

from hlcli.data.datasets import karpathy
from hlcli.data.datasets.base import DownloadOptions, Prepared
from hlcli.data.datasets.karpathy import CocoKarpathy, CocoKarpathyOptions, Flickr8k, Flickr30k, FlickrOptions
from hlcli.data.datasets.karpathy_annotations import Counts, read_id_lists, read_karpathy
from hlcli.data.store import store_folder
from hlcli.errors import DataError

BY_NUMBER = {str(image.number): image for image in COCO}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_coco_karpathy(tmp_path / "coco")


def prepare(folder: Path, **options: Any) -> Prepared:
    section = CocoKarpathy(root=folder.parent)
    return section.prepare(folder, CocoKarpathyOptions(**({"allow_partial": True} | options)))


def prepare_flickr(folder: Path, **options: Any) -> Prepared:
    return Flickr8k(root=folder.parent).prepare(folder, FlickrOptions(**({"allow_partial": True} | options)))


def ids(prepared: Prepared) -> dict[str, list[str]]:
    return {split: [record.image_id for record in records] for split, records in prepared.splits.items()}


def test_restval_is_trained_on_after_train(folder):
    prepared = prepare(folder)
    assert ids(prepared) == {"train": ["522418", "9", "318219", "554625"], "val": ["184613"], "test": ["391895"]}
    assert prepared.notes["restval"] == 2
    assert prepared.notes["captions"] == {"train": 23, "val": 5, "test": 5}
    assert prepared.labels is None
    assert not CocoKarpathy().label_space().has_labels


def test_the_folder_of_a_photo_is_that_of_the_file_not_of_the_split(folder):
    records = {record.image_id: record for rows in prepare(folder).splits.values() for record in rows}
    for number, image in BY_NUMBER.items():
        assert records[number].image == folder / image.folder / image.filename
    assert records["318219"].image.parent.name == "val2014"


@pytest.mark.parametrize("number", BY_NUMBER)
def test_captions_are_kept_as_written_in_the_order_of_their_ids(folder, number):
    records = {record.image_id: record for rows in prepare(folder).splits.values() for record in rows}
    assert records[number].captions == tuple(caption(sentid) for sentid in BY_NUMBER[number].sentids)
    assert len(records["318219"].captions) == 7
    assert records["318219"].captions[:2] == ('Two\nlines, "quoted" .', "A sentence with the number 10 .\n")


def test_numbers_are_compared_with_the_published_ones(folder, monkeypatch):
    with pytest.raises(DataError, match=r"dataset_coco.json: 113,287 images of train were expected, found 4") as caught:
        prepare(folder, allow_partial=False)
    assert "--allow-partial" in str(caught.value)
    monkeypatch.setattr(karpathy, "COCO_COUNTS", Counts(4, 1, 1, is_verified=True))
    assert len(prepare(folder, allow_partial=False).splits["train"]) == 4


def test_a_file_without_restval_is_refused(folder, monkeypatch):
    document = coco_document()
    document["images"] = [image for image in document["images"] if image["split"] != "restval"]
    write_json(folder / "karpathy" / "dataset_coco.json", document)
    monkeypatch.setattr(karpathy, "COCO_COUNTS", Counts(4, 1, 1, is_verified=True))
    with pytest.raises(DataError, match="4 images of train were expected, found 2"):
        prepare(folder, allow_partial=False)
    assert prepare(folder).notes["restval"] == 0


def test_the_published_id_lists_give_the_same_records(folder, tmp_path):
    lists = write_id_lists(tmp_path / "m2")
    ours, theirs = prepare(folder), prepare(folder, annotations=lists)
    assert ours.splits == theirs.splits
    assert ours.documents == theirs.documents
    assert set(theirs.notes["sources"]) == {path.name for path in lists.iterdir()}
    np.save(
        lists / "coco_train_ids.npy", np.array([2, 681330, 1], dtype=np.int32)
    )  # the historical lists leave some out
    assert [(r.image_id, len(r.captions)) for r in prepare(folder, annotations=lists).splits["train"][:2]] == [
        ("9", 2), ("522418", 1),
    ]  # fmt: skip


def test_id_lists_are_found_beside_the_photos_where_there_is_no_json(tmp_path):
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    write_id_lists(tmp_path / "coco" / "annotations")
    write_coco_photos(tmp_path / "coco")
    assert len(prepare(tmp_path / "coco").splits["train"]) == 4


def test_nothing_to_read_names_the_command_that_fetches_it(tmp_path):
    with pytest.raises(DataError, match=r"no karpathy/dataset_coco.json.*hlcli download coco-karpathy"):
        prepare(tmp_path)
    with pytest.raises(DataError, match=r"no dataset_flickr8k.json.*--annotations"):
        prepare_flickr(tmp_path / "flickr8k")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "restvel"}, r"images\[2\].split must be train, restval, val or test \(got 'restvel'\)"),
        ({"split": ["val"]}, r"images\[2\].split must be"),
        ({"cocoid": 9}, "image 9 is there twice, in restval and train"),
        ({"cocoid": "318219"}, r"images\[2\].cocoid must be a whole number"),
        ({"cocoid": True}, r"cocoid must be a whole number.*got True"),
        ({"cocoid": -1}, "must be a whole number"),
        ({"cocoid": 2**63}, "must be a whole number up to 9223372036854775807"),
        ({"filename": "../../etc/passwd"}, "a path below the folder of images"),
        ({"filepath": "/etc"}, "a path below the folder of images"),
        ({"filename": None}, "filename must be the name"),
        ({"filepath": 2014}, "filepath must be the name"),
        ({"sentids": [20, 10, 30, 40, 50, 60]}, "must be the same"),
        ({"sentids": [20, 10, 30, 40, 50, 60, 60]}, "must be the same"),
        ({"sentids": []}, "has no sentence"),
        ({"sentids": None}, "needs the lists"),
        ({"sentids": [2**70]}, r"sentids must be a whole number up to"),
        ({"sentences": [{"raw": 5, "sentid": 20}]}, r"sentences\[0\].raw must be text \(got 5\)"),
        ({"sentences": ["text"]}, r"sentences\[0\].sentid must be"),
    ],
)
def test_damaged_entries_are_named(folder, change, message):
    document = coco_document()
    document["images"][2] |= change
    write_json(folder / "karpathy" / "dataset_coco.json", document)
    with pytest.raises(DataError, match=message):
        prepare(folder)


def test_a_caption_id_of_two_images_is_refused(folder):
    document = coco_document()
    document["images"][0] |= {"sentids": [20], "sentences": [{"raw": "A.", "sentid": 20}]}
    with pytest.raises(DataError, match="caption 20 is there twice, with images 522418 and 318219"):
        read_karpathy(write_json(folder / "x.json", document))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(coco_document()).encode()[:-90], "is not JSON: .* in line 1, column .*cut short"),
        (b"", "is not JSON"),
        (b"[]", "no list `images`"),
        (b'{"images": {}}', "no list `images`"),
        (b'{"images": [7]}', r"images\[0\].split"),
        (b"\xff\xfe{", "cannot be read"),
        (b'{"images": ' + b"9" * 5000 + b"}", "cannot be read"),
        (b"[" * 100_000, "cannot be read|not JSON"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / "dataset_coco.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_karpathy(path)
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match="is missing"):
        read_karpathy(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([391895, 20]), r"1 of 2 captions do not exist: 391895.*numbers of captions, not of images"),
        (np.array([20, 20]), "caption 20 is there twice"),
        (np.array([[20]]), r"one row of whole numbers was expected \(got shape \[1, 1\]"),
        (np.array([20.0]), "one row of whole numbers"),
        (np.array([474921]), "image 184613 is there twice, in restval and val"),
        (np.array([{}], dtype=object), "is not an array of caption ids"),
    ],
)
def test_damaged_id_lists_are_named(tmp_path, ids, message):
    lists = write_id_lists(tmp_path)
    np.save(lists / "coco_restval_ids.npy", ids)
    with pytest.raises(DataError, match=message):
        read_id_lists(lists)


def test_a_missing_or_cut_list_is_named(tmp_path):
    lists = write_id_lists(tmp_path)
    content = (lists / "coco_dev_ids.npy").read_bytes()
    (lists / "coco_dev_ids.npy").write_bytes(content[:-9])
    with pytest.raises(DataError, match=r"coco_dev_ids.npy is not an array"):
        read_id_lists(lists)
    (lists / "coco_dev_ids.npy").unlink()
    with pytest.raises(DataError, match=r"coco_dev_ids.npy is missing"):
        read_id_lists(lists)


def test_missing_photos_are_counted_listed_and_tolerated_up_to_a_share(folder):
    (folder / "val2014" / BY_NUMBER["318219"].filename).unlink()
    with pytest.raises(DataError, match=r"1 of 4 train images are missing.*: 318219.*download coco-karpathy"):
        prepare(folder)
    assert "318219" in (folder / "preprocess-coco-karpathy.missing.txt").read_text()
    prepared = prepare(folder, max_missing=0.25)
    assert ids(prepared)["train"] == ["522418", "9", "554625"]
    assert prepared.notes["missing_images"] == {"train": ["318219"], "val": [], "test": []}
    assert len(prepare(folder, without_images=True).splits["train"]) == 4


def test_images_of_the_online_test_have_no_captions(folder):
    listed = {"images": [{"id": i, "file_name": f"COCO_test2014_{i:012d}.jpg"} for i in (70, 69)], "categories": []}
    write_json(folder / "annotations" / "image_info_test2014.json", listed)
    prepared = prepare(folder, online_test=True, without_images=True)
    assert [(r.image_id, r.captions) for r in prepared.splits["online"]] == [("70", ()), ("69", ())]
    assert prepared.splits["online"][0].image == folder / "test2014" / "COCO_test2014_000000000070.jpg"
    assert "online" not in prepare(folder).splits


def test_photos_and_downloads_are_shared_with_coco_but_not_the_store(tmp_path):
    section = CocoKarpathy(root=tmp_path)
    assert section.folder() == tmp_path / "coco"
    assert store_folder(section) == tmp_path / "coco" / "store-coco-karpathy"
    assert store_folder(Flickr8k(root=tmp_path)) == tmp_path / "flickr8k" / "store"
    plan = {row.what: row.state for row in section.plan_download(section.folder(), DownloadOptions())}
    assert [name for name in plan if name.endswith(".zip")] == ["caption_datasets.zip", "train2014.zip", "val2014.zip"]


def test_flickr_images_are_called_after_their_files(tmp_path):
    folder = write_flickr(tmp_path / "flickr8k")
    prepared = prepare_flickr(folder)
    assert ids(prepared) == {"train": ["1000_ab0", "1001_ab1"], "val": ["1002_ab2"], "test": ["1003_ab3"]}
    assert prepared.splits["val"][0].image == folder / "images" / "1002_ab2.jpg"
    assert prepared.splits["train"][0].captions == tuple(caption(number) for number in range(5))


def test_flickr_files_may_lie_elsewhere(tmp_path):
    folder = write_flickr(tmp_path / "mine")
    (folder / "images").rename(tmp_path / "Flicker8k_Dataset")
    own = (folder / "karpathy" / "dataset_flickr8k.json").rename(tmp_path / "own.json")
    prepared = prepare_flickr(tmp_path / "flickr8k", annotations=own, images=tmp_path / "Flicker8k_Dataset")
    assert len(prepared.splits["train"]) == 2
    (tmp_path / "flickr8k" / "images").mkdir(parents=True)
    (tmp_path / "Flicker8k_Dataset").rename(tmp_path / "flickr8k" / "images" / "Flicker8k_Dataset")
    assert len(prepare_flickr(tmp_path / "flickr8k", annotations=own).splits["test"]) == 1


def test_files_with_one_stem_are_refused(tmp_path):
    document = flickr_document()
    document["images"][1]["filename"] = "1000_ab0.png"
    with pytest.raises(DataError, match="image 1000_ab0 is there twice"):
        prepare_flickr(write_flickr(tmp_path / "flickr8k", document))


def test_other_numbers_of_flickr_images_only_warn(tmp_path, caplog):
    folder = write_flickr(tmp_path / "flickr8k", flickr_document(("train", "val")))
    with caplog.at_level(logging.WARNING):
        prepared = prepare_flickr(folder, allow_partial=False)
    assert "6,000 images of train were expected, found 1" in caplog.text
    assert list(prepared.splits) == ["train", "val"]
    assert prepared.notes["absent_splits"] == ["test"]
    with pytest.raises(DataError, match=r"no dataset_flickr30k.json"):
        Flickr30k(root=tmp_path).prepare(folder, FlickrOptions())
