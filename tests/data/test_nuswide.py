from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from nuswide_files import write_official, write_photo

from hlcli.data.datasets import nuswide, nuswide_annotations
from hlcli.data.datasets.nuswide import Nuswide
from hlcli.data.datasets.nuswide_annotations import find_placeholders
from hlcli.data.datasets.nuswide_labels import LABEL_NAMES, PARENTS, Counts
from hlcli.data.preparation import preprocess
from hlcli.data.store import open_label_space, open_records
from hlcli.errors import DataError, InputError

from .nuswide_parts import given_published_sizes, given_source, prepare, rows  # noqa: F401


def test_the_concepts_are_the_official_ones():
    assert len(LABEL_NAMES) == 81
    assert [LABEL_NAMES[index] for index in (0, 42, 58, 80)] == ["airport", "person", "sports", "zebra"]
    assert {parent: len(children) for parent, children in PARENTS.items()} == {
        "activity": 9,
        "program": 1,
        "scene": 33,
        "people": 4,
        "object": 33,
        "graphics": 1,
    }
    labels = Nuswide(hierarchy=True).label_space()
    assert labels.level_sizes == (6, 81)
    assert labels.levels[0].label_names[labels.ancestors(LABEL_NAMES.index("elk"))[0]] == "object"
    assert Nuswide().label_space().level_sizes == (81,)


@pytest.mark.parametrize("concepts_at", ["ConceptsList", "."])
@pytest.mark.parametrize("labels_at", ["Groundtruth/AllLabels", "AllLabels"])
def test_the_official_split_is_that_of_the_papers(tmp_path, concepts_at, labels_at):
    write_official(tmp_path, concepts_at=concepts_at, labels_at=labels_at)
    prepared = prepare(tmp_path)
    assert rows(prepared, "train") == [
        ("actor/0001_11.jpg", ["person"]),
        ("zebra/0002_12.jpg", ["animal", "grass", "zebra"]),
    ]
    assert rows(prepared, "test") == [("lake/0004_14.jpg", ["lake", "water"]), ("fox/0007_17.jpg", ["animal", "fox"])]
    assert prepared.splits["train"][0].image == tmp_path / "Flickr" / "actor" / "0001_11.jpg"
    assert prepared.notes["images_without_labels"] == {"train": 1, "test": 1}
    assert prepared.notes["data_set"] == "part of the official split, 6 of 269,648 images"
    assert prepared.notes["num_images"] == 4
    assert {"Imagelist.txt", "Labels_zebra.txt"} <= prepared.notes["sources"].keys()


def test_unlabelled_images_are_kept_on_demand(source):
    prepared = prepare(source, keep_unlabelled=True)
    assert ("sky/0003_13.jpg", []) in rows(prepared, "train")
    assert [len(records) for records in prepared.splits.values()] == [3, 3]


def test_photos_may_lie_elsewhere(source, tmp_path):
    (source / "Flickr").rename(tmp_path / "photos")
    with pytest.raises(DataError, match="2 of 2 train images are missing") as caught:
        prepare(source)
    assert f"are missing below {source / 'Flickr'}: actor/0001_11.jpg, zebra/0002_12.jpg." in caught.value.message
    assert "--crawl NUS-WIDE-urls.txt" in caught.value.hint
    assert len(prepare(source, images=tmp_path / "photos").splits["train"]) == 2


def test_only_whole_lists_with_all_their_photos_are_called_the_published_set(source, published_sizes, caplog):
    def name(**options: Any) -> str:
        return prepare(source, allow_partial=False, **options).notes["data_set"]

    assert name() == name(keep_unlabelled=True) == "the official split"
    assert not [record for record in caplog.records if record.levelname == "WARNING" and "NUS-WIDE:" in record.message]
    assert name(without_images=True) == "the official split, photos not looked at"
    (source / "Flickr" / "zebra" / "0002_12.jpg").unlink()
    assert name() == "part of the official split, 5 of 6 images"
    assert "NUS-WIDE: part of the official split, 5 of 6 images." in caplog.text
    assert name(without_images=True) == "the official split, photos not looked at"


def test_lists_with_other_numbers_are_not_called_the_published_set(source, published_sizes, monkeypatch):
    monkeypatch.setattr(nuswide, "OFFICIAL", {"train": Counts(2), "test": Counts(4)})
    assert prepare(source).notes["data_set"] == "other lists than the official split, 6 of 6 images"
    monkeypatch.setattr(nuswide, "OFFICIAL", {"train": Counts(3, 5), "test": Counts(3)})
    assert prepare(source).notes["data_set"] == "other lists than the official split, 6 of 6 images"


def test_missing_images_are_listed_and_refused_beyond_the_limit(source, caplog):
    (source / "Flickr" / "zebra" / "0002_12.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 train images are missing .*zebra/0002_12\.jpg.*--max-missing"):
        prepare(source, max_missing=0.4)
    listed = source / "nuswide" / "preprocess.missing.txt"
    assert listed.read_text() == f"train\t{source / 'Flickr' / 'zebra' / '0002_12.jpg'}\n"
    prepared = prepare(source)
    assert f"1 of 2 train images are missing below {source / 'Flickr'}: zebra/0002_12.jpg." in caplog.text
    assert f"They are listed in {listed}. They are left out." in caplog.text
    assert rows(prepared, "train") == [("actor/0001_11.jpg", ["person"])]
    assert prepared.notes["missing_images"] == {"train": ["zebra/0002_12.jpg"], "test": []}
    assert prepared.notes["data_set"] == "part of the official split, 5 of 269,648 images"
    assert prepared.notes["num_images"] == 3
    write_official(source)
    prepare(source)
    assert not listed.exists()


