"""NUS-WIDE's files as they are given out: the official lists, those of two re-crawls, and pictures of nothing.

Every reader gives one `Listed` per image, in the order of its list.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.data.datasets.base import check_counts, note_source, read_lines
from hlcli.data.datasets.nuswide_labels import LABEL_NAMES, NUM_LISTED
from hlcli.errors import DataError

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
    files = read_list(lists["Imagelist"])
    if not allow_partial:
        check_counts(lists["Imagelist"], [("images", NUM_LISTED, len(files))])
    labels: list[list[int]] = [[] for _ in files]
    for index, concept in enumerate(LABEL_NAMES):
        path = _find(folder, f"Labels_{concept}.txt", "Groundtruth/AllLabels", "AllLabels", "Groundtruth")
        for row in read_positives(path, len(files)):
            labels[row].append(index)
        note_source(path, notes)
    train, test = set(read_list(lists["TrainImagelist"])), set(read_list(lists["TestImagelist"]))
    splits: dict[str, list[Listed]] = {"train": [], "test": []}
    for file, positives in dict(zip(files, labels, strict=True)).items():  # a file listed twice counts once
        if file in test or file in train:
            splits["test" if file in test else "train"].append(Listed(file, tuple(positives)))
    return splits


def read_list(path: Path) -> list[str]:
    """Image files with forward slashes, in order; empty lines are passed over."""
    return [line.replace("\\", "/") for _, line in read_lines(path, HINT)]


def read_positives(path: Path, num_lines: int) -> list[int]:
    """The lines of a file of labels that are 1, counted from 0.

    Raises:
        DataError: when there are other lines than 0 and 1, or more or fewer than there should be.
    """
    marks = "".join(line for _, line in read_lines(path, HINT))
    if len(marks) != num_lines or marks.strip("01"):
        raise DataError(f"{path} has not {num_lines:,} lines of 0 or 1, one per line of Imagelist.txt.", HINT)
    return [row for row, mark in enumerate(marks) if mark == "1"]


def read_index_list(path: Path) -> list[Listed]:
    """A list of ASL's re-crawl: `file,index index …`, labels counted from 0 in alphabetical order.

    Raises:
        DataError: for a line of another form.
    """
    rows = []
    for number, line in read_lines(path, HINT):
        file, _, words = line.rpartition(",") if "," in line else (line, "", "")
        labels = [int(word) if word.isdecimal() else -1 for word in words.split()]
        if not all(0 <= label < len(LABEL_NAMES) for label in labels):
            raise DataError(f"{path}, line {number}: `file,index index …` was expected, got {line!r}.")
        rows.append(Listed(file.strip(), tuple(sorted(set(labels)))))
    return rows


def read_matrices(images: Path, labels: Path) -> list[Listed]:
    """A split of SPML's re-crawl: an array of image files and a matrix of 0 and 1, columns in alphabetical order.

    Raises:
        DataError: when they do not belong together.
    """
    import numpy as np

    try:
        files, matrix = np.load(images, allow_pickle=False), np.load(labels, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{images} or {labels.name} cannot be read: {error}.") from error
    if files.ndim != 1 or matrix.shape != (len(files), len(LABEL_NAMES)):
        raise DataError(
            f"{labels} has shape {list(matrix.shape)}, expected [{len(files)}, {len(LABEL_NAMES)}] for {images.name}."
        )
    rows = [tuple(np.flatnonzero(row == 1).tolist()) for row in matrix]
    return [Listed(str(file).replace("\\", "/"), row) for file, row in zip(files, rows, strict=True)]


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
