"""Images that could not be decoded: what is said of each, and the file that lists them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hlcli.files import whole_file


class Failure(NamedTuple):
    """An image that could not be decoded, and why."""

    image: str
    error: str

    def to_json(self) -> dict[str, str]:
        """The line that is written for the image."""
        return {"image": self.image, "error": self.error}


def failures_file(out: str | Path) -> Path:
    """Where failures are listed.

    Examples:
        >>> str(failures_file("predictions.jsonl"))
        'predictions.failures.jsonl'
    """
    return Path(out).with_suffix(".failures.jsonl")


def write_failures(out: Path, failures: Sequence[Failure]) -> None:
    """List the failures beside the predictions; an older list disappears when there are none."""
    path = failures_file(out)
    if not failures:
        if path.is_file():
            path.unlink()
        return
    with whole_file(path) as handle:
        handle.writelines(json.dumps(failure.to_json(), ensure_ascii=False) + "\n" for failure in failures)


def printable_path(path: Path) -> str:
    """A path as text that can be written; bytes that are no UTF-8 appear as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
