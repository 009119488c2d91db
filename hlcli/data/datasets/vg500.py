"""VG-500: Visual Genome's photos with its 500 most frequent objects as labels, in the partition of SSGRL's authors.

Official layout, below `ROOT/vg500`: `train_list_500.txt`, `test_list_500.txt`, `vg_category_500_labels_index.json`, and
the photos in `VG_100K/` and `VG_100K_2/`. The partition has no label names: labels are called 0 to 499, unless names
are given or recovered. It has 82,904 training images, not the 98,249 of the paper.
"""

from __future__ import annotations

import filecmp
import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hlcli.data.datasets.base import (
    LayoutOptions,
    Prepared,
    check_counts,
    check_path,
    note_source,
    read_lines,
)
from hlcli.data.datasets.missing_images import without_missing
from hlcli.data.datasets.vg500_names import (
    NUM_LABELS,
    NUMBERS,
    check_agreement,
    read_names,
    read_objects,
    recover_names,
)
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.errors import DataError, InputError, named
from hlcli.json_text import read_json
from hlcli.plain_text import counted
from hlcli.sections import DataSection, Fraction

logger = logging.getLogger(__name__)

COUNTS = {"train": 82_904, "test": 10_000}
LABELS_NAME = "vg_category_500_labels_index.json"
FOLDERS = ("VG_100K", "VG_100K_2")
"""Where a photo is looked for, in this order; some are in both."""
HINT = "Run `hlcli download vg500`."


class Vg500Options(LayoutOptions):
    """How VG-500's files are read."""

    names: Path | None = Field(None, description="File of 500 label names, one a line; default the numbers 0 to 499.")
    recover_names: Path | None = Field(
        None, description="Visual Genome's objects.json (or its zip): find the names by the images that share them."
    )
    min_agreement: Fraction = Field(
        0.9, description="Recovered names are refused where a label's images agree less than this with its name's."
    )


class Vg500(DataSection):
    """Visual Genome's photos with 500 labels (Chen et al., ICCV 2019); splits train and test."""

    prepare_options = Vg500Options

    dataset: Literal["vg500"] = "vg500"

    def label_space(self) -> LabelSpace:
        """The labels as published: numbers. A store may have names for them."""
        return LabelSpace.flat(NUMBERS)

    def prepare(self, source: Path, options: Vg500Options) -> Prepared:
        """Read the partition, images in the order of its lists.

        Raises:
            InputError: when names are both given and to be recovered.
            DataError: when a file is missing, damaged or incomplete, names are doubtful, or too many images missing.
        """
        if options.names is not None and options.recover_names is not None:
            raise InputError("names and recover_names cannot be given together.")
        notes: dict[str, Any] = {}
        labels = read_labels(source / LABELS_NAME)
        note_source(source / LABELS_NAME, notes)
        names = _names(labels, options, notes)
        places = _find_photos(source, labels, notes)
        splits = {}
        for split, expected in COUNTS.items():
            path = source / f"{split}_list_500.txt"
            files = _read_list(path, labels)
            if not options.allow_partial:
                check_counts(path, [("images", expected, len(files))])
            note_source(path, notes)
            splits[split] = [
                Record(file, places.get(file, source / FOLDERS[0] / file).absolute(), labels[file]) for file in files
            ]
        splits = without_missing(self, splits, options, notes=notes)
        return Prepared(splits, notes, LabelSpace.flat(names))


def read_labels(path: Path) -> dict[str, tuple[int, ...]]:
    """The labels of every image, by file name.

    Raises:
        DataError: when the file is missing or of another form.
    """
    try:
        document = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", HINT) from error
    if not isinstance(document, dict):
        raise DataError(f"{path} cannot be read: it does not hold the labels of every image by its name.", HINT)
    for file, row in document.items():
        if not isinstance(row, list) or not all(type(label) is int for label in row):
            raise DataError(f"{path}: the labels of {file} are not a list of whole numbers.", HINT)
        if not all(0 <= label < NUM_LABELS for label in row):
            raise DataError(f"{path}: {file} has a label outside 0..{NUM_LABELS - 1}.")
    empty = [file for file, row in document.items() if not row]
    if empty:
        logger.warning("%s: %s no label: %s.", path, counted(len(empty), "image has", "images have"), named(empty))
    return {file: tuple(sorted(set(row))) for file, row in document.items()}


def _read_list(path: Path, labels: dict[str, tuple[int, ...]]) -> list[str]:
    """The image files of a split, every one with labels."""
    lines = read_lines(path, HINT)
    for number, file in lines:
        check_path(f"{path}, line {number}", file)
    files = list(dict.fromkeys(file for _, file in lines))
    unknown = [file for file in files if file not in labels]
    if unknown:
        raise DataError(
            f"{len(unknown):,} of {len(files):,} images of {path} have no labels in {LABELS_NAME}: {named(unknown)}."
        )
    return files


def _names(labels: dict[str, tuple[int, ...]], options: Vg500Options, notes: dict[str, Any]) -> Sequence[str]:
    """The label names; where they are recovered, with the agreement of each in the notes."""
    notes["names"] = "numbers"
    if options.names is not None:
        names = read_names(options.names)
        notes["names"] = "given"
        note_source(options.names, notes)
        return names
    if options.recover_names is None:
        logger.warning("The labels are called 0 to 499: give --names or --recover-names before embedding them as text.")
        return NUMBERS
    objects = read_objects(options.recover_names)
    note_source(options.recover_names, notes)
    matches = recover_names({file.partition(".")[0]: row for file, row in labels.items()}, objects)
    check_agreement(matches, options.min_agreement)
    notes["names"] = "recovered"
    notes["name_agreement"] = {match.name: round(match.agreement, 4) for match in matches}
    agreements = [match.agreement for match in matches]
    logger.info(
        "Recovered %d names; agreement %.3f in the mean, %.3f at least.",
        len(matches),
        sum(agreements) / len(agreements),
        min(agreements),
    )
    return [match.name for match in matches]


def _find_photos(source: Path, labels: Collection[str], notes: dict[str, Any]) -> dict[str, Path]:
    """Where the photos are; one that is in both folders is taken from the first, and noted unless the two are equal."""
    folders = [source / name for name in FOLDERS]
    found = [{entry.name for entry in os.scandir(folder)} if folder.is_dir() else set() for folder in folders]
    twice = sorted(found[0] & found[1] & set(labels))
    notes["differing_duplicates"] = [
        file for file in twice if not filecmp.cmp(folders[0] / file, folders[1] / file, shallow=False)
    ]
    if notes["differing_duplicates"]:
        logger.warning(
            "%s between %s and %s, e.g. %s; those of %s are taken.",
            counted(len(notes["differing_duplicates"]), "photo differs", "photos differ"),
            *FOLDERS,
            notes["differing_duplicates"][0],
            FOLDERS[0],
        )
    return {file: folder / file for folder, files in reversed(list(zip(folders, found, strict=True))) for file in files}
