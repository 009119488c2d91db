"""What would spoil a training is refused, or said, before its first step: rows, labels and splits are named."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from noise_photos import write_photos
from tiny import tiny_recipe
from tiny_captions import tiny_captions

import hlcli
from hlcli.data.labels import LabelSpace
from hlcli.data.preparation import preprocess
from hlcli.data.records import Record
from hlcli.errors import DataError, HlcliError
from hlcli.inspection.before_training import check_captions, check_labels
from hlcli.recipe import Recipe

NAMES = "uvwxyz"


def records(*labels: Sequence[int], prefix: str = "a", captions: Sequence[str] = ()) -> list[Record]:
    """Images with these labels."""
    return [
        Record(f"{prefix}{row}", b"", tuple(own), captions=tuple(captions[row : row + 1]))
        for row, own in enumerate(labels)
    ]


def told(train: list[Record], evaluated: list[Record], *settings: str, names: str = NAMES) -> list[str]:
    """Level and text of all that is said."""
    findings = check_labels(tiny_recipe(*settings), LabelSpace.flat(list(names)), train, evaluated)
    return [f"{finding.level}: {finding.what} {', '.join(finding.where)}" for finding in findings]


GOOD = records((0, 1), (2, 3), (4, 5), (0, 2), (1,), (4,))
OTHER = records((0, 1, 2, 3), (4, 5), prefix="b")


def test_good_data_are_passed_over_in_silence():
    assert told(GOOD, OTHER) == []


@pytest.mark.parametrize("wrong", [(0, 6), (-1,), (2**40,)])
def test_labels_out_of_range_are_refused_with_their_rows(wrong: tuple[int, ...]):
    for split, data in (("train", (records(wrong, *[(0,)] * 3, wrong), OTHER)), ("val", (GOOD, records((1,), wrong)))):
        with pytest.raises(DataError, match=rf"shapes: .* outside 0\.\.5\. {split} [ab]"):
            told(*data)


@pytest.mark.parametrize(("train", "evaluated", "split"), [([(), ()], [(0,)], "train"), ([(0,)], [(), ()], "val")])
def test_splits_without_any_label_are_refused(train: list[Any], evaluated: list[Any], split: str):
    with pytest.raises(DataError, match=rf"No image of split {split} of shapes has a label"):
        told(records(*train), records(*evaluated, prefix="b"))


def test_labels_without_positives_are_said_of_both_splits():
    said = told(records((0, 1), (1, 2), (2, 0)), records((0,), (1,), prefix="b"))
    assert "warning: 3 of 6 labels have no positive in train: they cannot be learnt. x, y, z" in said
    expected = "note: 4 of 6 labels have no positive in val: they cannot be measured, and eval.empty_labels decides. "
    assert expected + "w, x, y, z" in said


def test_a_label_on_every_image_and_labels_that_only_come_together_are_said():
    said = " ".join(told(records((0, 1, 2), (0,), (0, 1, 2)), OTHER, names="uvw" + "xyz"))
    assert "1 of 6 labels is on every image of train: there is nothing to tell apart. u" in said
    assert "1 group of labels always occurs together" in said


def test_one_label_on_one_image_is_said():
    said = told(records((0,)), records((0,), prefix="b"), names="u")
    assert said == ["warning: 1 of 1 labels is on every image of train: there is nothing to tell apart. u"]


def test_images_of_two_splits_are_a_leak_unless_both_are_the_same():
    said = told(GOOD, [*records((0,)), *OTHER])
    what = "1 id is in train and in val: scores there are those of known images."
    assert said == [f"error: {what} train a0 = val a0, with other labels"]
    assert told(GOOD, GOOD, "eval.split=train", "eval.threshold=0.5") == []


def test_captions_without_a_word_are_refused_with_their_images():
    train = records(*[()] * 8, captions=["a cat", " ", "...", "!", "\u200b", "7", "", "é"])
    told = records((), prefix="a", captions=["a dog"])
    with pytest.raises(DataError, match=r"5 of 8 .* no caption with a word: train a1, train a2, .*, train a6\."):
        check_captions(tiny_captions(), train, told)
    findings = check_captions(tiny_captions(), train[:1], [*told, *records((), prefix="b", captions=["..."])])
    assert [(finding.about, finding.where) for finding in findings] == [
        ("labels", ("val b0",)),
        ("files", ("train a0 = val a0",)),
    ]


def test_a_split_that_is_named_after_captions_is_told_about():
    said = told(GOOD, records((0,), prefix="b"), "eval.split=captions_val", "eval.threshold=0.5")
    assert any("no positive in captions_val" in line for line in said)


def write_folder(place: Path, rows: Mapping[str, str]) -> tuple[str, ...]:
    """A folder of photos with a label file; the settings of a recipe that trains on it."""
    photos = write_photos(place / "photos", len(rows))
    names = sorted(path.name for path in photos.iterdir())
    lines = [f"{name},{row}" for name, row in zip(names, rows.values(), strict=True)]
    (place / "labels.csv").write_text("\n".join(["image,labels,split", *lines]))
    return f"data.images={place / 'photos'}", f"data.labels={place / 'labels.csv'}"


def train(settings: Sequence[str], folder: Path, *, resume: bool = False) -> hlcli.Run:
    tree = tiny_recipe().to_dict()
    tree["data"] = {"dataset": "folder", "images": "x", "labels": "y", "image_size": 32, "workers": 0}
    recipe = Recipe.from_dict(tree, [*settings, "train.epochs=1", "train.batch_size=2"])
    return hlcli.train(recipe, folder, resume=resume)


def test_what_is_said_is_in_the_log_of_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = {"a": "cat;dog,train", "b": "cat,train", "c": "bird,val"}
    with caplog.at_level(logging.INFO, logger="hlcli"):
        run = train(write_folder(tmp_path, rows), tmp_path / "run")
    said = (run.folder / "log.txt").read_text()
    assert "WARNING 1 of 3 labels has no positive in train: it cannot be learnt. bird." in said
    assert "WARNING 1 of 3 labels is on every image of train" in said
    assert "INFO 2 of 3 labels have no positive in val" in said


def test_data_are_looked_at_again_by_a_resumed_run_that_had_saved_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = write_folder(tmp_path, {"a": "cat;dog,train", "b": "cat,train", "c": "bird,val"})
    with monkeypatch.context() as patch:
        patch.setattr("hlcli.training.loop._run_epochs", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(settings, tmp_path / "run")
    log = tmp_path / "run" / "log.txt"
    for times in (2, 2):  # once more by the run that begins, and not by the one that goes on
        train(settings, tmp_path / "run", resume=True)
        assert log.read_text().count("1 of 3 labels has no positive in train") == times


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": "cat,val", "b": "dog,val"}, "no image belongs to split 'train'"),
        ({"a": "cat,train", "b": "dog,train"}, "no image belongs to split 'val'"),
        ({"a": ",train", "b": ",train", "c": ",val"}, "no image has a label"),
        ({"a": ",train", "b": ",train", "c": "cat,val"}, "No image of split train of folder has a label"),
        ({"a": "cat,train", "c": "cat,val"}, "The training split has 1 image, fewer than train.batch_size 2"),
    ],
)
def test_empty_splits_are_refused_before_anything_is_written(tmp_path: Path, rows: dict[str, str], message: str):
    with pytest.raises(HlcliError, match=message):
        train(write_folder(tmp_path, rows), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_split_of_which_nothing_is_left_is_refused(tmp_path: Path):
    settings = write_folder(tmp_path, {"a": "cat,train", "b": "dog,train", "c": "cat,val"})
    names = sorted(path.name for path in (tmp_path / "photos").iterdir())
    with pytest.raises(DataError, match="Split 'val' of folder has no image"):
        train((*settings, f"data.skip=[{names[2]}]"), tmp_path / "run")
    with pytest.raises(DataError, match="No training image has a label left"):
        train((*settings, "data.labels_kept=1e-9"), tmp_path / "run")


def test_a_store_whose_names_do_not_belong_to_its_rows_is_refused(tmp_path: Path):
    settings = (
        "data.num_train=8",
        "data.num_val=4",
        f"data.root={tmp_path}",
        f"data.store={tmp_path / 'shapes/store'}",
    )
    recipe = tiny_recipe(*settings)
    preprocess(tiny_recipe(*settings[:3]).data)
    (names,) = tmp_path.rglob("labels.json")
    document = json.loads(names.read_text())
    names.write_text(json.dumps(LabelSpace.flat(["circle", "square"]).to_json()))
    with pytest.raises(DataError, match=r"images have labels outside 0\.\.1"):
        hlcli.train(recipe, tmp_path / "run")
    names.write_text(json.dumps(document))
    assert hlcli.train(tiny_recipe(*settings, "train.epochs=1"), tmp_path / "run").state() == "finished"


def test_labels_of_a_hugging_face_set_that_are_unknown_are_all_named(tmp_path: Path):
    features = datasets.Features({"image": datasets.Image(), "labels": datasets.Sequence(datasets.Value("string"))})
    picture = {"bytes": next(write_photos(tmp_path / "p", 1).iterdir()).read_bytes(), "path": None}
    splits = {"train": [["cat"], ["dog"], []], "validation": [["cat"], ["cow", "dog"], ["hen"]]}
    tables = {
        name: datasets.Dataset.from_dict({"image": [picture] * 3, "labels": labels}, features=features)
        for name, labels in splits.items()
    }
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "set"))
    tree = tiny_recipe().to_dict()
    tree["data"] = {"dataset": "huggingface", "path": str(tmp_path / "set"), "image_size": 32, "workers": 0}
    with pytest.raises(
        DataError, match=r"Split validation: 2 labels are not in the .*'cow' \(row 1\), 'hen' \(row 2\)"
    ):
        hlcli.train(Recipe.from_dict(tree, ["train.batch_size=2"]), tmp_path / "run")
    tree["eval"] |= {"split": "train", "threshold": 0.5}
    assert hlcli.train(Recipe.from_dict(tree, ["train.batch_size=2", "train.epochs=1"]), tmp_path / "run").events()
