"""Captions in COCO's form: read, as a data set of one's own, and written."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from intentonomy_files import photo
from karpathy_files import (
    COCO,
    caption,
    caption_document,
    write_coco_karpathy,
    write_flickr,
    write_id_lists,
    write_json,
)

from hlcli.captioning.caption_text import read_frequencies, read_words
from hlcli.data.coco_captions import ListedImage, read_caption_annotations, read_image_list
from hlcli.data.coco_results import coco_image_id, write_coco_results
from hlcli.data.datasets.captions import Captions
from hlcli.data.datasets.karpathy import CocoKarpathy, Flickr8k
from hlcli.data.datasets.karpathy_annotations import read_id_lists
from hlcli.data.datasets.shapes import Shapes
from hlcli.data.export import write_exports
from hlcli.data.preparation import preprocess
from hlcli.data.store import open_label_space, open_records, split_names, store_folder
from hlcli.errors import DataError


def own(number: Any = 7, file: str = "a.jpg", captions: tuple[str, ...] = ("One.", "Two.")) -> dict[str, Any]:
    annotations = [{"id": i, "image_id": number, "caption": text} for i, text in enumerate(captions)]
    return {"images": [{"id": number, "file_name": file}], "annotations": annotations}


def test_captions_are_gathered_by_image_in_the_order_of_the_file(tmp_path):
    images = read_caption_annotations(write_json(tmp_path / "captions_val2014.json", caption_document("val2014")))
    known = [image for image in reversed(COCO) if image.folder == "val2014"]
    assert [image.image_id for image in images] == [str(image.number) for image in known]
    assert [image.caption_ids for image in images] == [tuple(sorted(image.sentids)) for image in known]
    assert images[2].captions[:2] == (caption(10), caption(20))
    assert images[2].captions[1] == 'Two\nlines, "quoted" .'


def test_images_without_captions_stay_in_the_list(tmp_path):
    path = write_json(tmp_path / "c.json", own(captions=()))
    assert read_caption_annotations(path)[0].captions == ()
    assert read_image_list(path) == [ListedImage("7", "a.jpg")]
    assert read_image_list(write_json(path, {"images": [{"id": "b", "file_name": "x/b.jpg"}]})) == [
        ListedImage("b", "x/b.jpg")
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": {}}, "no list `annotations`; it is not a list of captions in COCO's form"),
        ({"images": [{"id": 7, "file_name": "a.jpg"}] * 2}, r"images\[1\]: image 7, a.jpg, is listed twice"),
        ({"images": [{"id": 7, "file_name": "a.jpg"}, {"id": "7", "file_name": "b.jpg"}]}, "listed twice"),
        ({"images": [{"id": 2**64, "file_name": "a.jpg"}]}, "id must be a whole number up to 9223372036854775807"),
        ({"images": [{"id": None, "file_name": "a.jpg"}]}, "id must be a whole number"),
        ({"images": [{"id": 7, "file_name": "../a.jpg"}]}, "a path below the folder of images"),
        ({"images": [{"id": 7}]}, "file_name must be the name"),
        ({"images": ["a.jpg"]}, r"images\[0\].id"),
        ({"annotations": [{"id": 1, "image_id": 8, "caption": "A."}]}, r"annotations\[0\].image_id 8 is not among"),
        ({"annotations": [{"id": 1, "image_id": [7], "caption": "A."}]}, "is not among"),
        ({"annotations": [{"id": 1, "image_id": 7, "caption": "A."}] * 2}, r"annotations\[1\].id 1 is there twice"),
        ({"annotations": [{"id": [], "image_id": 7, "caption": "A."}]}, r"annotations\[0\].id must be a whole number"),
        ({"annotations": [{"id": 1, "image_id": 7, "bbox": [0]}]}, r"caption must be text.*`instances`"),
        ({"annotations": [7]}, r"annotations\[0\].id must be"),
    ],
)
def test_damaged_entries_are_named(tmp_path, change, message):
    path = write_json(tmp_path / "c.json", own() | change)
    with pytest.raises(DataError, match=message) as caught:
        read_caption_annotations(path)
    assert str(path) in str(caught.value)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "below").mkdir(parents=True)
    for name in ("a.jpg", "below/b.jpg", "c.jpg"):
        (tmp_path / "photos" / name).write_bytes(photo())
    return tmp_path / "photos"


def test_own_photos_are_read_without_preparation(photos, tmp_path, caplog):
    train = own()
    train["images"].append({"id": 8, "file_name": "c.jpg"})
    data = Captions(
        images=photos,
        train=write_json(tmp_path / "train.json", train),
        test=write_json(tmp_path / "test.json", own("b", "below/b.jpg")),
    )
    assert split_names(data) == ("train", "test")
    with caplog.at_level(logging.WARNING):
        records = open_records(data, "train")
    assert [(r.image_id, r.image, r.captions) for r in records] == [("7", photos / "a.jpg", ("One.", "Two."))]
    assert "1 of 2 images have no caption and are left out" in caplog.text
    assert open_records(data, "test")[0].image == photos / "below" / "b.jpg"
    assert not open_label_space(data).has_labels
    with pytest.raises(DataError, match=r"data.val: no file was named"):
        open_records(data, "val")


def test_own_sets_must_be_whole(photos, tmp_path):
    train = write_json(tmp_path / "train.json", own())
    with pytest.raises(ValueError, match="must name a JSON file"):
        Captions(images=photos)
    with pytest.raises(DataError, match="Splits train and val share 1 image: 7"):
        open_records(Captions(images=photos, train=train, val=train), "train")
    with pytest.raises(DataError, match=r"1 of 1 images are not in .*: z.jpg"):
        open_records(Captions(images=photos, train=write_json(tmp_path / "z.json", own(file="z.jpg"))), "train")
    with pytest.raises(DataError, match="no image has a caption"):
        open_records(Captions(images=photos, train=write_json(tmp_path / "e.json", own(captions=()))), "train")
    with pytest.raises(DataError, match="is not a folder of images"):
        open_records(Captions(images=tmp_path / "none", train=train), "train")


def test_papers_files_come_back_from_the_store(tmp_path):
    folder = write_coco_karpathy(tmp_path / "coco")
    data = CocoKarpathy(root=tmp_path)
    preprocess(data, options={"allow_partial": True}, image_size=8)
    lists = write_id_lists(tmp_path / "expected")
    written = write_exports(data, "m2")
    assert {path.name for path in written} == {path.name for path in lists.iterdir()}
    for path in written:
        assert path.parent == folder / "m2"
        if path.suffix == ".npy":
            array = np.load(path)
            assert array.dtype == np.int64
            assert array.tolist() == np.load(lists / path.name).tolist()
    assert read_id_lists(folder / "m2") == read_id_lists(lists)


def test_captions_of_every_split_are_written_as_coco_writes_them(tmp_path):
    write_coco_karpathy(tmp_path / "coco")
    data = CocoKarpathy(root=tmp_path)
    preprocess(data, options={"allow_partial": True})
    written = {path.name: path for path in write_exports(data, "captions")}
    assert set(written) == {"captions_train.json", "captions_val.json", "captions_test.json"}
    images = read_caption_annotations(written["captions_train.json"])
    assert [image.image_id for image in images] == ["522418", "9", "318219", "554625"]
    assert images[2].caption_ids == (20, 10, 30, 40, 50, 60, 70)
    assert images[2].captions == tuple(map(caption, images[2].caption_ids))
    assert json.loads(written["captions_val.json"].read_text())["images"] == [
        {"id": 184613, "file_name": "val2014/COCO_val2014_000000184613.jpg"}
    ]


def test_captions_without_numbers_are_numbered_through_all_splits(tmp_path):
    data = Shapes(root=tmp_path, num_train=3, num_val=2, num_test=0, render_size=16)
    preprocess(data)
    paths = write_exports(data, "captions")
    numbers = [n for path in paths for image in read_caption_annotations(path) for n in image.caption_ids]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


def test_formats_that_a_set_cannot_have_are_refused(tmp_path):
    data = Flickr8k(root=tmp_path)
    preprocess(data, source=write_flickr(tmp_path / "flickr8k"), options={"allow_partial": True})
    with pytest.raises(DataError, match="m2 is for coco-karpathy; flickr8k has no captions of COCO 2014"):
        write_exports(data, "m2")
    for form in ("npy", "lists", "indices"):
        with pytest.raises(DataError, match="There are no labels in flickr8k"):
            write_exports(data, form)
    (store_folder(data) / "caption_ids.json").write_text("{")
    with pytest.raises(DataError, match=r"caption_ids.json cannot be read"):
        write_exports(data, "captions")


@pytest.mark.parametrize(
    ("image", "number"),
    [
        ("42", 42),
        ("test2014/COCO_test2014_000000000042.jpg", 42),
        ("COCO_val2014_000000000007", 7),
        ("000000000139.JPG", 139),
        (r"C:\val2017\000000000139.png", 139),
        ("007", 7),
    ],
)
def test_numbers_of_coco_images_are_found_in_their_names(image, number):
    assert coco_image_id(image) == number


@pytest.mark.parametrize(
    "image",
    [
        "1001773457_577c3a7d70",
        "1001773457_577c3a7d70.jpg",
        "shapes-val-000004",
        "photos/42.jpg",
        "COCO_test2014_42.jpg",
        "000000000042.gif",
        "x_000000000042.jpg",
        "IMG_000000000042",
        "dog.jpg",
        "-7",
        "4²",
        "",
    ],
)
def test_digits_of_other_names_are_no_numbers(image, tmp_path):
    with pytest.raises(DataError, match=r"has no number of COCO's.*\.jsonl file"):
        write_coco_results(tmp_path / "results.json", [("7", "a"), (image, "b")])
    assert not list(tmp_path.iterdir())


def test_results_are_written_for_the_online_test(tmp_path):
    path = tmp_path / "captions_test2014_hin_results.json"
    count = write_coco_results(path, [("COCO_test2014_000000000069.jpg", "a dog"), ("70", 'two "cats"\n')])
    assert count == 2
    assert json.loads(path.read_text()) == [
        {"image_id": 69, "caption": "a dog"},
        {"image_id": 70, "caption": 'two "cats"\n'},
    ]
    with pytest.raises(DataError, match="Image 7 has two captions"):
        write_coco_results(path, [("7", "a"), ("val2017/000000000007.jpg", "b")])
    assert len(json.loads(path.read_text())) == 2


def test_words_are_counted_in_train_and_val_when_a_set_is_prepared(tmp_path):
    data = Flickr8k(root=tmp_path)
    preprocess(data, source=write_flickr(tmp_path / "flickr8k"), options={"allow_partial": True})
    words = read_words(store_folder(data))
    assert words["sentence"] == 15  # 10 captions of train and 5 of val, none of test
    for unit in ("caption", "image"):
        read_frequencies(store_folder(data), unit)


def test_sets_without_training_captions_get_no_words(tmp_path, photos):
    data = Captions(images=photos, root=tmp_path, val=write_json(tmp_path / "val.json", own()))
    preprocess(data)
    assert not (store_folder(data) / "words.json").exists()
    assert [record.captions for record in open_records(data, "val")] == [("One.", "Two.")]
