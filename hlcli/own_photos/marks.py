"""Labels as columns: a column per label, 1 where an image shows it and 0 where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hlcli.errors import DataError, named

_YES, _NO = {"1", "1.0", "true", "yes", "x"}, {"0", "0.0", "false", "no"}

_Column = Literal["marks", "numbers", "text"]


def find_marks(
    path: Path, header: Sequence[str], columns: Sequence[int], lines: Sequence[Sequence[str]]
) -> tuple[list[tuple[str, ...]], list[int]]:
    """The labels of every line, and the columns that are no labels.

    Args:
        path: the table.
        header: names of its columns, those of labels among them.
        columns: which of them may be labels.
        lines: all other lines.

    Raises:
        DataError: when no column is of 0 and 1 alone, or others hold numbers too.
    """
    kinds = {
        column: _kind(path, header[column], {line[column].strip().casefold() for line in lines}) for column in columns
    }
    marks = [column for column, kind in kinds.items() if kind == "marks" and header[column]]
    if not marks:
        raise DataError(
            f"{path} has no column of labels that is known here (its columns: {', '.join(header)}).",
            "Call it `labels`; or write a column for each label, with 1 and 0.",
        )
    numbers = [header[column] for column, kind in kinds.items() if kind == "numbers" and header[column]]
    if numbers:
        raise DataError(
            f"{path}: {len(numbers)} columns beside those of 0 and 1 hold other numbers: {named(numbers)}.",
            "Write 1 where an image shows the label and 0 where not; remove columns that are no labels.",
        )
    labels = [tuple(header[i] for i in marks if line[i].strip().casefold() in _YES) for line in lines]
    return labels, [column for column in columns if column not in marks]


def _kind(path: Path, name: str, values: set[str]) -> _Column:
    """What a column holds.

    Raises:
        DataError: when some of its cells are empty and others 0: which of them is unknown?
    """
    if values - {""} and values <= _YES | _NO | {""}:
        if "" in values and values & _NO:
            raise DataError(
                f"{path}: column {name} has empty cells beside 0 and 1.",
                "Write 0 where the label is absent; a label that is not known counts as absent too.",
            )
        return "marks"
    return "numbers" if values - {""} and all(map(_is_number, values - {""})) else "text"


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
