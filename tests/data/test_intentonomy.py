from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from intentonomy_files import ROWS, image_id, write_annotations, write_photos

from hlcli.data.datasets import intentonomy_labels
from hlcli.data.datasets.intentonomy import Intentonomy, IntentonomyOptions
from hlcli.data.datasets.intentonomy_annotations import positives
from hlcli.data.datasets.intentonomy_download import photo_url, photo_widths
from hlcli.data.datasets.intentonomy_labels import COUNTS, SUBSETS, SplitCounts
from hlcli.data.preparation import preprocess
from hlcli.data.records import Record
from hlcli.data.transfers.manifest import Kept, Manifest
from hlcli.errors import DataError, InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_annotations(tmp_path)
    write_photos(tmp_path)
    return tmp_path


def prepare(folder: Path, **options):
    return Intentonomy(root=folder).prepare(folder, IntentonomyOptions(**{"allow_partial": True} | options))


def write_matrix(folder: Path, split: str, rows) -> None:
    matrix = np.zeros((len(rows), 28))
    for row, labels in enumerate(rows):
        matrix[row, list(labels)] = 1
    np.save(folder / f"{split}_label_vectors_intentonomy2020.npy", matrix)


def test_label_tree_is_the_published_one():
    labels = Intentonomy().label_space()
    assert labels.level_sizes == (9, 15, 28)
    assert [level.name for level in labels.levels] == ["coarse", "middle", "fine"]
    children = [[f for f, p in enumerate(labels.levels[2].parent_index) if p == m] for m in range(15)]
    assert children == [
        [24, 27], [5], [13], [11], [3, 7, 8, 9, 19], [4, 6, 20, 21], [14], [15, 16],
        [2, 22, 23], [0], [17, 25], [10], [1], [12], [18, 26],
    ]  # fmt: skip
    assert [labels.ancestors(label)[0] for label in range(28)] == [
        4, 7, 4, 2, 2, 0, 2, 2, 2, 2, 6, 1, 8, 1, 3, 4, 4, 5, 8, 2, 2, 2, 4, 4, 0, 5, 8, 0,
    ]  # fmt: skip
    assert labels.label_names[25] == "TchOthrs"


@pytest.mark.parametrize("names", [("easy", "medium", "hard"), ("object", "context", "other")])
def test_subsets_are_two_partitions_of_the_labels(names):
    assert sorted(label for name in names for label in SUBSETS[name]) == list(range(28))
    assert Intentonomy().label_space().subsets["hard"] == (2, 5, 8, 17, 20, 21, 23, 24, 25, 27)


@pytest.mark.parametrize(
    ("split", "images", "total"), [("train", 12740, 23828), ("val", 498, 930), ("test", 1217, 2351)]
)
def test_published_counts_agree_with_each_other(split, images, total):
    counts = COUNTS[split]
    assert counts.num_images == sum(counts.by_number) == images
    assert sum(counts.fine) == sum(number * photos for number, photos in enumerate(counts.by_number, 1)) == total
    single = {m: [f for f, (_, p) in enumerate(intentonomy_labels.FINE) if p == m] for m in range(15)}
    for middle, children in single.items():
        if len(children) == 1:
            assert counts.middle[middle] == counts.fine[children[0]]
        assert max(counts.fine[f] for f in children) <= counts.middle[middle] <= sum(counts.fine[f] for f in children)


def test_official_layout_becomes_records_in_the_order_of_the_files(folder):
    prepared = prepare(folder)
    assert list(prepared.splits) == ["train", "val", "test"]
    for split, rows in ROWS.items():
        assert prepared.splits[split] == [
            Record(image_id(split, i), folder / "low" / f"{image_id(split, i)}.jpg", labels)
            for i, labels in enumerate(rows)
        ]
    assert prepared.notes["absent_splits"] == []
    assert prepared.notes["missing_images"] == {"train": [], "val": [], "test": []}
    sum_of_val = prepared.notes["sources"]["intentonomy_val2020.json"]
    assert (len(sum_of_val["sha256"]), sum_of_val["bytes"]) == (
        64,
        (folder / "intentonomy_val2020.json").stat().st_size,
    )
    json.dumps(prepared.notes)


def test_annotations_and_photos_may_lie_in_folders_of_their_own(tmp_path):
    write_annotations(tmp_path / "annotations")
    write_photos(tmp_path / "images")
    write_annotations(tmp_path / "elsewhere", ("val",))
    assert len(prepare(tmp_path).splits["train"]) == 4
    assert list(prepare(tmp_path, annotations=tmp_path / "elsewhere").splits) == ["val"]


def test_train_threshold_counts_votes(folder):
    assert [r.labels for r in prepare(folder, train_label_threshold=0.5).splits["train"]] == [(0,), (27,), (2,), (11,)]
    assert [r.labels for r in prepare(folder, train_label_threshold=0.5).splits["val"]] == ROWS["val"]
    assert prepare(folder, train_label_threshold=0.5).notes["train_label_threshold"] == 0.5


def test_matrices_are_preferred_on_demand_and_differences_reported(folder, caplog):
    for split in ("train", "val", "test"):
        write_matrix(folder, split, [(1,), *ROWS[split][1:]])
    prepared = prepare(folder, labels="matrix")
    assert prepared.splits["val"][0].labels == (1,)
    assert prepared.notes["label_mismatches"] == {"train": 1, "val": 1, "test": 1}
    assert "1 of 2 photos differ" in caplog.text
    assert "val_label_vectors_intentonomy2020.npy" in prepared.notes["sources"]


