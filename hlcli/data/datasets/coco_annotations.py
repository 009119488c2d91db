"""Reading COCO's `instances_*.json`, and checking that it is whole.

A file has `categories` (id, name), `images` (id, file_name) and `annotations`, one per object (image_id, category_id).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.data.datasets.base import check_counts
from hlcli.data.datasets.coco_labels import CATEGORIES, COUNTS
from hlcli.data.json_lists import field, read_lists
from hlcli.errors import DataError

FILE_NAME = re.compile(r"[\w-][\w.-]*\.(jpe?g|png)", re.ASCII | re.IGNORECASE)
_AGAIN = "Delete the file and run `hlcli download coco` again."

_KEPT = ("id", "name", "file_name", "image_id", "category_id")  # outlines of objects would take much memory


class AnnotatedImage(NamedTuple):
    """One image.

    Args:
        id: its number.
        file: its file name.
        labels: indices of the labels of its objects, ascending.
    """

    id: int
    file: str
    labels: tuple[int, ...]


def read_instances(path: Path) -> list[AnnotatedImage]:
    """Read an annotation file; images in ascending order of their ids.

    Raises:
        DataError: when the file is missing, damaged, or not COCO's; the message says where.
    """
    document = read_lists(
        path,
        ("categories", "images", "annotations"),
        kept=_KEPT,
        kind="one of COCO's instances files",
        hint="Run `hlcli download coco`.",
        again=_AGAIN,
    )
    _check_categories(path, document["categories"])
    images = _read_images(path, document["images"])
    index = {category.id: label for label, category in enumerate(CATEGORIES)}
    labels: dict[int, set[int]] = {image_id: set() for image_id in images}
    for position, entry in enumerate(document["annotations"]):
        image_id, category = (field(entry, key) for key in ("image_id", "category_id"))
        if type(image_id) is not int or image_id not in labels:
            raise DataError(f"{path}: annotations[{position}].image_id {image_id!r} is not among the images.", _AGAIN)
        if type(category) is not int or category not in index:
            raise DataError(
                f"{path}: annotations[{position}].category_id {category!r} is not one of the 80 categories.", _AGAIN
            )
        labels[image_id].add(index[category])
    return [AnnotatedImage(image_id, images[image_id], tuple(sorted(labels[image_id]))) for image_id in sorted(images)]


def _check_categories(path: Path, categories: Sequence[Any]) -> None:
    """The categories must be the known 80 in the known order."""
    if len(categories) != len(CATEGORIES):
        raise DataError(f"{path}: {len(CATEGORIES)} categories were expected, got {len(categories)}.", _AGAIN)
    for position, (entry, known) in enumerate(zip(categories, CATEGORIES, strict=True)):
        if field(entry, "id") != known.id or field(entry, "name") != known.name:
            raise DataError(
                f"{path}: categories[{position}] must be {{id: {known.id}, name: {known.name}}} (got {entry!r:.80}).",
                _AGAIN,
            )


def _read_images(path: Path, images: Sequence[Any]) -> dict[int, str]:
    """File name of every image, by id."""
    found: dict[int, str] = {}
    files = set[str]()
    for position, entry in enumerate(images):
        where = f"{path}: images[{position}]"
        image_id, file = (field(entry, key) for key in ("id", "file_name"))
        if type(image_id) is not int or image_id < 0:
            raise DataError(f"{where}.id must be a whole number (got {image_id!r}).", _AGAIN)
        if not isinstance(file, str) or not FILE_NAME.fullmatch(file):
            raise DataError(f"{where}.file_name must be the plain name of an image (got {file!r}).", _AGAIN)
        if image_id in found or file in files:
            raise DataError(f"{where}: image {image_id}, {file}, is listed twice.", _AGAIN)
        found[image_id] = file
        files.add(file)
    return found


def compare_with_published(split: str, images: Sequence[AnnotatedImage], path: Path) -> None:
    """Compare a file with the published numbers; those of val were never confirmed, so they only warn.

    Args:
        split: train or val, as the year calls them.
        images: all images of the file.
        path: the file, for the message.

    Raises:
        DataError: naming the first number that differs.
    """
    expected = COUNTS[split]
    counts = (
        ("images", expected.images, len(images)),
        ("images with objects", expected.labelled, sum(bool(image.labels) for image in images)),
        ("labels", expected.labels, sum(len(image.labels) for image in images)),
    )
    check_counts(path, counts, is_verified=expected.is_verified)
