from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuswide_files import write_asl, write_official, write_photo, write_spml

from hlcli.data.datasets import nuswide, nuswide_annotations
from hlcli.data.datasets.base import Prepared
from hlcli.data.datasets.nuswide import Nuswide, NuswideOptions
from hlcli.data.datasets.nuswide_annotations import find_placeholders, read_index_list
from hlcli.data.datasets.nuswide_labels import GROUPS, LABEL_NAMES, Counts
from hlcli.data.preparation import preprocess
from hlcli.data.store import open_label_space, open_records
from hlcli.errors import DataError, InputError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_official(tmp_path / "NUS-WIDE")
    return tmp_path / "NUS-WIDE"


def prepare(source: Path, **options) -> Prepared:
    return Nuswide(root=source).prepare(source, NuswideOptions(**{"allow_partial": True} | options))


@pytest.fixture
def published_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published numbers are those of the miniatures."""
    monkeypatch.setattr(nuswide_annotations, "NUM_LISTED", 7)
    monkeypatch.setattr(nuswide, "OFFICIAL", {"train": Counts(3, labelled=2), "test": Counts(3, labelled=2)})
    monkeypatch.setattr(nuswide, "ASL", {"train": Counts(3, 4), "test": Counts(1, 2)})
    monkeypatch.setattr(nuswide, "ASL_SINGLE", {"train": Counts(2, 2), "test": Counts(1, 2)})
    monkeypatch.setattr(nuswide, "SPML", {"train": Counts(2), "test": Counts(1)})


def rows(prepared: Prepared, split: str) -> list[tuple[str, list[str]]]:
    return [(record.image_id, [LABEL_NAMES[i] for i in record.labels]) for record in prepared.splits[split]]


def test_the_concepts_are_the_official_ones():
    assert len(LABEL_NAMES) == 81
    assert [LABEL_NAMES[index] for index in (0, 42, 58, 80)] == ["airport", "person", "sports", "zebra"]
    assert {group: len(members) for group, members in GROUPS.items()} == {
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
    assert f"1 images are pictures that stand for removed photos, e.g. {picture}" in caplog.text
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


def test_the_lists_of_asl_are_another_variant(tmp_path, published_sizes):
    write_asl(tmp_path)
    prepared = prepare(tmp_path, variant="asl")
    assert rows(prepared, "train") == [("0_11_a_m.jpg", ["person"]), ("1_12_b_m.jpg", ["animal", "grass", "zebra"])]
    assert rows(prepared, "test") == [("3_14_d_m.jpg", ["lake", "water"])]
    assert prepared.notes["data_set"] == "ASL's re-crawl"
    assert prepared.notes["variant"] == "asl"
    single = prepare(tmp_path, variant="asl", single_positive=True)
    assert rows(single, "train") == [("0_11_a_m.jpg", ["person"]), ("1_12_b_m.jpg", ["grass"])]
    assert single.notes["data_set"] == "ASL's re-crawl"
    (tmp_path / "nus_train_full.txt").write_text("0_11_a_m.jpg,42\n")
    with pytest.raises(DataError, match="variant asl, train: 3 images were expected, found 1"):
        prepare(tmp_path, variant="asl", allow_partial=False)
    (tmp_path / "nus_val.txt").write_text("a.jpg,81\n")
    with pytest.raises(DataError, match=r"nus_val\.txt, line 1: label 81 is not one of 0\.\.80"):
        prepare(tmp_path, variant="asl")
    (tmp_path / "nus_val.txt").unlink()
    with pytest.raises(DataError, match=r"nus_val\.txt is missing.*--part asl"):
        prepare(tmp_path, variant="asl")


def test_a_list_of_training_labels_works_with_asls_lists(tmp_path, published_sizes):
    write_asl(tmp_path)
    single = prepare(tmp_path, variant="asl", single_positive=True)
    prepared = prepare(tmp_path, variant="asl", allow_partial=False, labels=tmp_path / "nus_train_singlelabel.txt")
    assert prepared.splits == single.splits
    assert prepared.notes["label_lists"]["train"]["labels"] == 2
    assert prepared.notes["data_set"] == "ASL's re-crawl"
    (tmp_path / "odd.txt").write_text("0_11_a_m.jpg,41\n1_12_b_m.jpg,80\n")
    with pytest.raises(DataError, match=r"odd\.txt: 1 of 2 images have listed labels that are none of theirs"):
        prepare(tmp_path, variant="asl", labels=tmp_path / "odd.txt")
    with pytest.raises(InputError, match="single_positive and labels both say"):
        prepare(tmp_path, variant="asl", labels=tmp_path / "odd.txt", single_positive=True)


def test_a_list_of_training_labels_works_with_the_official_split(source, tmp_path):
    (tmp_path / "single.txt").write_text("zebra/0002_12.jpg,30\n")
    prepared = prepare(source, labels=tmp_path / "single.txt")
    assert rows(prepared, "train") == [("zebra/0002_12.jpg", ["grass"])]
    assert len(prepared.splits["test"]) == 2


def test_the_arrays_of_spml_are_another_variant(tmp_path, published_sizes):
    write_spml(tmp_path)
    prepared = prepare(tmp_path, variant="spml", keep_unlabelled=True)
    assert rows(prepared, "train") == [("a.jpg", ["bear", "boats"]), ("b.jpg", [])]
    assert rows(prepared, "test") == [("c.jpg", ["bear", "boats"])]
    assert prepared.notes["data_set"] == "SPML's re-crawl"
    np.save(tmp_path / "formatted_val_labels.npy", np.zeros((1, 80)))
    with pytest.raises(DataError, match=r"has shape \[1, 80\], expected \[1, 81\]"):
        prepare(tmp_path, variant="spml")
    np.save(tmp_path / "formatted_val_images.npy", np.array(["c.jpg"], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        prepare(tmp_path, variant="spml")


def test_options_of_another_variant_are_refused(source):
    with pytest.raises(InputError, match="--variant asl"):
        prepare(source, single_positive=True)


def test_the_store_serves_recipes_with_and_without_groups(source, published_sizes, tmp_path):
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
    assert "TestImagelist.txt: 1 images are not in Imagelist.txt and are left out, e.g. nowhere/1.jpg" in caplog.text
    assert "1 images are in the lists of train and test and count as test, e.g. fox/0007_17.jpg" in caplog.text


@pytest.mark.parametrize(
    ("content", "single", "message"),
    [
        ("<html>\n", False, r"line 1: `file,index index …` was expected, got '<html>'"),
        ("a.jpg,1\nb.jpg,2\na.jpg,3\n", False, r"line 3: a\.jpg was listed before, in line 1"),
        ("a.jpg," + "1" * 5000, False, "line 1: label 1{20} is not one of 0..80"),
        ("../a.jpg,1\n", False, "line 1: a path below"),
        ("a.jpg,1\nb.jpg,1 2\n", True, "line 2: one label was expected, got 2"),
        ("a.jpg,\n", True, "line 1: one label was expected, got 0"),
    ],
)
def test_a_damaged_list_of_asl_is_named(tmp_path, content, single, message):
    (tmp_path / "nus.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=rf"nus\.txt, {message}"):
        read_index_list(tmp_path / "nus.txt", is_single=single)


def test_matrices_of_other_values_and_other_files_are_refused(tmp_path):
    write_spml(tmp_path)
    path = tmp_path / "formatted_val_labels.npy"
    for value in (2.0, np.nan, -1):
        np.save(path, np.full((1, 81), value))
        with pytest.raises(DataError, match=r"formatted_val_labels\.npy must hold zeros and ones only"):
            prepare(tmp_path, variant="spml")
    with open(path, "wb") as handle:
        np.savez(handle, np.zeros((1, 81)))
    with pytest.raises(DataError, match="it holds several arrays"):
        prepare(tmp_path, variant="spml")
    np.save(path, np.array(1.0))
    with pytest.raises(DataError, match=r"has shape \[\]"):
        prepare(tmp_path, variant="spml")
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**15}, 81)}}\n"
    for content in (b"PK\x03\x04", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            prepare(tmp_path, variant="spml")


def test_a_placeholder_is_a_sum(source):
    with pytest.raises(InputError, match=r"md5 \(32 hex digits\) or sha256 \(64\) was expected \(got 'abc'\)"):
        prepare(source, placeholder=["abc"])
