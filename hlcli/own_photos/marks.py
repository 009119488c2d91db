"""Labels as columns: a column per label, 1 where an image shows it and 0 where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hlcli.errors import DataError, named
from hlcli.plain_text import counted

_YES, _NO = {"1", "1.0", "true", "t", "yes", "y", "x"}, {"0", "0.0", "false", "f", "no", "n"}

_Column = Literal["marks", "numbers", "text"]


def has_marks(header: Sequence[str], columns: Sequence[int], lines: Sequence[Sequence[str]]) -> bool:
    """Whether a column says yes or no of every line, and nothing else."""
    return any(header[column] and _are_marks(_values(lines, column)) for column in columns)


def counts_rows(lines: Sequence[Sequence[str]], column: int, image: int) -> bool:
    """Whether a column numbers the rows of every image from 0, as tables of captions do."""
    cells_of: dict[str, list[str]] = {}
    for line in lines:
        cells_of.setdefault(line[image].strip(), []).append(line[column].strip())
    return len(cells_of) < len(lines) and all(cells == [*map(str, range(len(cells)))] for cells in cells_of.values())


def find_marks(
    path: Path, header: Sequence[str], columns: Sequence[int], lines: Sequence[Sequence[str]]
) -> tuple[list[tuple[str, ...]], list[int]]:
    """The labels of every line, and the columns that are labels.

    Args:
        path: the table.
        header: names of its columns, those of labels among them.
        columns: which of them may be labels.
        lines: all other lines.

    Raises:
        DataError: when no column is of 0 and 1 alone, or others hold 0 or 1 and something else.
    """
    kinds = {column: _kind(path, header[column], lines, column) for column in columns}
    marks = [column for column, kind in kinds.items() if kind == "marks" and header[column]]
    if not marks:
        raise DataError(
            f"{path} has no column of labels that is known here (its columns: {', '.join(header)}).",
            "Call it `labels`; or write a column for each label, with 1 and 0.",
        )
    numbers = [header[column] for column, kind in kinds.items() if kind == "numbers" and header[column]]
    if numbers:
        count = counted(len(numbers), "column beside those of 0 and 1 holds", "columns beside those of 0 and 1 hold")
        raise DataError(
            f"{path}: {count} other numbers: {named(numbers)}.",
            "Write 1 where an image shows the label and 0 where not; remove columns that are no labels.",
        )
    labels = [tuple(header[i] for i in marks if line[i].strip().casefold() in _YES) for line in lines]
    return labels, marks


def _values(lines: Sequence[Sequence[str]], column: int) -> set[str]:
    return {line[column].strip() for line in lines} - {""}


def _are_marks(values: set[str]) -> bool:
    return bool(values) and {value.casefold() for value in values} <= _YES | _NO


def _kind(path: Path, name: str, lines: Sequence[Sequence[str]], column: int) -> _Column:
    """What a column holds.

    Raises:
        DataError: when some of its cells are empty and others 0 (which of them is unknown?), or 0 or 1 and others text.
    """
    values = _values(lines, column)
    marks = {value for value in values if value.casefold() in _YES | _NO}
    if _are_marks(values):
        if any(value.casefold() in _NO for value in marks) and any(not line[column].strip() for line in lines):
            raise DataError(
                f"{path}: column {name} has empty cells beside 0 and 1.",
                "Write 0 where the label is absent; a label that is not known counts as absent too.",
            )
        return "marks"
    if values and all(map(_is_number, values)):
        return "numbers"
    if marks and name:
        raise DataError(
            f"{path}: column {name} has {named(sorted(values - marks))} beside {named(sorted(marks))}.",
            "Write 1 where an image shows the label and 0 where not; remove the column if it is no label.",
        )
    return "text"


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
