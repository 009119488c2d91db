"""Labels, hierarchies and lists of files: what is odd about them is found without opening an image."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from inspected import found, scene, write_folder

from hlcli.data.datasets.shapes import Shapes
from hlcli.data.labels import LabelSpace
from hlcli.data.preparation import preprocess
from hlcli.data.records import Record
from hlcli.errors import DataError
from hlcli.inspection.data import debug_data
from hlcli.inspection.files import file_findings
from hlcli.inspection.findings import Finding, Inspection
from hlcli.inspection.hierarchy import hierarchy_findings
from hlcli.inspection.labels import caption_findings, count_positives, label_findings
from hlcli.inspection.recipe_needs import recipe_findings
from hlcli.inspection.rows import SplitRows, read_rows, read_splits
from hlcli.recipe import Recipe


def rows(split: str, *labels: tuple[int, ...], captions: tuple[int, ...] = ()) -> SplitRows:
    """A split of images a, b, c… with these labels."""
    ids = [chr(ord("a") + number) for number in range(len(labels))]
    records = [Record(image_id, b"", own) for image_id, own in zip(ids, labels, strict=True)]
    return SplitRows(split, records, ids, list(labels), list(captions or (0,) * len(labels)), [None] * len(labels))


def about_labels(*splits: SplitRows, names: str, min_positives: int = 1) -> dict[str, tuple[str, ...]]:
    """Level and beginning of every finding, and where it is."""
    findings = label_findings(splits, LabelSpace.flat(list(names)), count_positives(splits, len(names)), min_positives)
    return {f"{finding.level} {finding.splits[0]}: {finding.what}": finding.where for finding in findings}


def test_labels_without_support_are_told_by_split_rarest_first():
    told = about_labels(
        rows("train", (0, 1), (0,), (0, 2), (1,)), rows("val", (0,), (3,)), names="wxyz", min_positives=3
    )
    assert told == {
        "warning train: 1 of 4 labels has no positive in train: it cannot be learnt.": ("z",),
        "note val: 2 of 4 labels have no positive in val: they cannot be measured, and eval.empty_labels decides.":
            ("x", "y"),
        "warning train: 2 of 4 labels have fewer than 3 positives in train.": ("y (1)", "x (2)"),
    }  # fmt: skip


def test_labels_that_say_nothing_are_told():
    told = about_labels(rows("train", (0, 1, 2), (0,), (0, 1, 2, 3)), rows("test", (0, 1, 2, 3)), names="wxyz")
    everywhere, together = told.items()
    assert everywhere[0].startswith("warning train: 1 of 4 labels is on every image of train")
    assert together[0].startswith("warning train: 1 group of labels always occurs together in train")
    assert (everywhere[1], together[1]) == (("w",), ("x = y",))


def test_labels_that_are_none_and_images_without_any_are_told():
    splits = [rows("train", (0,), (), (0, 7), (1,))]
    told = about_labels(*splits, names="xy")
    assert told["error train: 1 of 4 images has labels outside 0..1."] == ("train c",)
    assert ("train b",) in told.values()
    assert count_positives(splits, 2)["train"].tolist() == [2, 1]


@pytest.mark.parametrize(("captions", "where"), [((5, 0), ["train b"]), ((0, 0), []), ((1, 1), [])])
def test_images_without_captions_are_told_where_others_have_some(captions: tuple[int, int], where: list[str]):
    splits = [rows("train", (0,), (0, 1), captions=captions)]
    findings = caption_findings(splits, are_needed=False)
    assert [name for finding in findings for name in finding.where] == where


def test_a_caption_without_a_word_is_none():
    texts = (("...", "a dog"), ("...", " "), ("7",))
    split = read_rows("train", [Record(f"{row}", b"", (), captions=own) for row, own in enumerate(texts)])
    assert split.captions == [1, 0, 1]
    (found,) = caption_findings([split], are_needed=True)
    assert (found.what, found.where) == ("1 of 3 images has no caption with a word.", ("train 1",))


def test_odd_hierarchies_are_told():
    labels = LabelSpace.from_tree({"animal": ["cat", "Cat "], "7": ["12"], "plant": ["plant", "fir"]})
    told = {f"{one.level}: {one.what}": one.where for one in hierarchy_findings(labels, np.array([3, 1, 4, 0, 0]))}
    assert told == {
        "warning: 1 parent of level coarse has no child with a positive in train.": ("plant",),
        "note: 1 of 3 parents of level coarse has one child, and says no more.": ("7",),
        "warning: 1 of 3 labels of level coarse is a bare number.": ("7",),
        "warning: 1 of 5 labels of level fine is a bare number.": ("12",),
        "warning: 1 label of level fine is spelt in several ways, each a label of its own.": ("cat / Cat ",),
        "note: 1 name stands on several levels.": ("plant (coarse, fine)",),
    }
    assert hierarchy_findings(LabelSpace.empty(), None) == []


def test_names_that_look_the_same_are_told():
    names = ["dog", "dog\u200b", "\u00e4", "a\u0308"]
    (told,) = hierarchy_findings(LabelSpace.flat(names), None)
    assert set(told.where) == {"dog / dog\u200b", "\u00e4 / a\u0308"}


def test_parents_without_positives_are_told_on_every_level():
    tree = {"a": {"b": ["c", "d"], "e": ["f", "g"]}, "h": {"i": ["j", "k"], "l": ["m", "n"]}}
    told = hierarchy_findings(LabelSpace.from_tree(tree), np.array([0, 1, 0, 0, 0, 0, 0, 0]))
    assert [finding.where for finding in told] == [("e", "i", "l"), ("h",)]


def listed(folder: Path, **changes: object) -> Inspection:
    """The inspection of three scenes, lists alone."""
    data = write_folder(folder, {"a.png": "cat,train", "b.png": "dog,train", "c.png": "cat,val"})
    return debug_data(data.model_copy(update=changes), images=False)


def test_files_that_no_split_names_are_told_but_for_those_skipped(tmp_path: Path):
    (tmp_path / "photos" / "below").mkdir(parents=True)
    for name in ("new.png", "below/other.jpg"):
        scene(60).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    finding = found(listed(tmp_path), "files", "2 image files are there, but no split names them")
    assert finding.level == "warning"
    assert finding.where == tuple(str(tmp_path / "photos" / name) for name in ("below/other.jpg", "new.png"))
    skipping = found(listed(tmp_path, skip=("a.png",)), "files", "2 image files are there")
    assert skipping.where == finding.where


def test_a_split_that_cannot_be_read_is_an_error_and_the_others_are_inspected(tmp_path: Path):
    data = Shapes(num_train=4, num_val=2, num_test=0, root=tmp_path, render_size=16)
    store = preprocess(data).folder
    data = data.model_copy(update={"store": store})
    shutil.rmtree(store / "val")
    inspection = debug_data(data, images=False)
    finding = found(inspection, "files", "Split val cannot be read: ")
    assert (finding.level, [counts.split for counts in inspection.splits]) == ("error", ["train"])
    shutil.rmtree(store / "train")
    with pytest.raises(DataError, match="cannot be read"):
        debug_data(data, images=False)


def test_a_hierarchy_that_misses_a_label_is_an_error_in_the_readers_words(tmp_path: Path):
    data = write_folder(tmp_path, {"a.png": "cat,train", "b.png": "fox,train", "c.png": "cat,val"})
    (tmp_path / "tree.yaml").write_text("animal: [cat, dog]\n")
    inspection = debug_data(data.model_copy(update={"hierarchy": tmp_path / "tree.yaml"}), images=False)
    assert "1 label is not in the label space: fox" in found(inspection, "files", "Split train").what
    assert [counts.split for counts in inspection.splits] == ["val"]


def test_a_data_set_without_a_split_of_ours_is_refused(tmp_path: Path):
    empty = Shapes(num_train=0, num_val=0, num_test=0)
    with pytest.raises(DataError, match="shapes has no split"):
        debug_data(empty)


def test_a_store_whose_files_are_gone_names_them(tmp_path: Path):
    data = write_folder(tmp_path, {"a.png": "cat,train", "b.png": "dog,train"})
    store = preprocess(data).folder
    os.remove(tmp_path / "photos" / "b.png")
    scene(61).save(tmp_path / "photos" / "new.png")
    inspection = debug_data(data.model_copy(update={"store": store}), workers=1)
    finding = found(inspection, "files", "1 of 2 images has no file")
    assert (finding.level, finding.where) == ("error", ("train b.png",))
    assert found(inspection, "images", "1 image decoded")
    data = Shapes(num_train=2, num_val=0, num_test=0, root=tmp_path, render_size=16)
    inspection = debug_data(data.model_copy(update={"store": preprocess(data).folder}), workers=1)
    assert found(inspection, "images", "2 images decoded").what.endswith("2 RGB.")


def test_ids_and_files_that_are_listed_twice_are_errors(tmp_path: Path):
    scene(0).save(tmp_path / "a.png")
    image = str(tmp_path / "a.png")
    train = rows("train", (0,), (1,))._replace(image_ids=["a", "a"], files=[image, None])
    val = rows("val", (1,))._replace(image_ids=["b"], files=[str(tmp_path / "." / "a.png")])
    told: list[Finding] = file_findings(Shapes(), [train, val], [[], []])
    assert [(one.level, one.splits, one.where) for one in told] == [
        ("error", ("train",), ("train a = train a, with other labels",)),
        ("error", ("train", "val"), ("train a = val b, with other labels",)),
    ]


def test_labels_are_counted_as_they_are_trained_on():
    inspection = debug_data(Shapes(num_train=40, num_val=10, num_test=0, labels_kept="single"), images=False)
    train, val = inspection.splits
    assert (train.labels_per_image, train.images) == (1.0, 40)
    assert val.labels_per_image > 1
    assert sum(positives["train"] for positives in inspection.positives.values()) == 40


def test_what_a_recipe_wants_in_vain_is_told(tmp_path: Path):
    tree = {
        "data": {"dataset": "shapes", "num_train": 4, "num_val": 2, "num_test": 0, "root": str(tmp_path)},
        "model": {"method": "salgl", "label_embeddings": "prepared"},
        "eval": {"split": "test", "threshold": "self"},
    }
    inspection = debug_data(Recipe.from_dict(tree), images=False)
    levels = {finding.what: finding.level for finding in inspection.findings if finding.about == "recipe"}
    assert list(levels.values()) == ["error", "error"]
    assert found(
        inspection, "recipe", "1 split that the recipe reads is not there; those there: train, val."
    ).where == ("test",)
    assert any("label_embeddings.safetensors is missing" in what for what in levels)


@pytest.mark.parametrize(
    ("ids", "text", "where"),
    [
        ((), "grid.hdf5", ()),
        ((0, 1), "lacks 1 of 3 images", ("train shapes-train-000002",)),
        ((0, 1, 2), None, ()),
    ],
)
def test_features_that_a_recipe_lacks_are_told(tmp_path: Path, ids: tuple[int, ...], text: str | None, where: object):
    path = tmp_path / "grid.hdf5"
    if ids:
        with h5py.File(path, "w") as handle:
            for number in ids:
                handle[f"shapes-train-{number:06}_features"] = np.zeros((4, 8), np.float32)
    data = {"dataset": "shapes", "num_train": 3, "num_val": 0, "num_test": 0}
    data |= {"grid_features": path, "region_features": path}
    overrides = [f"data.{key}={value}" for key, value in data.items()]
    recipe = Recipe.from_yaml("quickstart-caption", [*overrides, "model.train_backbone=false"])
    told = recipe_findings(recipe, read_splits(recipe.data)[0])
    features = [finding for finding in told if "grid_features" in finding.what]
    assert [(text in finding.what, finding.where) for finding in features if text] == [(True, where)] * bool(text)
    assert bool(features) == bool(text)


def test_findings_are_told_worst_first_and_as_json(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "b.png").write_text("no image")
    inspection = debug_data(write_folder(tmp_path, {"a.png": "7,train", "b.png": "7,train"}), workers=1)
    document = json.loads(json.dumps(inspection.to_json()))
    levels = [finding["level"] for finding in document["findings"]]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert set(levels) == {"error", "warning", "note"}
    assert document["positives"] == {"7": {"train": 2}}
