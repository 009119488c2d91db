"""NUS-WIDE's files as they are given out: the official lists, those of two re-crawls, and pictures of nothing.

Every reader gives one `Listed` per image, in the order of its list.
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.data.datasets.base import check_counts, check_path, note_source, read_lines
from hlcli.data.datasets.label_lists import read_label_list
from hlcli.data.datasets.nuswide_labels import LABEL_NAMES, NUM_LISTED
from hlcli.errors import DataError
from hlcli.plain_text import counted

logger = logging.getLogger(__name__)

HINT = "Run `hlcli download nuswide`, or say where the official layout is with --source."


class Listed(NamedTuple):
    """A line of a list: an image's path below the folder of images, and its labels."""

    file: str
    labels: tuple[int, ...]


def read_official(folder: Path, notes: dict[str, Any], *, allow_partial: bool) -> dict[str, list[Listed]]:
    """The official split: `Imagelist.txt` with `AllLabels`, divided by the lists of train and test.

    As in the papers, an image in both lists is a test image, and one in neither belongs to no split.

    Args:
        folder: of the official layout.
        notes: gets the sums of all files that are read.
        allow_partial: accept other numbers of images than the published ones.

    Raises:
        DataError: when a file is missing, damaged, or has other lines than it should.
    """
    _check_concepts(_find(folder, "Concepts81.txt", "ConceptsList"))
    lists = {
        name: _find(folder, f"{name}.txt", "ImageList") for name in ("Imagelist", "TrainImagelist", "TestImagelist")
    }
    for path in lists.values():
        note_source(path, notes)
    files = _read_list(lists["Imagelist"])
    if not allow_partial:
        check_counts(lists["Imagelist"], [("images", NUM_LISTED, len(files))])
    labels: list[list[int]] = [[] for _ in files]
    for index, concept in enumerate(LABEL_NAMES):
        path = _find(folder, f"Labels_{concept}.txt", "Groundtruth/AllLabels", "AllLabels", "Groundtruth")
        for row in _read_positives(path, len(files)):
            labels[row].append(index)
        note_source(path, notes)
    train, test = _read_membership(lists, set(files))
    splits: dict[str, list[Listed]] = {"train": [], "test": []}
    for file, positives in zip(files, labels, strict=True):
        if file in test or file in train:
            splits["test" if file in test else "train"].append(Listed(file, tuple(positives)))
    return splits


def _read_membership(lists: dict[str, Path], known: set[str]) -> tuple[set[str], set[str]]:
    """The images of train and of test; those in both, and those `Imagelist.txt` lacks, are warned about."""
    train, test = (set(_read_list(lists[name])) for name in ("TrainImagelist", "TestImagelist"))
    for name, files in (("TrainImagelist", train), ("TestImagelist", test)):
        if strangers := sorted(files - known):
            logger.warning(
                "%s: %s not in Imagelist.txt and left out, e.g. %s.",
                lists[name],
                counted(len(strangers), "image is", "images are"),
                strangers[0],
            )
    if both := sorted(train & test):
        count = counted(len(both), "image is", "images are")
        logger.warning("%s in the lists of train and of test, taken for test, e.g. %s.", count, both[0])
    return train, test


def _read_list(path: Path) -> list[str]:
    """Image files with forward slashes, in order; empty lines are passed over.

    Raises:
        DataError: when there is none, one is there twice, or one leads out of the folder of images.
    """
    return _checked(path, [(number, line.replace("\\", "/")) for number, line in read_lines(path, HINT)])


def _checked(path: Path, files: Sequence[tuple[int, str]]) -> list[str]:
    """The files of numbered lines, each one a path of its own below the folder of images."""
    seen: dict[str, int] = {}
    for number, file in files:
        check_path(f"{path}, line {number}", file)
        if file in seen:
            raise DataError(f"{path}, line {number}: {file} was listed before, in line {seen[file]}.")
        seen[file] = number
    if not seen:
        raise DataError(f"{path} lists no image.", HINT)
    return list(seen)


