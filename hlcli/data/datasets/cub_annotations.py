"""Reading CUB-200-2011: the list of images, the split, and which attributes annotators saw in every image."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from hlcli.data.datasets.base import check_path, read_lines
from hlcli.data.datasets.cub_labels import ATTRIBUTES
from hlcli.errors import DataError

logger = logging.getLogger(__name__)

HINT = "The folder of the official layout may be incomplete; run `hlcli download cub` again."

_UNKNOWN = 2


def read_images(path: Path) -> dict[int, str]:
    """The image files of `images.txt` by their numbers, in its order.

    Raises:
        DataError: when the file is missing or damaged, or a path leads out of the folder of images.
    """
    files = _read_numbered(path)
    if not files:
        raise DataError(f"{path} lists no image.", HINT)
    seen: dict[str, int] = {}
    for number, file in files.items():
        check_path(f"{path}, image {number}", file)
        if seen.setdefault(file, number) != number:
            raise DataError(f"{path}: {file} is both image {seen[file]} and image {number}.")
    return files


def read_splits(path: Path, images: Iterable[int]) -> dict[str, list[int]]:
    """The numbers of the training and the test images by `train_test_split.txt`, in the order of the images.

    Raises:
        DataError: when the file is missing or damaged, or says nothing about an image.
    """
    marks = _read_numbered(path)
    splits: dict[str, list[int]] = {"train": [], "test": []}
    for number in images:
        if marks.get(number) not in ("0", "1"):
            raise DataError(f"{path} must have 0 or 1 for image {number} (got {marks.get(number)}).", HINT)
        splits["train" if marks[number] == "1" else "test"].append(number)
    return splits


def _read_numbered(path: Path) -> dict[int, str]:
    """What stands behind the number at the beginning of every line, by that number."""
    found: dict[int, str] = {}
    for line_number, line in read_lines(path, HINT):
        number, _, rest = line.partition(" ")
        if not number.isdecimal() or len(number) > 9 or not rest.strip():
            raise DataError(f"{path}, line {line_number}: a number and a word were expected, got {line[:80]!r}.", HINT)
        if int(number) in found:
            raise DataError(f"{path}, line {line_number}: number {number} was there before.", HINT)
        found[int(number)] = rest.strip()
    return found


def check_attributes(*places: Path) -> bool:
    """Compare `attributes.txt`, in the first place where there is one, with the known attributes.

    Returns:
        Whether there is such a file; it lies beside the folder of the archive and is easily lost.

    Raises:
        DataError: when it has other attributes.
    """
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        logger.warning("%s is missing; the attributes are taken to be the official ones in their order.", places[0])
        return False
    found = _read_numbered(path)
    for number, name in enumerate(ATTRIBUTES, 1):
        if found.get(number) != name:
            raise DataError(f"{path}: attribute {number} must be {name} (got {found.get(number)}).", HINT)
    if len(found) > len(ATTRIBUTES):
        raise DataError(f"{path}: {len(ATTRIBUTES)} attributes were expected, got {len(found)}.", HINT)
    return True


def read_present(path: Path, images: Iterable[int]) -> tuple[dict[int, tuple[int, ...]], int]:
    """The attributes that are present in every image, whatever the annotator's certainty.

    A row of `image_attribute_labels.txt` has image, attribute (from 1), whether it is present, certainty and time. Some
    rows of the published file have more columns; only the first three are used.

    Args:
        path: the file.
        images: numbers of the images; each must have a row for every attribute.

    Returns:
        Label indices (from 0), ascending, by image number; and the number of rows.

    Raises:
        DataError: when the file is missing, a row has another form, or one is missing or contradicts another.
    """
    marks = {number: bytearray([_UNKNOWN]) * len(ATTRIBUTES) for number in images}
    known = {str(number): row for number, row in marks.items()}
    columns = {str(attribute): label for label, attribute in enumerate(range(1, len(ATTRIBUTES) + 1))}
    values = {"0": 0, "1": 1}
    num_rows = 0
    for line_number, words in _rows(path):
        try:
            row, label, value = known[words[0]], columns[words[1]], values[words[2]]
        except (KeyError, IndexError) as error:
            raise DataError(
                f"{path}, line {line_number}: an image, an attribute from 1 to {len(ATTRIBUTES)} and 0 or 1 were "
                f"expected, got {' '.join(words)[:80]!r}.",
                HINT,
            ) from error
        if row[label] not in (_UNKNOWN, value):
            raise DataError(f"{path}, line {line_number}: image {words[0]} has attribute {words[1]} and has it not.")
        row[label] = value
        num_rows += 1
    for number, row in marks.items():
        if _UNKNOWN in row:
            raise DataError(f"{path} has no row for attribute {row.index(_UNKNOWN) + 1} of image {number}.", HINT)
    present = {number: tuple(i for i, value in enumerate(row) if value == 1) for number, row in marks.items()}
    return present, num_rows


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered rows, one at a time: there are millions."""
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if words := line.split():
                    yield number, words
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.", HINT) from error
