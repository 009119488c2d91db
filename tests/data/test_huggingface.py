"""Data sets of the `datasets` library: from save_to_disk, parquet files and folders of images; no network."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from PIL import Image

from hlcli.data.datasets.huggingface import HuggingFace
from hlcli.data.images import load_image
from hlcli.data.loader import EvaluationImages
from hlcli.data.loader_processes import batches, make_loader
from hlcli.data.store import open_label_space, open_records, split_names
from hlcli.data.transforms import EvalTransform
from hlcli.errors import DataError

PHOTOS = [Image.new("RGB", (6 + number, 5), (number, 0, 0)) for number in range(4)]
CLASSES = datasets.ClassLabel(names=["sun", "moon", "star"])


@pytest.fixture(autouse=True)
def _quiet_and_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def table(labels: list[Any], feature: Any, images: list[Any] | None = None, **columns: list[Any]) -> datasets.Dataset:
    features: dict[str, Any] = {"image": datasets.Image(), "labels": feature}
    features |= {name: datasets.Value("string") for name in columns}
    values = {"image": PHOTOS[: len(labels)] if images is None else images, "labels": labels, **columns}
    return datasets.Dataset.from_dict(values, features=datasets.Features(features))


def saved(folder: Path, train: datasets.Dataset, **others: datasets.Dataset) -> str:
    datasets.DatasetDict({"train": train, **others}).save_to_disk(str(folder))
    return str(folder)


def test_lists_of_classes_keep_the_order_of_the_classes(tmp_path: Path):
    train = table([[2], [0, 1, 0], [], None], datasets.Sequence(CLASSES))
    data = HuggingFace(path=saved(tmp_path / "set", train, validation=train.select([0, 1])))
    assert open_label_space(data).label_names == ("sun", "moon", "star")
    assert split_names(data) == ("train", "val")
    records = open_records(data, "train")
    assert [record.labels for record in records] == [(2,), (0, 1), (), ()]
    assert [record.image_id for record in records] == [f"train-00000{row}" for row in range(4)]
    assert load_image(records[3].image).size == (9, 5)
    assert [record.image_id for record in open_records(data, "val")] == ["validation-000000", "validation-000001"]


def test_one_class_per_image_and_classes_that_are_not_known(tmp_path: Path):
    data = HuggingFace(path=saved(tmp_path / "set", table([1, -1, None], CLASSES)))
    assert [record.labels for record in open_records(data, "train")] == [(1,), (), ()]


def test_texts_become_labels_in_alphabetical_order(tmp_path: Path):
    text = datasets.Value("string")
    data = HuggingFace(path=saved(tmp_path / "lists", table([["b", "a"], [None], ["c"]], datasets.Sequence(text))))
    assert open_label_space(data).label_names == ("a", "b", "c")
    assert [record.labels for record in open_records(data, "train")] == [(0, 1), (), (2,)]
    data = HuggingFace(path=saved(tmp_path / "single", table(["b", "a"], text)))
    assert [record.labels for record in open_records(data, "train")] == [(1,), (0,)]


def test_captions_come_from_their_column(tmp_path: Path):
    train = table([0, 1], CLASSES, sentence=["One.", None])
    data = HuggingFace(path=saved(tmp_path / "set", train), captions_column="sentence")
    assert [record.captions for record in open_records(data, "train")] == [("One.",), ()]


def test_captions_need_no_column_of_labels(tmp_path: Path):
    train = table([0, 1], CLASSES, text=["One.", "Two."]).remove_columns("labels")
    path = saved(tmp_path / "set", train)
    data = HuggingFace(path=path, labels_column=None, captions_column="text")
    assert not open_label_space(data).has_labels
    assert [(record.labels, record.captions) for record in open_records(data, "train")] == [
        ((), ("One.",)), ((), ("Two.",)),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"data\.captions_column must name a column"):
        HuggingFace(path=path, labels_column=None)


def test_hierarchy_file_gives_levels_and_order(tmp_path: Path):
    tree = tmp_path / "tree.yaml"
    tree.write_text("night: [star, moon]\nday: [sun]\n")
    data = HuggingFace(path=saved(tmp_path / "set", table([[0], [1, 2]], datasets.Sequence(CLASSES))), hierarchy=tree)
    assert open_label_space(data).level_sizes == (2, 3)
    assert [record.labels for record in open_records(data, "train")] == [(2,), (0, 1)]
    tree.write_text("night: [star]\nday: [sun]\n")
    other = HuggingFace(path=data.path, hierarchy=tree)
    with pytest.raises(DataError, match="row 1: label 'moon' is not in the label space"):
        list(open_records(other, "train"))


def test_one_table_without_splits_is_the_training_split(tmp_path: Path):
    table([0, 1], CLASSES).save_to_disk(str(tmp_path / "set"))
    data = HuggingFace(path=str(tmp_path / "set"))
    assert split_names(data) == ("train",)
    assert len(open_records(data, "train")) == 2


def test_parquet_files_and_folders_of_images_are_read(tmp_path: Path):
    (tmp_path / "parquet").mkdir()
    table([[0], [1, 2]], datasets.Sequence(CLASSES)).to_parquet(str(tmp_path / "parquet" / "train-0.parquet"))
    records = open_records(HuggingFace(path=str(tmp_path / "parquet")), "train")
    assert [record.labels for record in records] == [(0,), (1, 2)]
    for split, name in (("train", "dog"), ("train", "cat"), ("test", "dog"), ("test", "cat")):
        place = tmp_path / "images" / split / name / "é.png"
        place.parent.mkdir(parents=True)
        PHOTOS[0].save(place)
    data = HuggingFace(path=str(tmp_path / "images"), labels_column="label")
    assert open_label_space(data).label_names == ("cat", "dog")
    assert split_names(data) == ("train", "test")
    records = open_records(data, "test")
    assert [record.labels for record in records] == [(0,), (1,)]
    assert load_image(records[1].image).size == (6, 5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels_column": "label"}, "has no column 'label'; it has image, labels"),
        ({"image_column": "picture"}, "has no column 'picture'; it has image, labels"),
        ({"captions_column": "text"}, "has no column 'text'"),
        ({"train_split": "training"}, "has no split 'training'; it has train."),
        ({"image_column": "labels", "labels_column": "labels"}, "column 'labels' holds no images"),
        ({"labels_column": "image"}, "labels are text or whole numbers"),
    ],
)
def test_wrong_columns_and_splits_say_what_there_is(tmp_path: Path, fields: dict[str, str], message: str):
    data = HuggingFace(path=saved(tmp_path / "set", table([0, 1], CLASSES)), **fields)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        open_label_space(data), open_records(data, "train")


def test_splits_and_columns_may_have_names_of_their_own(tmp_path: Path):
    rows = table([0, 1, 2], CLASSES).rename_column("image", "picture")
    parts = {name: rows.select([row]) for row, name in enumerate(("fit", "tune", "judge"))}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "set"))
    names = {"train_split": "fit", "val_split": "tune", "test_split": "judge"}
    data = HuggingFace(path=str(tmp_path / "set"), image_column="picture", **names)  # type: ignore[arg-type]
    assert split_names(data) == ("train", "val", "test")
    assert [open_records(data, split)[0].labels for split in split_names(data)] == [(0,), (1,), (2,)]


def test_splits_that_are_not_there(tmp_path: Path):
    data = HuggingFace(path=saved(tmp_path / "set", table([0], CLASSES)))
    for split, name in (("val", "validation"), ("test", "test"), ("dev", "dev")):
        with pytest.raises(DataError, match=f"has no split '{name}'; it has train"):
            open_records(data, split)


def test_an_image_that_is_not_there_names_its_row(tmp_path: Path):
    data = HuggingFace(path=saved(tmp_path / "set", table([0, 1], CLASSES, [PHOTOS[0], None])))
    records = open_records(data, "train")
    with pytest.raises(DataError, match="Split train, row 1: there is no image"):
        list(records)
    loader = make_loader(
        EvaluationImages(records, 3, EvalTransform(8)), [[0, 1]], workers=1, device=torch.device("cpu")
    )
    with pytest.raises(DataError) as caught:
        next(batches(loader))
    assert caught.value.message == "Split train, row 1: there is no image."


def test_texts_without_any_label_are_refused(tmp_path: Path):
    data = HuggingFace(path=saved(tmp_path / "set", table([None], datasets.Value("string"))))
    with pytest.raises(DataError, match="column 'labels' holds no label"):
        open_label_space(data)


def test_what_is_no_data_set_is_our_error_and_scripts_are_not_run(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "x.parquet").write_bytes(b"PAR")
    saved(tmp_path / "cut", table([0], CLASSES))
    next((tmp_path / "cut" / "train").glob("*.arrow")).write_bytes(b"")
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')")
    for name in ("empty", "damaged", "cut", "script", "nothing"):
        with pytest.raises(DataError, match=f"data.path: .*{name} cannot be loaded"):
            open_label_space(HuggingFace(path=str(tmp_path / name)))
    assert not (tmp_path / "was-run").exists()


def test_encoded_bytes_are_handed_on_as_they_are(tmp_path: Path):
    buffer = io.BytesIO()
    PHOTOS[0].save(buffer, "JPEG")
    image = {"bytes": buffer.getvalue(), "path": None}
    data = HuggingFace(path=saved(tmp_path / "set", table([0], CLASSES, [image])))
    assert open_records(data, "train")[0].image == buffer.getvalue()
