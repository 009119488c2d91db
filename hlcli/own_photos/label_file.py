"""A person's table as a label file of ours: one row per image, each with its split."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from hlcli.data.datasets.folder import SPLITS, read_table
from hlcli.data.labels import LabelSpace
from hlcli.errors import DataError, named, nearest
from hlcli.files import whole_file
from hlcli.own_photos.image_names import plain_path
from hlcli.own_photos.tables import OwnRow, OwnTable
from hlcli.plain_text import counted


def merge_rows(table: OwnTable) -> list[OwnRow]:
    """One row per image, in the order of their first lines.

    Rows of an image that give one label or caption each are put together.

    Raises:
        DataError: when an image has several rows that differ otherwise, or several names.
    """
    by_image: dict[str, list[OwnRow]] = {}
    for row in table.rows:
        by_image.setdefault(row.place, []).append(row)
    are_whole = table.has_marks or any(len(row.labels) > 1 for row in table.rows)
    merged = []
    for first, *more in by_image.values():
        for row in more:
            _refuse_other_name(table.path, first, row)
            differ = set(row.labels) != set(first.labels)
            if row.split != first.split or (differ and are_whole):
                raise DataError(
                    f"{table.path}: {first.image} is listed in line {first.line} and in line {row.line}, with other "
                    f"{'labels' if row.split == first.split else 'splits'}.",
                    "Leave one row per image, or one row for each label of an image.",
                )
        rows = (first, *more)
        labels = dict.fromkeys(label for row in rows for label in row.labels)
        captions = tuple(caption for row in rows for caption in row.captions)
        merged.append(first._replace(labels=tuple(labels), captions=captions))
    return merged


def _refuse_other_name(path: Path, first: OwnRow, row: OwnRow) -> None:
    """Refuse two names for one image: one of them may be of an image that is not there."""
    if first.file is not None and plain_path(row.image) != plain_path(first.image):
        raise DataError(
            f"{path}: {first.image} in line {first.line} and {row.image} in line {row.line} both mean {first.file}.",
            "Write one name for one image; remove the line of an image that is not there.",
        )


def spell_labels(table: OwnTable, rows: Sequence[OwnRow], space: LabelSpace) -> list[OwnRow]:
    """Rows whose labels are spelt as in the label space, where they differ in Unicode's form alone.

    Raises:
        DataError: for labels that the space does not have.
    """
    if not table.has_labels:
        return [*rows]
    spelling = {normalize("NFC", name): name for name in space.label_names}
    there = {row.place for row in rows}
    told = [row for row in reversed(table.rows) if row.place in there]
    unknown = sorted({label: row.line for row in told for label in row.labels if label not in spelling}.items())
    if unknown:
        near = nearest(unknown[0][0], spelling)
        listed = named([f"{label} (line {line})" for label, line in unknown])
        raise DataError(
            f"{table.path}: {counted(len(unknown), 'label is', 'labels are')} not in the label space: {listed}.",
            f"Did you mean {near[0]}?" if near else "Add them to the hierarchy, or correct the table.",
        )
    return [row._replace(labels=tuple(spelling[label] for label in row.labels)) for row in rows]


def is_ours(table: OwnTable, rows: Sequence[OwnRow]) -> bool:
    """Whether the data set reads a table as it is, and as these rows."""
    try:
        return all(row.split for row in table.rows) and _as_read(table.path) == _as_meant(rows)
    except DataError:
        return False


def write_label_file(path: Path, table: OwnTable, rows: Sequence[OwnRow]) -> None:
    """Write the rows as the data set reads them.

    Raises:
        DataError: for a label or a caption that such a file cannot hold.
    """
    _refuse(table.path, "label", ";", [label for row in rows for label in row.labels])
    _refuse(table.path, "caption", "|", [caption for row in rows for caption in row.captions])
    header = ["image", "labels" if table.has_labels else "captions", "split"]
    if table.has_labels and table.has_captions:
        header.append("captions")
    with whole_file(path, newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            cells = {"image": row.file, "labels": ";".join(row.labels), "captions": "|".join(row.captions)}
            writer.writerow([{**cells, "split": row.split}[name] for name in header])
    assert _as_read(path) == _as_meant(rows), "the label file does not say what the table says"


def _refuse(path: Path, what: str, mark: str, texts: Sequence[str]) -> None:
    odd = [text for text in texts if mark in text]
    if odd:
        raise DataError(
            f"{path}: {counted(len(odd), 'time')} a {what} holds {mark!r}, which separates {what}s, as {odd[0]!r}.",
            f"Take it out, or write another character for it, in the {what}s.",
        )


_Meaning = list[tuple[str, set[str], str, tuple[str, ...]]]


def _as_read(path: Path) -> _Meaning:
    rows = read_table(path, 0.0, 0.0).rows
    return [(row.image, set(row.labels), row.split, row.captions) for row in rows]


def _as_meant(rows: Sequence[OwnRow]) -> _Meaning:
    return [(row.file or "", set(row.labels), row.split, row.captions) for row in rows]


def found_by_end(rows: Sequence[OwnRow]) -> tuple[str, ...]:
    """Names that are no path in the folder of images, with the image that each was taken for."""
    others = [row for row in rows if row.file is not None and plain_path(row.image) != normalize("NFC", row.file)]
    return tuple(f"{row.image} → {row.file}" for row in others)


def count_splits(rows: Sequence[OwnRow]) -> dict[str, int]:
    """Images of every split that has any."""
    counts = Counter(row.split for row in rows)
    return {split: counts[split] for split in SPLITS if counts[split]}
