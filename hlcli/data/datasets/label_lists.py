"""The papers' lists of images with the indices of their labels: a line `path,index index …` per image.

HSPNet, SPLC and ASL publish such lists: of all labels, of a share of them, of a single one per image. A blank after the
comma, any order of the indices and a missing last newline are allowed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hlcli.data.datasets.base import check_path, read_lines
from hlcli.errors import DataError, named

logger = logging.getLogger(__name__)

_MOST_DISAGREEING = 0.01
"""Largest share of a list's images that may have labels which are none of theirs."""

_LONGEST_INDEX = 9
_NUMBER_AT_END = re.compile(r"\d+\Z", re.ASCII)


def read_label_list(
    path: Path, num_labels: int, *, is_single: bool = False, hint: str | None = None
) -> dict[str, tuple[int, ...]]:
    """The labels of every listed image, ascending, by its path as written; in the order of the list.

    Args:
        path: the list.
        num_labels: indices must be below this, L.
        is_single: every image must have exactly one label.
        hint: how to mend a list that cannot be read or is empty.

    Raises:
        DataError: for a line of another form, an index out of range or twice in a line, an image listed twice, a path
            that leads out of the folder of images, or an empty list.
    """
    listed: dict[str, tuple[int, ...]] = {}
    numbers: dict[str, int] = {}
    for number, line in read_lines(path, hint):
        where = f"{path}, line {number}"
        file, labels = _read_line(where, line, num_labels)
        if is_single and len(labels) != 1:
            raise DataError(f"{where}: one label was expected, got {len(labels)}.")
        check_path(where, file)
        if file in listed:
            raise DataError(f"{where}: {file} was listed before, in line {numbers[file]}.")
        listed[file], numbers[file] = labels, number
    if not listed:
        raise DataError(f"{path} lists no image.", hint)
    return listed


def _read_line(where: str, line: str, num_labels: int) -> tuple[str, tuple[int, ...]]:
    """Path and ascending labels of a line."""
    file, comma, words = (part.strip() for part in line.rpartition(","))
    indices = words.split()
    if not comma or not file or not all(index.isascii() and index.isdigit() for index in indices):
        raise DataError(f"{where}: `file,index index …` was expected, got {line[:80]!r}.")
    outside = next((index for index in indices if len(index) > _LONGEST_INDEX or int(index) >= num_labels), None)
    if outside is not None:
        raise DataError(f"{where}: label {outside[:20]} is not one of 0..{num_labels - 1}.")
    labels = sorted(map(int, indices))
    if len(set(labels)) < len(labels):
        raise DataError(f"{where}: {file} has the same label twice, got {line[:80]!r}.")
    return file, tuple(labels)


class _MatchedLists(NamedTuple):
    """A list of labels beside the images that it may be about.

    Args:
        labels: the listed labels of every image, in the order of the images; None where the list lacks the image.
        strangers: listed paths that belong to none of the images.
    """

    labels: tuple[tuple[int, ...] | None, ...]
    strangers: tuple[str, ...]


def lists_by_record(image_ids: Sequence[str], listed: Mapping[str, tuple[int, ...]]) -> _MatchedLists:
    """Find the images that a list is about.

    An image's id may be the path as listed, its last part, that without its extension, or the number that this ends
    with (COCO's `COCO_train2014_000000480023.jpg` is image 480023); the first that is an id counts.

    Args:
        image_ids: `Record.image_id` of all images.
        listed: labels by path, as `read_label_list` gives them.

    Raises:
        DataError: when two paths of the list are the same image.
    """
    known = set(image_ids)
    found: dict[str, str] = {}
    strangers = []
    for file in listed:
        image_id = next((name for name in _names(file) if name in known), None)
        if image_id is None:
            strangers.append(file)
        elif image_id in found:
            raise DataError(f"{found[image_id]} and {file} are both listed, but both are image {image_id}.")
        else:
            found[image_id] = file
    labels = (listed[found[image_id]] if image_id in found else None for image_id in image_ids)
    return _MatchedLists(tuple(labels), tuple(strangers))


def check_disagreement(path: Path, total: int, odd: Sequence[str]) -> None:
    """Warn about images with listed labels that are none of theirs; a few are annotators' second thoughts.

    Args:
        path: the list.
        total: images of the split that it lists.
        odd: ids of those whose labels differ.

    Raises:
        DataError: when they are more than a few.
    """
    if not odd:
        return
    message = (
        f"{path}: {len(odd):,} of {total:,} images have listed labels that are none of theirs, e.g. {named(odd, 3)}."
    )
    if len(odd) > _MOST_DISAGREEING * total:
        raise DataError(message, "Is it the list of this data set, with indices from 0 in the same order of labels?")
    logger.warning("%s The list's are used.", message)


def _names(file: str) -> tuple[str, ...]:
    """What the image of a listed path may be called, most telling first."""
    path = file.replace("\\", "/")
    name = path.rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    number = _NUMBER_AT_END.search(stem)
    return (file, path, name, stem, *([str(int(number[0]))] if number and len(number[0]) < 20 else []))