def _read_positives(path: Path, num_lines: int) -> list[int]:
    """The lines of a file of labels that are 1, counted from 0.

    Raises:
        DataError: when there are other lines than 0 and 1, or more or fewer than there should be.
    """
    marks = "".join(line for _, line in read_lines(path, HINT))
    if len(marks) != num_lines or marks.strip("01"):
        raise DataError(f"{path} has not {num_lines:,} lines of 0 or 1, one per line of Imagelist.txt.", HINT)
    return [row for row, mark in enumerate(marks) if mark == "1"]


def read_index_list(path: Path, *, is_single: bool = False) -> list[Listed]:
    """A list of ASL's re-crawl: `file,index index …`, labels counted from 0 in alphabetical order.

    Args:
        path: the list.
        is_single: every image must have exactly one label.

    Raises:
        DataError: when it is missing or damaged.
    """
    listed = read_label_list(path, len(LABEL_NAMES), is_single=is_single, hint=HINT)
    return [Listed(file, labels) for file, labels in listed.items()]


def read_matrices(images: Path, labels: Path) -> list[Listed]:
    """A split of SPML's re-crawl: an array of image files and a matrix of 0 and 1, columns in alphabetical order.

    Raises:
        DataError: when they cannot be read or do not belong together, or the matrix has other values.
    """
    import numpy as np

    try:
        files, matrix = np.load(images, allow_pickle=False), np.load(labels, allow_pickle=False)
    except (OSError, ValueError, TypeError, EOFError, MemoryError, OverflowError, zipfile.BadZipFile) as error:
        raise DataError(f"{images} or {labels.name} cannot be read: {error}.") from error
    if not isinstance(files, np.ndarray) or not isinstance(matrix, np.ndarray):
        raise DataError(f"{images} or {labels.name} cannot be read: it holds several arrays, not one.")
    if files.ndim != 1 or matrix.shape != (len(files), len(LABEL_NAMES)):
        raise DataError(
            f"{labels} has shape {list(matrix.shape)}, expected [{len(files)}, {len(LABEL_NAMES)}] for {images.name}."
        )
    if matrix.dtype.kind not in "biuf" or not np.isin(matrix, (0, 1)).all():
        raise DataError(f"{labels} must hold zeros and ones only.")
    names = _checked(images, [(row, str(file).replace("\\", "/")) for row, file in enumerate(files, 1)])
    return [Listed(name, tuple(np.flatnonzero(row).tolist())) for name, row in zip(names, matrix, strict=True)]


def find_placeholders(files: Iterable[Path], known_sums: Collection[str], copies: int) -> list[Path]:
    """Files that are no photos: those with a known sum, and those that are the same, byte for byte, too often.

    Flickr answers with such a picture where a photo was removed. Only files that share their length with as many
    others are read, unless there are sums to compare.

    Args:
        files: image files that exist.
        known_sums: md5 or sha256 sums of placeholders.
        copies: from so many identical files on they are placeholders; 0 does not look.
    """
    sizes = {path: path.stat().st_size for path in files}
    often = {size for size, count in Counter(sizes.values()).items() if copies and count >= copies}
    sums = {path: _sums(path) for path, size in sizes.items() if known_sums or size in often}
    counts = Counter(sha256 for _, sha256 in sums.values())
    return [
        path
        for path, (md5, sha256) in sums.items()
        if md5 in known_sums or sha256 in known_sums or (copies and counts[sha256] >= copies)
    ]


def _sums(path: Path) -> tuple[str, str]:
    content = path.read_bytes()
    return hashlib.md5(content, usedforsecurity=False).hexdigest(), hashlib.sha256(content).hexdigest()


def _check_concepts(path: Path) -> None:
    """The concepts are the known ones in the known order; their lines may end with blanks."""
    found = tuple(line for _, line in read_lines(path, HINT))
    if found != LABEL_NAMES:
        odd = next((name for name in found if name not in LABEL_NAMES), None)
        what = f"{odd!r} is not one of them" if odd else "some are missing or in another order"
        raise DataError(f"{path} does not list the {len(LABEL_NAMES)} concepts in alphabetical order: {what}.", HINT)


def _find(folder: Path, name: str, *homes: str) -> Path:
    """A file in one of the folders in which its archive or the papers' programs put it."""
    places = [folder / home / name for home in (*homes, ".")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataError(f"{places[0]} is missing.", HINT)
    return path
