"""Who works on a file of results, and what made it: both are kept in the hidden file `.OUT.work` beside OUT."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from hlcli.data.failures import failures_file
from hlcli.errors import InputError
from hlcli.json_text import parse_json
from hlcli.locks import open_locked, unlock


class WorkRecord:
    """The hidden file beside a file of results. It stays when the work is done, so that others can compare theirs.

    Args:
        out: the file of results.
        work: what decides the results, as JSON gives it back.
    """

    def __init__(self, out: Path, work: Mapping[str, Any]) -> None:
        self.out, self.work = out, work
        self.path = out.with_name(f".{out.name}.work")
        self._handle: IO[str] | None = None

    def lock(self) -> None:
        """Keep others away until `unlock`, or until this process ends.

        Raises:
            InputError: when another process is there.
            OSError: when the file cannot be written.
        """
        self._handle = open_locked(self.path)
        if self._handle is None:
            raise InputError(f"Another process writes {self.out}.", "Wait for it, or give another --out.")

    def unlock(self) -> None:
        """Let others in."""
        if self._handle is not None:
            unlock(self._handle)
            self._handle = None

    def write(self) -> None:
        """Say that the finished file was made by this work."""
        assert self._handle is not None, "`lock` opens it"
        self._handle.truncate(0)
        self._handle.write(json.dumps({"work": self.work, "files": self._digest()}) + "\n")
        self._handle.flush()

    def check(self) -> None:
        """Make sure that the finished file is what this work would give.

        Raises:
            InputError: when it is not, or nobody can tell.
        """
        line = self.path.read_bytes()
        differing = differences(line, self.work)
        hint = "Give another --out, or leave --resume out to write it anew."
        if differing is None or parse_json(line).get("files") != self._digest():
            raise InputError(
                f"{self.out} is finished, but nothing says what made it: {self.path} is not about this file.", hint
            )
        if differing:
            raise InputError(f"{self.out} is finished, but with other {', '.join(differing)}.", hint)

    def _digest(self) -> str:
        """Stands for the finished file and the list of failures beside it."""
        digest = hashlib.sha256()
        for number, path in enumerate(path for path in (self.out, failures_file(self.out)) if path.exists()):
            digest.update(b"\n\n" * bool(number))
            with open(path, "rb") as handle:
                while part := handle.read(1 << 20):
                    digest.update(part)
        return digest.hexdigest()


def differences(line: str | bytes, work: Mapping[str, Any]) -> list[str] | None:
    """In what `{"work": …}` is about another work; None when the line does not say."""
    try:
        other = parse_json(line)["work"]
        return [name for name in work if other.get(name) != work[name]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
