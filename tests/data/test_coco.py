from __future__ import annotations

import json
from pathlib import Path

import pytest
from coco_files import document, file_name, write_coco

from hlcli.data.datasets.base import hold_out
from hlcli.data.datasets.coco import Coco, CocoOptions
from hlcli.data.datasets.coco_labels import COUNTS, PARENTS, Counts
from hlcli.data.preparation import preprocess
from hlcli.data.records import Record
from hlcli.data.store import open_label_space, open_records
from hlcli.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


def prepare(folder: Path, **options):
    return Coco(root=folder).prepare(folder, CocoOptions(**{"allow_partial": True} | options))


def ids(records: list[Record]) -> list[str]:
    return [record.image_id for record in records]


def test_labels_stand_in_the_order_of_the_category_ids():
    names = Coco().label_space().label_names
    assert len(names) == 80
    assert [names[label] for label in (0, 10, 11, 39, 45, 60, 79)] == [
        "person", "fire hydrant", "stop sign", "bottle", "bowl", "dining table", "toothbrush",
    ]  # fmt: skip
    assert Coco().label_space().level_sizes == (80,)


def test_super_categories_are_a_level_above():
    labels = Coco(hierarchy=True).label_space()
    assert labels.level_sizes == (12, 80)
    coarse, fine = labels.levels
    parent = {name: coarse.label_names[p] for name, p in zip(fine.label_names, fine.parent_index, strict=True)}
    assert [parent[name] for name in ("person", "boat", "kite", "spoon", "hot dog", "tv", "sink", "clock")] == [
        "person", "vehicle", "sports", "kitchen", "food", "electronic", "appliance", "indoor",
    ]  # fmt: skip
    assert [len(members) for members in PARENTS.values()] == [1, 8, 5, 10, 5, 10, 7, 10, 6, 6, 5, 7]


def test_train_and_val_become_train_and_test_with_crowds_and_without_unlabelled_images(folder):
    prepared = prepare(folder)
    assert list(prepared.splits) == ["train", "test"]
    assert prepared.splits["train"] == [
        Record("9", folder / "train2014" / file_name("train", 9), (45, 49)),
        Record("30", folder / "train2014" / file_name("train", 30), (0, 79)),
        Record("34", folder / "train2014" / file_name("train", 34), (22,)),
    ]
    assert [record.labels for record in prepared.splits["test"]] == [(16,), (0, 1, 16)]
    assert prepared.notes["images_without_labels"] == {"train": 1, "test": 1}
    assert set(prepared.notes["sources"]) == {"instances_train2014.json", "instances_val2014.json"}
    json.dumps(prepared.notes)


def test_unlabelled_images_are_kept_on_demand(folder):
    prepared = prepare(folder, keep_unlabelled=True)
    assert [(record.image_id, record.labels) for record in prepared.splits["test"]] == [
        ("42", (16,)), ("73", ()), ("74", (0, 1, 16)),
    ]  # fmt: skip


def test_a_list_says_which_images_are_trained_on_and_with_which_labels(folder, tmp_path):
    path = tmp_path / "coco_train_singlelabel.txt"
    path.write_text(f"{file_name('train', 34)},22\n{file_name('train', 9)},49\n")
    prepared = prepare(folder, labels=path)
    assert [(record.image_id, record.labels) for record in prepared.splits["train"]] == [("9", (49,)), ("34", (22,))]
    assert prepared.splits["test"] == prepare(folder).splits["test"]
    assert prepared.notes["label_lists"]["train"]["images_not_listed"] == 1
    assert "coco_train_singlelabel.txt" in prepared.notes["sources"]
    assert str(tmp_path) not in json.dumps(prepared.notes)
    path.write_text(f"{file_name('val', 42)},16\n")
    with pytest.raises(DataError, match=r"1 of 1 listed images are not in train, e\.g\. COCO_val2014_0+42\.jpg"):
        prepare(folder, labels=path)


def test_held_out_images_keep_all_their_labels(folder, tmp_path):
    path = tmp_path / "single.txt"
    path.write_text(f"{file_name('train', 9)},49\n{file_name('train', 30)},0\n")
    splits = prepare(folder, labels=path, val_fraction=0.5).splits
    (train,), (val,) = splits["train"], splits["val"]
    assert len(train.labels) == 1
    assert {val.image_id: val.labels}.items() <= {"9": (45, 49), "30": (0, 79)}.items()


