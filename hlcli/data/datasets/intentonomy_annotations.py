"""Reading Intentonomy's annotation files and label matrices, and checking that they are whole.

A file has `categories`, `images` (id, filename, unsplash_url) and `annotations`, one per image, whose id is its
position. val and test list `category_ids`; train has `category_ids_softprob`, for each label the share of three
annotators who chose it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hlcli.data.datasets.intentonomy_labels import COUNTS, FINE_NAMES, NUM_LABELS, label_space
from hlcli.errors import DataError
from hlcli.json_text import read_json
from hlcli.plain_text import counted

_IMAGE_ID = re.compile(r"[0-9a-f]{32}")
FILE_NAME = re.compile(r"(\w[\w.-]*/)*\w[\w.-]*\.(jpe?g|png|webp)", re.ASCII | re.IGNORECASE)
_AGAIN = "Delete the file and run `hlcli download intentonomy` again."

Labels = tuple[int, ...]


class Annotation(NamedTuple):
    """One photo.

    Args:
        image_id: 32 hexadecimal digits.
        file: its path below the image folder, e.g. `low/<id>.jpg`.
        url: where it is published, usual slips mended; it need not be an address.
        labels: indices of its fine labels, ascending.
    """

    image_id: str
    file: str
    url: str
    labels: Labels


def annotation_name(split: str) -> str:
    """The file name of a split's annotations."""
    return f"intentonomy_{split}2020.json"


def matrix_name(split: str) -> str:
    """The file name of a split's label matrix."""
    return f"{split}_label_vectors_intentonomy2020.npy"


def read_annotations(path: Path, *, threshold: float = 0.0) -> list[Annotation]:
    """Read an annotation file, in its own order.

    Args:
        path: the JSON file.
        threshold: a train label counts when more than this share of the annotators chose it.

    Raises:
        DataError: when the file is missing, damaged, or not in Intentonomy's format; the message says where.
    """
    document = _read_json(path)
    _check_categories(path, document["categories"])
    images = _read_images(path, document["images"])
    annotations, seen = [], set[str]()
    for position, entry in enumerate(document["annotations"]):
        where = f"{path}: annotations[{position}]"
        if not isinstance(entry, dict) or entry.get("id") != position:
            raise DataError(f"{where} must have id {position}, its position (got {_field(entry, 'id')}).", _AGAIN)
        image_id = entry.get("image_id")
        if not isinstance(image_id, str) or image_id not in images:
            raise DataError(f"{where}.image_id {image_id!r} is not among the images.", _AGAIN)
        if image_id in seen:
            raise DataError(f"{where}: image {image_id} was annotated before.", _AGAIN)
        seen.add(image_id)
        annotations.append(Annotation(image_id, *images[image_id], _read_labels(where, entry, threshold)))
    if len(seen) < len(images):
        first = next(image_id for image_id in images if image_id not in seen)
        raise DataError(
            f"{path}: {counted(len(images) - len(seen), 'image has', 'images have')} no annotation, e.g. {first}.",
            _AGAIN,
        )
    return annotations


