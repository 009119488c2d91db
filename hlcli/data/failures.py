"""Images that could not be decoded: what is said of each, and the file that lists them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.errors import DataError
from hlcli.files import whole_file
from hlcli.json_text import parse_json

_OTHER_FORMATS = (".csv", ".parquet", ".json")
"""Of predictions, besides `.jsonl`."""


class Failure(NamedTuple):
    """An image that could not be decoded, and why."""

    image: str
    error: str

    def to_json(self) -> dict[str, str]:
        """The line that is written for the image."""
        return {"image": self.image, "error": self.error}


def failures_file(out: str | Path) -> Path:
    """Where failures are listed; predictions of one name in several formats have a list each.

    Examples:
        >>> str(failures_file("predictions.jsonl")), str(failures_file("predictions.csv"))
        ('predictions.failures.jsonl', 'predictions.csv.failures.jsonl')
    """
    path = Path(out)
    return Path(f"{path}.failures.jsonl") if path.suffix in _OTHER_FORMATS else path.with_suffix(".failures.jsonl")


def write_failures(out: Path, failures: Sequence[Failure]) -> Path | None:
    """List the failures beside the predictions; an older list disappears when there are none.

    Returns:
        The list; None where there is none.
    """
    path = failures_file(out)
    if not failures:
        if path.is_file():
            path.unlink()
        return None
    with whole_file(path) as handle:
        handle.writelines(json.dumps(failure.to_json(), ensure_ascii=False) + "\n" for failure in failures)
    return path


def read_failures(out: str | Path) -> list[Failure]:
    """The failures that are listed beside predictions; none where there is no list.

    Raises:
        DataError: when the list is damaged.
    """
    path = failures_file(out)
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [failure_of(parse_json(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is no list of failures: {error}.", "Delete it, and begin anew.") from error


def failure_of(row: Any) -> Failure:
    """The failure that a line was written for.

    Raises:
        TypeError: when it was written for something else.
    """
    if not isinstance(row, dict) or {*row} != {"image", "error"} or not all(type(v) is str for v in row.values()):
        raise TypeError(f"an image and its error were expected, got {row!r:.80}")
    return Failure(**row)


def printable_path(path: str | Path) -> str:
    """A path as text that can be written; bytes that are no UTF-8 appear as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
