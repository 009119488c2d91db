"""Prediction files: JSON lines, CSV or Parquet, written whole; failures beside them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hlcli.data.labels import LabelSpace
from hlcli.files import check_out_file, whole_file
from hlcli.launching import Processes
from hlcli.prediction.label_rows import PredictedLabel, Prediction, Scene
from hlcli.prediction.result_files import ResultFile, ResultForm

_ENDINGS = (".jsonl", ".csv", ".parquet")
_ROWS_PER_GROUP = 1000
_SCENE_COLUMNS = ("scene", "scene_score")

_Write = Callable[[Prediction], None]


def prediction_file(
    out: Path,
    names: Sequence[str],
    work: dict[str, Any],
    processes: Processes,
    labels: LabelSpace,
    *,
    with_scenes: bool = False,
) -> ResultFile[Prediction]:
    """A file of predictions in the making; arguments as of `ResultFile` and `write_predictions`.

    Raises:
        InputError: for a file of another format.
    """
    check_prediction_file(out)

    def write(path: Path, predictions: Iterable[Prediction]) -> None:
        write_predictions(path, predictions, labels, with_scenes=with_scenes)

    return ResultFile(out, names, work, processes, ResultForm(_prediction_of, write))


def _prediction_of(line: Mapping[str, Any]) -> Prediction:
    """The prediction that a line was written for, as far as the line tells: without the scores of all labels.

    Raises:
        KeyError, TypeError: when it was written for something else.
    """
    labels = tuple(PredictedLabel(row["name"], row["level"], row["score"]) for row in line["labels"])
    found = line.get("scene")
    scene = None if found is None else Scene(found["index"], found["score"], np.empty(0))
    numbers = [row.score for row in labels] + ([] if scene is None else [scene.index, scene.score])
    if not all(type(number) in (int, float) for number in numbers):
        raise TypeError("scores must be numbers")
    if not all(isinstance(text, str) for row in labels for text in (line["image"], row.name, row.level)):
        raise TypeError("names must be text")
    return Prediction(line["image"], labels, (), scene)


def write_predictions(
    path: Path, predictions: Iterable[Prediction], labels: LabelSpace, *, with_scenes: bool = False
) -> None:
    """Write predictions one by one; the file has its name once all are written.

    Args:
        path: decides the format by its ending.
        predictions: in the order of the file.
        labels: for column names.
        with_scenes: give tables columns for the scene; JSON lines have it whenever a prediction has.
    """
    check_prediction_file(path)
    with _open_writer(path, labels, with_scenes) as write:
        for prediction in predictions:
            write(prediction)


@contextmanager
def _open_writer(path: Path, labels: LabelSpace, with_scenes: bool) -> Iterator[_Write]:
    if path.suffix == ".parquet":
        with _parquet_writer(path, with_scenes) as write:
            yield write
        return
    with whole_file(path, newline="") as handle:
        if path.suffix == ".jsonl":
            yield lambda row: handle.writelines([json.dumps(row.to_json(), ensure_ascii=False) + "\n"])
        else:
            table = csv.writer(handle)
            names = [level.name for level in labels.levels]
            columns = [column for name in names for column in (name, f"{name}_scores")]
            table.writerow(["image", *columns, *(_SCENE_COLUMNS if with_scenes else ())])
            yield lambda row: table.writerows([_csv_row(row, names, with_scenes)])


def check_prediction_file(path: Path) -> Path:
    """The file of predictions again, unless it cannot be one.

    Raises:
        InputError: as `check_out_file` says.
    """
    return check_out_file(path, _ENDINGS)


def _csv_row(row: Prediction, levels: Sequence[str], with_scene: bool) -> list[str]:
    """Image, then per level the names and the scores of its labels, separated by semicolons, then the scene."""
    cells = [row.image]
    for level in levels:
        listed = [label for label in row.labels if label.level == level]
        cells += [";".join(label.name for label in listed), ";".join(f"{label.score:.6f}" for label in listed)]
    if with_scene:
        cells += ["", ""] if row.scene is None else [str(row.scene.index), f"{row.scene.score:.6f}"]
    return cells


@contextmanager
def _parquet_writer(path: Path, with_scenes: bool) -> Iterator[_Write]:
    """Columns image and labels, a list of {name, level, score}; then the scene, if there is one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    label = pa.struct([("name", pa.string()), ("level", pa.string()), ("score", pa.float64())])
    scene = list(zip(_SCENE_COLUMNS, (pa.int64(), pa.float64()), strict=True)) if with_scenes else []
    schema = pa.schema([("image", pa.string()), ("labels", pa.list_(label)), *scene])
    waiting: list[dict] = []
    with whole_file(path, "wb") as handle, pq.ParquetWriter(handle, schema) as writer:

        def write(row: Prediction) -> None:
            line = row.to_json()
            found = line.pop("scene", None) or {}
            waiting.append({**line, **dict(zip(_SCENE_COLUMNS, found.values(), strict=False))})
            if len(waiting) == _ROWS_PER_GROUP:
                flush()

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
            waiting.clear()

        yield write
        flush()