def test_the_published_counts_are_checked(source, monkeypatch, caplog):
    with pytest.raises(DataError, match=r"Imagelist\.txt: 269,648 images were expected, found 7\..*--allow-partial"):
        prepare(source, allow_partial=False)
    monkeypatch.setattr(nuswide_annotations, "NUM_LISTED", 7)
    with pytest.raises(DataError, match="variant official, train: 161,789 images were expected, found 3"):
        prepare(source, allow_partial=False)
    known = {"train": Counts(3, labelled=2), "test": Counts(3, labelled=3)}
    monkeypatch.setattr(nuswide, "OFFICIAL", known)
    prepare(source, allow_partial=False)
    assert "variant official, test: 3 images with a label were expected, found 2." in caplog.text
    assert "train: " not in caplog.text


def test_damaged_label_files_and_foreign_concepts_are_named(source):
    path = source / "Groundtruth" / "AllLabels" / "Labels_whales.txt"
    content = path.read_text()
    for wrong in (content + "0\n", content.replace("0", "2", 1), ""):
        path.write_text(wrong)
        with pytest.raises(DataError, match=r"Labels_whales\.txt has not 7 lines of 0 or 1"):
            prepare(source)
    path.unlink()
    with pytest.raises(DataError, match=r"AllLabels/Labels_whales\.txt is missing"):
        prepare(source)
    path.write_text(content)
    concepts = source / "ConceptsList" / "Concepts81.txt"
    concepts.write_text(concepts.read_text().replace("zebra", "unicorn"))
    with pytest.raises(DataError, match="'unicorn' is not one of them"):
        prepare(source)


def test_pictures_that_stand_for_removed_photos_count_as_missing(source, caplog):
    picture = source / "Flickr" / "zebra" / "0002_12.jpg"
    md5 = hashlib.md5(picture.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=r"1 of 2 train images are missing"):
        prepare(source, placeholder=[md5.upper()], max_missing=0.4)
    assert f"1 image is a picture that stands for removed photos, e.g. {picture}" in caplog.text
    prepared = prepare(source, placeholder=[md5])
    assert [record.image_id for record in prepared.splits["train"]] == ["actor/0001_11.jpg"]
    assert prepared.notes["missing_images"]["train"] == ["zebra/0002_12.jpg"]
    assert prepared.notes["placeholder"] == [md5]
    assert prepare(source, placeholder=[md5], without_images=True).notes["num_images"] == 4


def test_pictures_that_are_the_same_too_often_are_no_photos(tmp_path):
    for i in range(6):
        write_photo(tmp_path / f"same{i}.jpg", 3)
        write_photo(tmp_path / f"own{i}.jpg", i)
    files = sorted(tmp_path.glob("*.jpg"))
    twins = sorted([*tmp_path.glob("same*.jpg"), tmp_path / "own3.jpg"])
    assert sorted(find_placeholders(files, (), 7)) == twins
    assert find_placeholders(files, (), 8) == []
    assert find_placeholders(files, (), 0) == []
    sha256 = hashlib.sha256((tmp_path / "own0.jpg").read_bytes()).hexdigest()
    assert find_placeholders(files, {sha256}, 0) == [tmp_path / "own0.jpg"]


def test_the_store_serves_recipes_with_and_without_parents(source, published_sizes, tmp_path):
    made = preprocess(Nuswide(root=tmp_path), source=source, options={"allow_partial": True})
    assert made.meta["counts"]["train"]["images"] == 2
    assert made.meta["notes"]["data_set"] == "the official split"
    assert open_label_space(Nuswide(root=tmp_path)).level_sizes == (81,)
    assert open_label_space(Nuswide(root=tmp_path, hierarchy=True)).level_sizes == (6, 81)
    assert Path(open_records(Nuswide(root=tmp_path), "test")[1].image).name == "0007_17.jpg"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\\1.jpg\nb\\2.jpg\na/1.jpg\n", r"line 3: a/1\.jpg was listed before, in line 1"),
        ("a\\1.jpg\n..\\..\\2.jpg\n", r"line 2: a path below the folder of images was expected"),
        ("/a/1.jpg\n", "line 1: a path below the folder"),
        ("\n", "lists no image"),
    ],
)
def test_a_damaged_official_list_is_named(source, content, message):
    (source / "ImageList" / "Imagelist.txt").write_text(content)
    with pytest.raises(DataError, match=rf"Imagelist\.txt.*{message}"):
        prepare(source)


def test_images_in_two_lists_or_unknown_ones_are_warned_about(source, caplog):
    path = source / "ImageList" / "TestImagelist.txt"
    path.write_text(path.read_text() + "nowhere\\1.jpg\n")
    assert "fox/0007_17.jpg" in [record.image_id for record in prepare(source).splits["test"]]
    assert "TestImagelist.txt: 1 image is not in Imagelist.txt and left out, e.g. nowhere/1.jpg" in caplog.text
    assert "1 image is in the lists of train and of test, taken for test, e.g. fox/0007_17.jpg" in caplog.text


def test_a_placeholder_is_a_sum(source):
    with pytest.raises(InputError, match=r"md5 \(32 hex digits\) or sha256 \(64\) was expected \(got 'abc'\)"):
        prepare(source, placeholder=["abc"])