def test_a_list_needs_a_train_split(tmp_path):
    path = tmp_path / "single.txt"
    path.write_text(f"{file_name('train', 9)},49\n")
    with pytest.raises(DataError, match=r"single\.txt is about train, but there is no such split"):
        prepare(write_coco(tmp_path / "coco", ("val",)), labels=path)


@pytest.mark.parametrize("name", [".", "COCO2014", "MSCOCO", "coco"])
def test_the_layout_may_lie_in_a_folder_of_its_own(tmp_path, name):
    write_coco(tmp_path / "data" / name)
    assert len(prepare(tmp_path / "data").splits["train"]) == 3


def test_a_share_of_train_can_be_held_out(folder):
    prepared = prepare(folder, val_fraction=0.34)
    assert list(prepared.splits) == ["train", "val", "test"]
    assert len(prepared.splits["val"]) == 1
    assert sorted(ids(prepared.splits["train"]) + ids(prepared.splits["val"]), key=int) == ["9", "30", "34"]


def test_what_is_held_out_depends_on_ids_and_seed_alone():
    records = [Record(str(number), b"") for number in range(200)]
    kept, drawn = hold_out(records, 0.1, seed=1)
    assert (len(kept), len(drawn)) == (180, 20)
    assert kept == [record for record in records if record not in drawn]
    assert sorted(ids(drawn)) == sorted(ids(hold_out(records[::-1], 0.1, seed=1)[1]))
    assert ids(drawn) != ids(hold_out(records, 0.1, seed=2)[1])


def test_a_split_whose_file_is_absent_is_noted(tmp_path, caplog):
    prepared = prepare(write_coco(tmp_path, ("val",)))
    assert list(prepared.splits) == ["test"]
    assert prepared.notes["absent_splits"] == ["train"]
    assert "there will be no train split" in caplog.text


def test_no_annotations_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"has no annotations/instances_train2014\.json.*hlcli download coco"):
        prepare(tmp_path)


def test_missing_images_are_refused_beyond_a_share(folder, caplog):
    (folder / "train2014" / file_name("train", 30)).unlink()
    with pytest.raises(DataError, match=r"1 of 3 train images are missing below .*train2014: 30\..*--max-missing"):
        prepare(folder)
    listed = folder / "coco" / "preprocess.missing.txt"
    assert listed.read_text() == f"train\t{folder / 'train2014' / file_name('train', 30)}\n"
    prepared = prepare(folder, max_missing=0.34)
    assert ids(prepared.splits["train"]) == ["9", "34"]
    assert prepared.notes["missing_images"] == {"train": ["30"], "test": []}
    assert "They are left out" in caplog.text
    assert len(prepare(folder, without_images=True).splits["train"]) == 3


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (Counts(5, 3, 5), "5 images were expected, found 4"),
        (Counts(4, 4, 5), "4 images with objects were expected, found 3"),
        (Counts(4, 3, 6), "6 labels were expected, found 5"),
        (Counts(4, 3, 5), None),
        (Counts(4, 3, None), None),
    ],
)
def test_files_are_compared_with_the_published_numbers(folder, monkeypatch, counts, message):
    monkeypatch.setitem(COUNTS, "train", counts)
    monkeypatch.setitem(COUNTS, "val", Counts(3, 2, None))
    if message is None:
        assert len(prepare(folder, allow_partial=False).splits["train"]) == 3
        return
    with pytest.raises(DataError, match=rf"instances_train2014\.json: {message}\..*--allow-partial"):
        prepare(folder, allow_partial=False)


def test_numbers_that_nobody_confirmed_only_warn(folder, monkeypatch, caplog):
    monkeypatch.setitem(COUNTS, "train", Counts(4, 3, 5))
    assert len(prepare(folder, allow_partial=False).splits["test"]) == 2
    assert "instances_val2014.json: 40,504 images were expected, found 3." in caplog.text
    assert "40,137 images with objects were expected, found 2." in caplog.text
    assert "instances_train2014" not in caplog.text


