"""Tables of labels or captions in the forms that people have; what can be read in two ways is refused."""

from __future__ import annotations

import ast
import csv
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from unicodedata import normalize

from hlcli.data.datasets.folder import csv_lines, read_text
from hlcli.errors import DataError, named
from hlcli.own_photos.marks import counts_rows, find_marks, has_marks
from hlcli.plain_text import counted, is_text

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_Kind = Literal["image", "labels", "captions", "split"]

_COLUMN_NAMES: dict[_Kind, str] = {
    "image": "image images filename filepath file path imagefile imagepath imagename imageid img photo picture id name",
    "labels": "labels label tags tag classes class classname categories category keywords keyword labelname objects",
    "captions": "captions caption sentences sentence text description comment",
    "split": "split subset set partition phase",
}
"""Of each kind the names that its column goes by, the likelier first; without spaces and underlines."""

_SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "": "",
}  # fmt: skip

_VALUES = {"value", "confidence", "score", "present", "presence", "target"}
"""Columns beside a label that may say that an image does not show it."""


class OwnRow(NamedTuple):
    """What a table says of an image; `file` is its path in the folder of images, None where it is not there."""

    line: int
    image: str
    file: str | None
    labels: tuple[str, ...]
    captions: tuple[str, ...]
    split: str

    @property
    def place(self) -> str:
        """What is the same for the same image."""
        return self.file or os.path.normpath(self.image)


class OwnTable(NamedTuple):
    """A table, row by row as it is written.

    Args:
        path: its file.
        rows: its lines without the first.
        has_labels: whether it is about labels.
        has_marks: whether a column for each label says so.
        has_captions: whether it has captions.
        form: how it was read, in words.
        left_aside: columns without a meaning here.
    """

    path: Path
    rows: list[OwnRow]
    has_labels: bool
    has_marks: bool
    has_captions: bool
    form: str
    left_aside: tuple[str, ...]


_Lines = list[tuple[int, list[str]]]
_Find = Callable[[str], str | None]


class _Sheet(NamedTuple):
    """The cells of a table: names of its columns, its other lines, the column of each kind, and those of none."""

    path: Path
    header: list[str]
    lines: _Lines
    columns: dict[_Kind, int]
    left: list[int]

    def cells(self, kind: _Kind) -> list[str]:
        """The column of a kind."""
        return [line[self.columns[kind]].strip() for _, line in self.lines]

    def split(self, kind: Literal["labels", "captions"], *, is_ours: bool) -> tuple[list[tuple[str, ...]], str]:
        """What the cells of a column list, and how it was read, in words."""
        parts, how = _split_cells(self.path, kind, self.cells(kind), is_ours=is_ours)
        return parts, f"column {self.header[self.columns[kind]]}, {how}"


class _Labels(NamedTuple):
    """The labels of every line, where they stand, how they were read, in words, and columns without a meaning."""

    of_lines: list[tuple[str, ...]]
    stand_in: Literal["a column", "marks", "nothing"]
    form: list[str]
    aside: list[int]


def read_own_table(path: Path, find: _Find) -> OwnTable:
    """Read a table with one row per image, or per image and label or caption.

    Args:
        path: a CSV file, or one with semicolons, tabs or bars between its columns; its first line names them.
        find: the file that a name of an image means.

    Raises:
        DataError: when it cannot be read, or can be read in two ways: what is unclear, and what to do.
    """
    delimiter, header, lines = _split_columns(path)
    columns, left = _choose_columns(path, header, lines, find)
    sheet = _Sheet(path, header, lines, columns, left)
    labels = next(labels for read in _READERS if (labels := read(sheet)) is not None)
    form = [f"columns separated by {_DELIMITERS[delimiter]}", *labels.form]
    captions: list[tuple[str, ...]] = [()] * len(lines)
    if "captions" in columns:
        captions, how = sheet.split("captions", is_ours=True)
        form.append(how)
    splits = sheet.cells("split") if "split" in columns else [""] * len(lines)
    splits = [_split_name(path, number, cell) for (number, _), cell in zip(lines, splits, strict=True)]
    rows = [
        OwnRow(number, image, find(image), labels.of_lines[i], captions[i], splits[i])
        for i, ((number, _), image) in enumerate(zip(lines, sheet.cells("image"), strict=True))
    ]
    return OwnTable(
        path,
        rows,
        has_labels=labels.stand_in != "nothing",
        has_marks=labels.stand_in == "marks",
        has_captions="captions" in columns,
        form="; ".join(form),
        left_aside=tuple(header[column] or "(without name)" for column in labels.aside),
    )


def _read_column(sheet: _Sheet) -> _Labels | None:
    """A column that names labels."""
    if "labels" not in sheet.columns:
        return None
    _refuse_values(sheet.path, sheet.header, sheet.left, sheet.lines)
    labels, how = sheet.split("labels", is_ours=[*map(_plain, sheet.header[:2])] == ["image", "labels"])
    return _Labels(labels, "a column", [how], sheet.left)


def _read_marks(sheet: _Sheet) -> _Labels | None:
    """A column for each label; beside captions only where it is sure."""
    texts, maybe = [line for _, line in sheet.lines], sheet.left
    if "captions" in sheet.columns:
        maybe = [column for column in sheet.left if not counts_rows(texts, column, sheet.columns["image"])]
        if not has_marks(sheet.header, maybe, texts):
            return None
    labels, marks = find_marks(sheet.path, sheet.header, maybe, texts)
    aside = [column for column in sheet.left if column not in marks]
    return _Labels(labels, "marks", [f"{counted(len(marks), 'column')} of 0 and 1"], aside)


