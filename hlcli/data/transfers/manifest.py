"""What a folder of fetched images remembers: which files are complete, and which could not be had.

`photos.jsonl` grows by one line per complete file, so that a later run needs to look at sizes only;
`failures.jsonl` lists what is missing after the last run.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.files import whole_file, writing
from hlcli.json_text import parse_json

logger = logging.getLogger(__name__)

_MANIFEST_NAME = "photos.jsonl"
FAILURES_NAME = "failures.jsonl"


class Kept(NamedTuple):
    """A complete file.

    Args:
        num_bytes: its length.
        url: where it came from; None for one placed by hand.
        sha256: its sum; None where an older version of hlcli listed it.
    """

    num_bytes: int
    url: str | None
    sha256: str | None = None


class FetchFailure(NamedTuple):
    """An image that could not be had.

    Args:
        id: the image.
        url: its address.
        attempts: how often it was asked for.
        status: the HTTP status of the last answer, if there was any.
        error: what went wrong the last time.
        final_url: where redirects led.
        time: when, in UTC.
        gone: whether the image will not come back, so that it is asked for again on demand only.
    """

    id: str
    url: str
    attempts: int
    status: int | None
    error: str
    final_url: str | None
    time: str
    gone: bool = False

    @property
    def is_gone(self) -> bool:
        """Whether the image will not come back."""
        return self.gone or self.status in (404, 410)


class Manifest:
    """The complete files of a folder, by their path inside it, as they were listed when this was made."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _MANIFEST_NAME
        self._folder = folder
        self.files: dict[str, Kept] = {}
        for row in read_lines(self._path):
            kept = Kept(row.get("bytes", 0), row.get("url"), row.get("sha256"))
            are_texts = all(isinstance(text, str | None) for text in kept[1:])
            if isinstance(row.get("file"), str) and type(row.get("bytes")) is int and are_texts:
                self.files[row["file"]] = kept

    def holds(self, file: str) -> bool:
        """Whether the file is listed and still has the length it had when it was complete."""
        kept = self.files.get(file)
        if kept is None:
            return False
        try:
            return os.stat(self._folder / file).st_size == kept.num_bytes
        except OSError:
            return False

    @contextmanager
    def writer(self) -> Iterator[Callable[[str, Kept], None]]:
        """A function that lists a file, by its path, that is complete under its final name.

        Raises:
            HlcliError: when the list cannot be written.
        """
        with writing(self._path):
            torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
            with open(self._path, "a", encoding="utf-8") as handle:
                if torn:  # the last line of a run that was killed
                    handle.write("\n")

                def add(file: str, kept: Kept) -> None:
                    row = {"file": file, "bytes": kept.num_bytes, "url": kept.url, "sha256": kept.sha256}
                    handle.write(json.dumps(row) + "\n")
                    handle.flush()

                yield add


def read_failures(folder: Path) -> dict[str, FetchFailure]:
    """The images missing after the last run, by id; empty without a list."""
    failures = {}
    for row in read_lines(folder / FAILURES_NAME):
        try:
            failure = FetchFailure(**row)
        except TypeError:  # of another version: the image is asked for again
            continue
        if isinstance(failure.id, str):
            failures[failure.id] = failure
    return failures


def write_failures(folder: Path, failures: Iterable[FetchFailure]) -> None:
    """Replace the list of missing images; without any, there is no list."""
    rows = [failure._asdict() for failure in failures]
    path = folder / FAILURES_NAME
    if not rows:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; nothing if there is no file, torn lines are passed over."""
    if not path.exists():
        return
    with open(path, encoding="utf-8", errors="replace") as handle:
        for line in handle:
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row
