"""A person's table as a label file of ours: one row per image, each with its split."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hlcli.data.datasets.folder import SPLITS, read_table
from hlcli.errors import DataError
from hlcli.files import whole_file
from hlcli.own_photos.tables import OwnRow, OwnTable


def merge_rows(table: OwnTable) -> list[OwnRow]:
    """One row per image, in the order of their first lines.

    Rows of an image that give one label or caption each are put together.

    Raises:
        DataError: when an image has several rows that differ otherwise.
    """
    by_image: dict[str, list[OwnRow]] = {}
    for row in table.rows:
        by_image.setdefault(row.place, []).append(row)
    has_lists = any(len(row.labels) > 1 for row in table.rows)
    merged = []
    for first, *more in by_image.values():
        for row in more:
            differ = set(row.labels) != set(first.labels)
            if row.split != first.split or (differ and has_lists):
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
            f"{path}: {len(odd)} times a {what} holds {mark!r}, which separates {what}s, as {odd[0]!r}.",
            f"Take it out, or write another character for it, in the {what}s.",
        )


_Meaning = list[tuple[str, set[str], str, tuple[str, ...]]]


def _as_read(path: Path) -> _Meaning:
    rows = read_table(path, 0.0, 0.0).rows
    return [(row.image, set(row.labels), row.split, row.captions) for row in rows]


def _as_meant(rows: Sequence[OwnRow]) -> _Meaning:
    return [(row.file or "", set(row.labels), row.split, row.captions) for row in rows]


def count_splits(rows: Sequence[OwnRow]) -> dict[str, int]:
    """Images of every split that has any."""
    counts = Counter(row.split for row in rows)
    return {split: counts[split] for split in SPLITS if counts[split]}
