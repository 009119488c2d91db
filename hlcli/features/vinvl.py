"""VinVL's published region features: tables of base64 text, taken over into a feature file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hlcli import __version__
from hlcli.errors import DataError, InputError
from hlcli.features.file_report import FeatureReport
from hlcli.features.layout import feature_key
from hlcli.features.writer import FeatureWriter
from hlcli.json_text import parse_json
from hlcli.progress import Progress

FEATURES, PREDICTIONS = "features.tsv", "predictions.tsv"
_STORED_WIDTH = 2054
_BOX_COLUMNS = 6
"""The last numbers of each row say where its box is; they are no features."""


def import_vinvl(
    folder: str | Path, *, out: str | Path | None = None, dtype: str = "float16", overwrite: bool = False
) -> FeatureReport:
    """Write a feature file from `features.tsv` and `predictions.tsv`, row by row.

    Args:
        folder: where the two tables are.
        out: the file to write; default `region_features.hdf5` in the folder.
        dtype: precision of the features, `float16` or `float32`.
        overwrite: replace a file that is there.

    Raises:
        InputError: when the file exists.
        DataError: when a table is missing or damaged, or the two do not belong together; the message names the row.
    """
    folder = Path(folder)
    out = folder / "region_features.hdf5" if out is None else Path(out)
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists.", "Give --overwrite to replace it.")
    width = _STORED_WIDTH - _BOX_COLUMNS
    facts = {
        "kind": "region",
        "detector": "vinvl",
        "detector_weights": "published features",
        "width": width,
        "dtype": dtype,
        "hlcli": __version__,
    }
    count = 0
    seen: set[str] = set()
    with FeatureWriter(out, facts, dtype=dtype) as writer, Progress("Importing", unit="image") as bar:
        for image_id, parts in _rows(folder):
            if image_id in seen:
                raise DataError(f"{folder / FEATURES}: image {image_id} is there twice.")
            seen.add(image_id)
            writer.write(image_id, parts)
            count += 1
            bar.advance()
        if not count:
            raise DataError(f"{folder / FEATURES} holds no image.")
    return FeatureReport(out, count, [], facts)


def _rows(folder: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Image id and arrays, from the rows of both tables that belong together."""
    try:
        with (
            open(folder / FEATURES, encoding="utf-8") as features,
            open(folder / PREDICTIONS, encoding="utf-8") as found,
        ):
            for number, (row, prediction) in enumerate(_pairs(features, found, folder), start=1):
                try:
                    yield _read(row.rstrip("\n").split("\t"), prediction.rstrip("\n").split("\t"))
                except (ValueError, TypeError, LookupError, binascii.Error) as error:
                    raise DataError(
                        f"{folder}, row {number} of the tables: {error}", "Fetch the files again."
                    ) from error
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing.", f"{FEATURES} and {PREDICTIONS} are read together.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{folder}: the tables cannot be read: {error}.") from error


def _pairs(features: Iterator[str], predictions: Iterator[str], folder: Path) -> Iterator[tuple[str, str]]:
    for row in features:
        prediction = next(predictions, None)
        if prediction is None:
            raise DataError(f"{folder / PREDICTIONS} has fewer rows than {FEATURES}.")
        yield row, prediction
    if next(predictions, None) is not None:
        raise DataError(f"{folder / FEATURES} has fewer rows than {PREDICTIONS}.")


def _read(row: list[str], prediction: list[str]) -> tuple[str, dict[str, np.ndarray]]:
    key, count, text = row
    other, document = prediction[0], parse_json(prediction[1])
    if key != other:
        raise ValueError(f"{FEATURES} has {key}, {PREDICTIONS} has {other}")
    numbers = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    features = numbers.reshape(int(count), _STORED_WIDTH)[:, :-_BOX_COLUMNS]
    objects = document["objects"]
    if len(objects) != len(features):
        raise ValueError(f"{len(features)} features, but {len(objects)} objects")
    return feature_key(key.rsplit("_", 1)[-1]), {
        "features": features,
        "boxes": np.array([entry["rect"] for entry in objects], dtype=np.float32).reshape(-1, 4),
        "size": np.array([int(document["image_h"]), int(document["image_w"])]),
        "cls_prob": np.array([entry["conf"] for entry in objects], dtype=np.float32),
    }