def test_a_matrix_that_is_there_is_compared_even_when_the_json_counts(folder, caplog, monkeypatch):
    _expect_what_is_there(monkeypatch)
    for split in ("train", "val", "test"):
        write_matrix(folder, split, ROWS[split])
    assert prepare(folder, allow_partial=False).notes["label_mismatches"] == {"train": 0, "val": 0, "test": 0}
    write_matrix(folder, "val", [(1,), (2,)])
    prepared = prepare(folder, allow_partial=False)
    assert [record.labels for record in prepared.splits["val"]] == ROWS["val"]
    assert "2 of 2 photos differ between JSON and label matrix; those of the json are used" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        (b"no matrix", "is not a NumPy matrix"),
        (np.zeros((3, 28)), r"must have the shape \[2, 28\] \(got \[3, 28\]\)"),
        (np.full((2, 28), 0.5), "must hold zeros and ones only"),
        (np.full((2, 28), np.nan), "must hold zeros and ones only"),
        (np.full((2, 28), None), "is not a NumPy matrix"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_named(folder, content, message):
    for split in ("train", "test"):
        write_matrix(folder, split, ROWS[split])
    path = folder / "val_label_vectors_intentonomy2020.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=rf"val_label_vectors_intentonomy2020\.npy {message}"):
        prepare(folder, labels="matrix")


def test_labels_come_from_one_of_two_places(folder):
    with pytest.raises(InputError, match=r"options\.labels: must be json or matrix \(got 'npy'\)"):
        preprocess(Intentonomy(store=folder / "store"), source=folder, options={"labels": "npy"})


def test_absent_splits_are_noted_and_warned_about(folder, caplog):
    (folder / "intentonomy_train2020.json").unlink()
    prepared = prepare(folder)
    assert list(prepared.splits) == ["val", "test"]
    assert prepared.notes["absent_splits"] == ["train"]
    assert "there will be no train split" in caplog.text
    with pytest.raises(DataError, match="there would be no train split"):
        prepare(folder, allow_partial=False)


def test_no_annotations_at_all_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"intentonomy_train2020\.json.*hlcli download intentonomy"):
        prepare(tmp_path)


def test_missing_and_empty_photos_are_left_out_up_to_a_share(folder, caplog):
    gone, empty = image_id("train", 1), image_id("train", 2)
    (folder / "low" / f"{gone}.jpg").unlink()
    (folder / "low" / f"{empty}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=rf"2 of 4 train images are missing below .*: {gone}, {empty}\..*--max-missing"):
        prepare(folder)
    prepared = prepare(folder, max_missing=0.5)
    assert [record.image_id for record in prepared.splits["train"]] == [image_id("train", 0), image_id("train", 3)]
    assert prepared.notes["missing_images"]["train"] == [gone, empty]
    assert "They are left out" in caplog.text
    assert len(prepare(folder, without_images=True).splits["train"]) == 4


def _counts(rows) -> SplitCounts:
    lengths = [len(labels) for labels in rows]
    found = {level: tuple(values) for level, values in positives(rows).items()}
    by_number = tuple(lengths.count(number) for number in range(1, max(lengths) + 1))
    return SplitCounts(len(rows), found["coarse"], found["middle"], found["fine"], by_number)


def _expect_what_is_there(monkeypatch) -> None:
    for split, rows in ROWS.items():
        monkeypatch.setitem(COUNTS, split, _counts(rows))


def test_complete_files_pass_the_counts(folder, monkeypatch):
    _expect_what_is_there(monkeypatch)
    assert len(prepare(folder, allow_partial=False).splits["train"]) == 4


def test_too_few_photos_are_an_error_unless_allowed(folder):
    with pytest.raises(DataError, match=r"12,740 train photos were expected, found 4\..*--allow-partial"):
        prepare(folder, allow_partial=False)


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("fine", r"fine label 'Attractive' was expected on 9 photos, found 1"),
        ("middle", r"middle label 'good job' was expected on 9 photos, found 1"),
        ("coarse", r"coarse label 'financial and occupational success' was expected on 9 photos, found 2"),
        ("by_number", r"9 photos with 1 label were expected, found 2"),
    ],
)
def test_every_published_number_is_compared(folder, monkeypatch, level, message):
    _expect_what_is_there(monkeypatch)
    right = COUNTS["train"]
    monkeypatch.setitem(COUNTS, "train", right._replace(**{level: (9, *getattr(right, level)[1:])}))
    with pytest.raises(DataError, match=message):
        prepare(folder, allow_partial=False)
    assert prepare(folder, allow_partial=False, train_label_threshold=0.5).splits


def test_positives_above_count_a_photo_once():
    found = positives([(24, 27), (5,), (24,)])
    assert found["fine"][24] == 2
    assert found["middle"][:2] == [2, 1]
    assert found["coarse"] == [3, 0, 0, 0, 0, 0, 0, 0, 0]


def test_photo_addresses_keep_what_was_published():
    published = "https://images.unsplash.com/photo-1?ixid=abc==&q=30"
    assert photo_url(published, 0) == published
    assert photo_url(published, 1024) == f"{published}&w=1024&fit=max&fm=jpg"
    assert (
        photo_url("https://images.unsplash.com/1/a.JPG", 640)
        == "https://images.unsplash.com/1/a.JPG?w=640&fit=max&fm=jpg"
    )


def test_widths_of_fetched_photos_are_noted(folder):
    with Manifest(folder).writer() as add:
        add("low/a.jpg", Kept(1, "https://x/a?q=30&w=640&fit=max&fm=jpg"))
        add("low/b.jpg", Kept(1, "https://x/b?q=30"))
        add("low/c.jpg", Kept(1, None))
    assert photo_widths(folder) == [0, 640]
    assert prepare(folder).notes["photo_widths"] == [0, 640]
