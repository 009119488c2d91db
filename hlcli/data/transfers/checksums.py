"""Checksums as data sets publish them, computed while a file is written or afterwards."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

_CHUNK_BYTES = 1 << 20


class Digest(Protocol):
    """A running checksum."""

    def update(self, data: bytes, /) -> None:
        """Take in the next bytes."""

    def hexdigest(self) -> str:
        """The sum of all bytes so far."""


@dataclass(frozen=True)
class Checksum:
    """The published sum of a file.

    Args:
        algorithm: `git-sha1` is git's blob id: sha1 over `blob <length>`, a zero byte, and the content.
        value: lower-case hexadecimal digits.
    """

    algorithm: Literal["sha256", "md5", "git-sha1"]
    value: str

    def start(self, num_bytes: int | None) -> Digest | None:
        """A running checksum of a file of that length; None where the length must be known first and is not."""
        if self.algorithm == "git-sha1":
            if num_bytes is None:
                return None
            return hashlib.sha1(b"blob %d\0" % num_bytes, usedforsecurity=False)
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def of_file(self, path: Path) -> str:
        """The sum of a whole file, as hexadecimal digits."""
        digest = self.start(path.stat().st_size)
        assert digest is not None
        feed(digest, path)
        return digest.hexdigest()


def feed(digest: Digest, path: Path) -> None:
    """Take the bytes of a file into a running checksum."""
    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)


def complaint_about(path: Path, checksum: Checksum | None, size: int | None) -> str | None:
    """What is wrong with a file on disk; None when its size and sum are as expected."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"it has {found:,} bytes, expected {size:,}"
    if checksum is not None and (value := checksum.of_file(path)) != checksum.value:
        return f"{checksum.algorithm} is {value}, expected {checksum.value}"
    return None
