"""What training images keep of their labels: a function of id and seed, kept with the run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hlcli
from hlcli.data.kept_labels import KEPT_LABELS_FILE, KeptLabels, kept_of, open_training_records
from hlcli.data.store import open_records, split_labels
from hlcli.errors import DataError, RecipeError
from hlcli.recipe import read_section
from hlcli.runs import Run


def shapes(**values: Any) -> Any:
    return read_section("data", {"dataset": "shapes", "num_train": 60, "num_val": 10, "num_test": 10, **values})


@given(image_id=st.text(max_size=8), labels=st.sets(st.integers(0, 50), max_size=9), seed=st.integers(0, 99))
def test_kept_labels_are_some_of_the_images_own(image_id: str, labels: set[int], seed: int) -> None:
    whole = tuple(sorted(labels))
    assert kept_of(image_id, whole, "all", seed) == whole
    single = kept_of(image_id, whole, "single", seed)
    assert (single is None) == (not whole)
    assert single is None or (len(single) == 1 and single[0] in labels)
    some = kept_of(image_id, whole, 0.4, seed)
    assert some is not None
    assert list(some) == sorted(set(some) & labels)
    assert set(some) <= set(kept_of(image_id, whole, 0.7, seed) or ())  # what a smaller share keeps, a larger one does


def test_single_labels_are_drawn_evenly_and_shares_are_met() -> None:
    singles = Counter(kept_of(f"{i}", (3, 5, 8), "single", 0) for i in range(3000))
    assert set(singles) == {(3,), (5,), (8,)}
    assert all(abs(count - 1000) < 130 for count in singles.values())  # five standard deviations
    kept = sum(len(kept_of(f"{i}", (1, 2, 3, 4), 0.25, 7) or ()) for i in range(2000))
    assert abs(kept - 2000) < 200


def test_only_the_training_split_loses_labels() -> None:
    data = shapes(labels_kept="single")
    full, kept = open_records(data, "train"), open_training_records(data)
    labelled = [(record.image_id, set(record.labels)) for record in full if record.labels]
    assert isinstance(kept, KeptLabels)
    assert [(record.image_id) for record in kept] == [image_id for image_id, _ in labelled]
    for record, (_, labels) in zip(kept, labelled, strict=True):
        assert len(record.labels) == 1
        assert set(record.labels) <= labels
    assert any(len(record.labels) > 1 for record in open_records(data, "val"))


def test_another_seed_keeps_other_labels_and_skipped_images_change_no_other() -> None:
    first = dict(split_labels(list(open_training_records(shapes(labels_kept="single")))))
    assert first != dict(split_labels(list(open_training_records(shapes(labels_kept="single", labels_kept_seed=1)))))
    left_out = next(iter(first))
    fewer = dict(split_labels(list(open_training_records(shapes(labels_kept="single", skip=[left_out])))))
    assert fewer == {image_id: labels for image_id, labels in first.items() if image_id != left_out}


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.1, "two", True])
def test_shares_lie_between_none_and_all(value: object) -> None:
    with pytest.raises(RecipeError, match="labels_kept"):
        shapes(labels_kept=value)


def test_the_run_keeps_its_training_labels_and_goes_on_with_no_others(tiny: Any, tmp_path: Path) -> None:
    recipe = tiny("data.labels_kept=single", "train.epochs=1", "objective.loss=bce")
    run = hlcli.train(recipe, tmp_path / "run")
    path = run.folder / KEPT_LABELS_FILE
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kept = open_training_records(recipe.data)
    assert [row["image"] for row in rows] == [record.image_id for record in kept]
    assert all(len(row["labels"]) == 1 for row in rows)
    hlcli.train(recipe, run.folder, resume=True)
    path.write_text(path.read_text(encoding="utf-8").replace(rows[0]["labels"][0], "other", 1), encoding="utf-8")
    with pytest.raises(DataError, match="training labels are not those"):
        hlcli.train(recipe, run.folder, resume=True)
    hlcli.train(tiny("train.epochs=1"), run.folder, overwrite=True)
    assert not path.exists()


def test_a_list_and_a_draw_exclude_each_other(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.labels_kept: data\.labels_list"):
        tiny("data.labels_kept=single", f"data.labels_list={tmp_path / 'list.txt'}")


def test_a_list_says_which_images_are_trained_on_and_with_what(tiny: Any, tmp_path: Path) -> None:
    recipe = tiny()
    records = list(open_records(recipe.data, "train"))
    chosen = [record for record in records if record.labels][:8]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(f"{record.image_id},{record.labels[-1]}" for record in chosen), encoding="utf-8")
    listed = open_training_records(tiny(f"data.labels_list={path}").data)
    assert [(r.image_id, r.labels) for r in listed] == [(r.image_id, r.labels[-1:]) for r in chosen]
    run = hlcli.train(tiny(f"data.labels_list={path}", "train.epochs=1", "train.batch_size=4"), tmp_path / "run")
    assert Run(run.folder).state() == "finished"
    assert len((run.folder / KEPT_LABELS_FILE).read_text(encoding="utf-8").splitlines()) == 8


@pytest.mark.parametrize("kept", ["single", 0.4])
def test_a_seed_decides_what_is_kept(kept: Any) -> None:
    def draws(seed: int) -> list[Any]:
        return [kept_of(f"{i}", tuple(range(6)), kept, seed) for i in range(200)]

    assert draws(0) == draws(0)
    assert draws(0) != draws(1)
    same = sum(one == two for one, two in zip(draws(0), draws(1), strict=True))
    assert same < 80  # a sixth of the images by chance, and fewer where a share is kept


@given(
    image_id=st.text(max_size=8), labels=st.sets(st.integers(0, 50)), other=st.integers(0, 50), seed=st.integers(0, 99)
)
def test_whether_a_share_keeps_a_label_does_not_depend_on_other_labels(
    image_id: str, labels: set[int], other: int, seed: int
) -> None:
    without, together = sorted(labels - {other}), sorted(labels | {other})
    kept = [set(kept_of(image_id, given_labels, 0.4, seed) or ()) for given_labels in (without, together)]
    assert kept[0] == kept[1] - {other}


def test_labels_of_an_image_are_kept_one_by_one() -> None:
    """Two labels of an image: both, one, the other or none, as often as chance would have it."""
    found = Counter(kept_of(f"{i}", (2, 7), 0.4, 0) for i in range(3000))
    for kept, share in {(2, 7): 0.16, (2,): 0.24, (7,): 0.24, (): 0.36}.items():
        assert abs(found[kept] / 3000 - share) < 0.045, kept  # five standard deviations


def test_a_list_of_other_labels_is_refused_and_one_of_few_images_says_so(
    tiny: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = list(open_records(tiny().data, "train"))
    path = tmp_path / "list.txt"
    lines = [f"{r.image_id},{' '.join(str((label + 1) % 12) for label in r.labels)}" for r in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"images have listed labels that are none of theirs"):
        open_training_records(tiny(f"data.labels_list={path}").data)
    path.write_text(f"{records[0].image_id},{records[0].labels[0]}", encoding="utf-8")
    assert len(open_training_records(tiny(f"data.labels_list={path}").data)) == 1
    assert f"leaves out {len(records) - 1} of {len(records)} training images" in caplog.text


def test_nothing_to_learn_from_is_refused_and_lost_labels_are_counted(
    tiny: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match="No training image has a label left"):
        open_training_records(tiny("data.labels_kept=1e-9").data)
    with caplog.at_level("INFO"):
        open_training_records(tiny("data.labels_kept=0.05").data)
    assert "have none left" in caplog.text
    assert "labels have no positive left in training" in caplog.text


def test_single_labels_of_shapes_are_no_key_of_their_own(tiny: Any) -> None:
    with pytest.raises(RecipeError, match=r"data: single_positive is gone; write labels_kept: single"):
        tiny("data.single_positive=true")
    assert tiny("data.single_positive=false") == tiny()  # as runs of older versions stored it