def _read_json(path: Path) -> dict[str, list[Any]]:
    try:
        document = read_json(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", "Run `hlcli download intentonomy`.") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}. It may be cut short.",
            _AGAIN,
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", _AGAIN) from error
    if not isinstance(document, dict):
        raise DataError(f"{path} holds a {type(document).__name__} where an object was expected.", _AGAIN)
    for key in ("categories", "images", "annotations"):
        if not isinstance(document.get(key), list):
            raise DataError(f"{path} has no list `{key}`: it is not an Intentonomy annotation file.", _AGAIN)
    return document


def _check_categories(path: Path, categories: Sequence[Any]) -> None:
    """The labels must be the known 28 in the known order."""
    if len(categories) != NUM_LABELS:
        raise DataError(f"{path}: {NUM_LABELS} categories were expected, got {len(categories)}.", _AGAIN)
    for index, (entry, name) in enumerate(zip(categories, FINE_NAMES, strict=True)):
        if not isinstance(entry, dict) or entry.get("id") != index or entry.get("name") != name:
            raise DataError(
                f"{path}: categories[{index}] must be {{id: {index}, name: {name}}} (got {entry!r:.80}).", _AGAIN
            )


def _read_images(path: Path, images: Sequence[Any]) -> dict[str, tuple[str, str]]:
    """File and URL of every image, by id."""
    found: dict[str, tuple[str, str]] = {}
    for position, entry in enumerate(images):
        where = f"{path}: images[{position}]"
        image_id, file, url = (_field(entry, key) for key in ("id", "filename", "unsplash_url"))
        if not isinstance(image_id, str) or not _IMAGE_ID.fullmatch(image_id):
            raise DataError(f"{where}.id must be 32 hexadecimal digits (got {image_id!r}).", _AGAIN)
        if image_id in found:
            raise DataError(f"{where}.id {image_id} is listed twice.", _AGAIN)
        if not isinstance(file, str) or not FILE_NAME.fullmatch(file):
            raise DataError(f"{where}.filename must be the plain relative path of an image (got {file!r}).", _AGAIN)
        found[image_id] = (file, _mended(url) if isinstance(url, str) else "")
    return found


def _mended(url: str) -> str:
    """An address without the slips that occur in Unsplash's own lists: blanks around it, `https//` and `http:/`.

    What is no address even then costs its photo alone, when it is fetched.
    """
    mended = re.sub(r"^(https?):?//?(?=\w)", r"\1://", url.strip())
    try:
        urlsplit(mended)
    except ValueError:
        return ""
    return mended


def _field(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else None


def _read_labels(where: str, entry: Mapping[str, Any], threshold: float) -> Labels:
    if "category_ids" in entry:
        ids = entry["category_ids"]
        if not isinstance(ids, list) or not all(type(i) is int and 0 <= i < NUM_LABELS for i in ids):
            raise DataError(f"{where}.category_ids must be indices from 0 to {NUM_LABELS - 1} (got {ids!r}).", _AGAIN)
        return tuple(sorted(set(ids)))
    shares = entry.get("category_ids_softprob")
    numbers = isinstance(shares, list) and all(type(s) in (int, float) and 0 <= s <= 1 for s in shares)
    if not isinstance(shares, list) or len(shares) != NUM_LABELS or not numbers:
        raise DataError(
            f"{where} needs category_ids, or category_ids_softprob with {NUM_LABELS} numbers from 0 to 1.", _AGAIN
        )
    return tuple(index for index, share in enumerate(shares) if share > threshold)


def read_label_matrix(path: Path, num_images: int) -> list[Labels]:
    """Read a label matrix as shipped with the reference: row i belongs to annotation i.

    Raises:
        DataError: when it is missing, damaged or of another shape.
    """
    import numpy as np

    try:
        matrix = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", "Run `hlcli download intentonomy`, or use labels=json.") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a NumPy matrix: {error}.", _AGAIN) from error
    if not isinstance(matrix, np.ndarray) or matrix.shape != (num_images, NUM_LABELS):
        shape = list(getattr(matrix, "shape", ()))
        raise DataError(f"{path} must have the shape [{num_images}, {NUM_LABELS}] (got {shape}).", _AGAIN)
    if matrix.dtype.kind not in "biuf" or not np.isin(matrix, (0, 1)).all():
        raise DataError(f"{path} must hold zeros and ones only (got dtype {matrix.dtype}).", _AGAIN)
    return [tuple(int(label) for label in np.flatnonzero(row)) for row in matrix]


def check_counts(split: str, rows: Sequence[Labels], path: Path, *, check_labels: bool = True) -> None:
    """Compare a split with the published numbers.

    Args:
        split: train, val or test.
        rows: the fine labels of every photo.
        path: the file, for the message.
        check_labels: False looks at the number of photos only.

    Raises:
        DataError: naming the first number that differs.
    """
    expected = COUNTS[split]
    hint = "Is the file complete? A subset on purpose needs --allow-partial."
    if len(rows) != expected.num_images:
        raise DataError(f"{path}: {expected.num_images:,} {split} photos were expected, found {len(rows):,}.", hint)
    if not check_labels:
        return
    for level, found in positives(rows).items():
        names = next(row for row in label_space().levels if row.name == level).label_names
        for name, have, want in zip(names, found, getattr(expected, level), strict=True):
            if have != want:
                raise DataError(
                    f"{path}: {level} label {name!r} was expected on {want:,} photos, found {have:,}.", hint
                )
    by_number = Counter(len(labels) for labels in rows)
    for number in sorted({*by_number, *range(1, len(expected.by_number) + 1)}):
        want = expected.by_number[number - 1] if 1 <= number <= len(expected.by_number) else 0
        if by_number[number] != want:
            raise DataError(
                f"{path}: {want:,} photos with {counted(number, 'label')} were expected, found {by_number[number]:,}.",
                hint,
            )


def positives(rows: Sequence[Labels]) -> dict[str, list[int]]:
    """How many photos have each label, by level; a label above is present when any below it is."""
    levels = label_space().levels
    sets = [set(labels) for labels in rows]
    counts: dict[str, list[int]] = {}
    for level in reversed(levels):
        totals = Counter(label for labels in sets for label in labels)
        counts[level.name] = [totals[index] for index in range(len(level))]
        if level.parent_index is not None:
            parents = level.parent_index
            sets = [{parents[label] for label in labels} for labels in sets]
    return counts