def _read_nothing(sheet: _Sheet) -> _Labels:
    """Captions alone."""
    return _Labels([()] * len(sheet.lines), "nothing", [], sheet.left)


_READERS: tuple[Callable[[_Sheet], _Labels | None], ...] = (_read_column, _read_marks, _read_nothing)
"""The forms in which labels stand; the first that fits is taken."""


def _split_columns(path: Path) -> tuple[str, list[str], _Lines]:
    """The character between columns, the names of the columns as they are written, and all other lines.

    Raises:
        DataError: when the first line names no column of images, or lines differ in their number of columns.
    """
    text, fitting = normalize("NFC", read_text(path)), {}
    skipped = int(text.startswith("sep="))  # as Excel wants it, before the names of the columns
    first = text.splitlines()[skipped : skipped + 1]
    for delimiter in _DELIMITERS:
        try:
            header = [cell.strip() for cell in next(csv.reader(first, delimiter=delimiter), [])]
        except csv.Error:
            continue
        if len(header) > 1 and any(_plain(cell) in _COLUMN_NAMES["image"].split() for cell in header):
            fitting[delimiter] = header
    if len(fitting) != 1:
        what = "names no column of image names that is known here" if not fitting else "can be cut in several ways"
        said = f"its first line {what} (got {''.join(first)[:80]!r})." if text.strip() else "it is empty."
        raise DataError(f"{path}: {said}", "Write a first line that names the columns, such as `image,labels`.")
    ((delimiter, header),) = fitting.items()
    lines = [(n, line) for n, line in csv_lines(path, text, delimiter)[1 + skipped :] if any(map(str.strip, line))]
    uneven = [number for number, line in lines if len(line) != len(header)]
    if uneven:
        raise DataError(
            f"{path}: {counted(len(uneven), 'line has', 'lines have')} not {len(header)} columns as the first, such as "
            f"line {uneven[0]}.",
            f'Put cells that hold {_DELIMITERS[delimiter]} in "quotes".',
        )
    if not lines:
        raise DataError(f"{path} lists no image.")
    return delimiter, header, lines


def _choose_columns(
    path: Path, header: Sequence[str], lines: _Lines, find: _Find
) -> tuple[dict[_Kind, int], list[int]]:
    """The column of each kind that there is, and those of no kind.

    Raises:
        DataError: when several columns can be meant.
    """
    columns: dict[_Kind, int] = {}
    for kind, names in _COLUMN_NAMES.items():
        known = names.split()
        fitting = [i for i, cell in enumerate(header) if _plain(cell) in known and i not in columns.values()]
        fitting.sort(key=lambda i: known.index(_plain(header[i])))
        if kind == "image":  # of several that with most names of files; there is one at least
            fitting = [max(fitting, key=lambda i: sum(_is_file(line[i].strip(), find) for _, line in lines[:200]))]
        if len(fitting) > 1:
            listed = ", ".join(header[i] for i in fitting)
            raise DataError(f"{path}: several columns can be the {kind}: {listed}.", "Leave one of them, or rename it.")
        if fitting:
            columns[kind] = fitting[0]
    return columns, [i for i in range(len(header)) if i not in columns.values()]


def _is_file(name: str, find: _Find) -> bool:
    try:
        return find(name) is not None
    except DataError:
        return True


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def _refuse_values(path: Path, header: Sequence[str], left: Sequence[int], lines: _Lines) -> None:
    """Refuse labels with a number beside them, which may say that they are absent."""
    for column in left:
        values = {line[column].strip() for _, line in lines}
        if _plain(header[column]) in _VALUES and len(values) > 1:
            raise DataError(
                f"{path}: column {header[column]} has {named(sorted(values))} beside the labels; "
                "whether all of these mean that the image shows the label is not known here.",
                "Leave the lines whose labels are there, and remove the column.",
            )


def _split_cells(
    path: Path, kind: Literal["labels", "captions"], cells: Sequence[str], *, is_ours: bool
) -> tuple[list[tuple[str, ...]], str]:
    """The labels or captions of every cell, and how they are separated, in words.

    Raises:
        DataError: when it is not clear what separates them.
    """
    filled = [cell for cell in cells if cell]
    if filled and all(cell.startswith("[") and cell.endswith("]") for cell in filled):
        return [_read_list(path, cell) for cell in cells], f"{kind} in lists"
    found = [mark for mark in (";|," if kind == "labels" else "|") if any(mark in cell for cell in cells)]
    if is_ours and ";" in found:
        found = [";"]
    if len(found) > 1:
        raise DataError(
            f"{path}: cells of {kind} hold {' and '.join(map(repr, found))}; which of these "
            f"separates {kind} is not known.",
            "Separate labels by `;` alone, in a column that is called `labels` right behind `image`.",
        )
    if not found:
        return [(cell,) if cell else () for cell in cells], f"one of the {kind} in a line"
    parts = [tuple(part.strip() for part in cell.split(found[0]) if part.strip()) for cell in cells]
    return parts, f"{kind} separated by {_DELIMITERS[found[0]]}"


def _read_list(path: Path, cell: str) -> tuple[str, ...]:
    """A cell such as `["dog", "cat"]`, as other programs write lists."""
    if not cell:
        return ()
    try:
        values = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        values = [None]
    if not all(isinstance(value, str | int) and is_text(str(value)) for value in values):
        raise DataError(f"{path}: {cell[:80]!r} is not a list of names.", "Separate labels by `;`.")
    return tuple(text for value in values if (text := str(value).strip()))


def _split_name(path: Path, number: int, cell: str) -> str:
    """train, val, test, or nothing."""
    if cell.casefold() not in _SPLITS:
        raise DataError(f"{path}, line {number}: split must be train, val or test (got {cell!r}).")
    return _SPLITS[cell.casefold()]