def test_the_published_numbers_are_those_of_the_papers():
    train, val = Counts(82_783, 82_081, 241_035), Counts(40_504, 40_137, None, is_verified=False)
    assert {"train": train, "val": val} == COUNTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][1].update(category_id=12), r"annotations\[1\].category_id 12 is not one of the 80"),
        (lambda d: d["annotations"][0].pop("category_id"), r"annotations\[0\].category_id None is not"),
        (lambda d: d["annotations"][0].update(image_id=8), r"annotations\[0\].image_id 8 is not among the images"),
        (lambda d: d["annotations"].append(7), r"annotations\[\d\].image_id None is not among"),
        (
            lambda d: d["images"].append(d["images"][0]),
            r"images\[4\]: image 34, .*\.jpg, is listed twice",
        ),
        (lambda d: d["images"][0].update(id=99, file_name=d["images"][1]["file_name"]), r"images\[1\].* listed twice"),
        (lambda d: d["images"][0].update(id="34"), r"images\[0\].id must be a whole number \(got '34'\)"),
        (lambda d: d["images"][0].update(id=True), r"images\[0\].id must be a whole number \(got True\)"),
        (lambda d: d["images"][0].update(file_name="../a.jpg"), r"file_name must be the plain name .*'../a.jpg'"),
        (lambda d: d["categories"].reverse(), r"categories\[0\] must be {id: 1, name: person}"),
        (lambda d: d["categories"].pop(), "80 categories were expected, got 79"),
        (lambda d: d.pop("annotations"), "has no list `annotations`; it is not one of COCO's instances files"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(folder, change, message):
    value = document("train")
    change(value)
    (folder / "annotations" / "instances_train2014.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=rf"instances_train2014\.json.*{message}"):
        prepare(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [', "is not JSON: .* It may be cut short"),
        (b"[]", "has no list `categories`"),
        (b"\xff\xfe\xff", "is not JSON|cannot be read"),
        (b"[" * 200_000, "cannot be read"),
        (b'{"images": [{"id": ' + b"1" * 5000 + b"}]}", "cannot be read"),
    ],
)
def test_a_file_that_is_not_json_is_named(folder, content, message):
    (folder / "annotations" / "instances_val2014.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"instances_val2014\.json.*({message})"):
        prepare(folder)


@pytest.mark.parametrize("written_with", [False, True])
def test_one_store_serves_recipes_with_and_without_super_categories(folder, tmp_path, written_with):
    preprocess(Coco(root=tmp_path, hierarchy=written_with), source=folder, options={"allow_partial": True})
    assert open_label_space(Coco(root=tmp_path)).level_sizes == (80,)
    assert open_label_space(Coco(root=tmp_path, hierarchy=True)) == Coco(hierarchy=True).label_space()
    assert [record.labels for record in open_records(Coco(root=tmp_path), "test")] == [(16,), (0, 1, 16)]


def test_a_store_with_other_labels_is_refused(folder, tmp_path):
    data = Coco(root=tmp_path)
    preprocess(data, source=folder, options={"allow_partial": True})
    path = data.folder() / "store" / "labels.json"
    path.write_text(path.read_text().replace('"zebra"', '"okapi"'))
    with pytest.raises(DataError, match=r"store of coco has 80 labels that are not the 80 .* --overwrite"):
        open_label_space(data)


def test_a_split_that_the_set_declares_is_not_left_out_unasked(tmp_path):
    folder = write_coco(tmp_path, ("val",))
    path = folder / "annotations" / "instances_train2014.json"
    with pytest.raises(DataError, match=r"train2014\.json is missing: there would be no train split.*--allow-partial"):
        prepare(folder, allow_partial=False)
    with pytest.raises(DataError, match="--val-fraction takes images from train"):
        prepare(folder, val_fraction=0.5)
    path.mkdir()
    with pytest.raises(DataError, match=r"train2014\.json is not a file"):
        prepare(folder, allow_partial=False)


def test_splits_that_share_images_and_splits_of_none_are_refused(folder, tmp_path):
    def refused(message: str, **options) -> None:
        with pytest.raises(DataError, match=message):
            preprocess(Coco(root=tmp_path), source=folder, options={"allow_partial": True} | options)
        assert not (tmp_path / "coco" / "store").exists()

    refused("Split 'val' of coco has no image", val_fraction=0.01)
    path = folder / "annotations" / "instances_val2014.json"
    value = document("val")
    value["images"].append({"id": 9, "file_name": file_name("train", 9)})
    value["annotations"].append({"image_id": 9, "category_id": 1})
    path.write_text(json.dumps(value))
    refused("Splits train and test share 1 image: 9", without_images=True)
    path.write_text(json.dumps(value | {"annotations": []}))
    refused("Split 'test' of coco has no image")
