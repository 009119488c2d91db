"""Unpacking archives that need not be trusted: every member is looked at before the first byte is written.

An archive is unpacked into a hidden folder first, and moved to its place only when it is whole.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, NamedTuple

from hlcli.data.transfers.archive_members import (
    Member,
    begins_as_zip,
    check_top,
    open_archive,
    safe_members,
    single_top,
)
from hlcli.data.transfers.room import MAKE_ROOM, how_to_mend
from hlcli.errors import DataError, HlcliError
from hlcli.files import free_bytes
from hlcli.progress import Progress

_CHUNK_BYTES = 1 << 20
_NUM_SAMPLES = 20

_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError),
    *(zlib.error, struct.error, EOFError, ValueError, OverflowError, RuntimeError, MemoryError),
)
_moving = threading.Lock()  # two archives may share folders

OnMember = Callable[[str, int, int], None]
"""Is told the path below the folder, the number of bytes and the CRC-32 of a file that was written."""


class Unpacked(NamedTuple):
    """What an archive held.

    Args:
        num_files: how many files.
        num_bytes: their bytes in all.
        samples: some of the files, as paths below the folder they are in now.
    """

    num_files: int
    num_bytes: int
    samples: tuple[str, ...]


class UnpackingBar:
    """A bar for several archives: it shows itself, and its clock starts, when the first one is unpacked.

    Args:
        stack: ends the bar.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._lock = threading.Lock()
        self._bar: Progress | None = None

    def begin(self) -> Progress:
        """The bar, shown."""
        with self._lock:
            if self._bar is None:
                self._bar = self._stack.enter_context(Progress("Unpacking", unit="file"))
            return self._bar


def is_archive(path: Path) -> bool:
    """Whether a file begins as a zip or tar archive does, compressed or not."""
    if begins_as_zip(path):
        return True
    try:
        open_archive(path).close()
    except (DataError, *_DAMAGED):
        return False
    return True


def unpack(
    archive: Path,
    folder: Path,
    *,
    staging: Path,
    on_files: Callable[[int], None] = lambda count: None,
    on_member: OnMember = lambda path, num_bytes, crc32: None,
) -> Unpacked:
    """Unpack a zip or tar archive; what is in the folder already stays, unless the archive has the same file.

    A sole folder at the top that has the name of `folder` is not nested in it once more.

    Args:
        archive: the file.
        folder: where its members go.
        staging: a hidden folder on the same disk, made and removed here.
        on_files: called with the number of files that are done, often; may raise to stop.
        on_member: called with every file that is written; it is in its place only when this function is done.

    Raises:
        DataError: when the archive is damaged, or one of its members is not safe to unpack.
        HlcliError: when there is no room, or files cannot be written.
    """
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with closing(open_archive(archive)) as opened:
            members = safe_members(opened, archive)
            top = single_top(members, folder.name)
            check_top(members, top, archive)
            num_bytes = sum(member.num_bytes for member in members)
            _check_room(archive, staging, num_bytes)
            staging.mkdir(parents=True)
            for member in members:
                crc32 = _write(opened, archive, member, staging)
                on_member(member.path.relative_to(top).as_posix(), member.num_bytes, crc32)
                on_files(1)
        with _moving:
            _move(staging / top, folder)
    except _DAMAGED as error:
        raise DataError(f"{archive} is damaged: {error or type(error).__name__}.") from error
    except OSError as error:
        message = f"{archive} cannot be unpacked into {folder}: {error.strerror or error}."
        raise HlcliError(message, how_to_mend(error)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    paths = [member.path.relative_to(top).as_posix() for member in members]
    return Unpacked(len(members), num_bytes, tuple(paths[:: max(1, -(-len(paths) // _NUM_SAMPLES))]))


def _check_room(archive: Path, staging: Path, num_bytes: int) -> None:
    free = free_bytes(staging)
    if num_bytes > free:
        raise HlcliError(
            f"{archive} unpacks to {num_bytes:,} bytes, but {free:,} are free on the disk of {staging.parent}.",
            MAKE_ROOM,
        )


def _write(opened: zipfile.ZipFile | tarfile.TarFile, archive: Path, member: Member, staging: Path) -> int:
    """Write one file and return its CRC-32; more or fewer bytes than it declared are an error."""
    place = staging / member.path
    place.parent.mkdir(parents=True, exist_ok=True)
    with _content(opened, member) as source, open(place, "xb") as target:
        done = crc32 = 0
        while chunk := source.read(_CHUNK_BYTES):
            done += len(chunk)
            if done > member.num_bytes:
                break
            target.write(chunk)
            crc32 = zlib.crc32(chunk, crc32)
    if done != member.num_bytes:
        raise DataError(f"{archive} is damaged: {member.path} is not as long as it says.")
    return crc32


def _content(opened: zipfile.ZipFile | tarfile.TarFile, member: Member) -> IO[bytes]:
    if isinstance(opened, zipfile.ZipFile):
        assert isinstance(member.entry, zipfile.ZipInfo)
        return opened.open(member.entry)
    assert isinstance(member.entry, tarfile.TarInfo)
    content = opened.extractfile(member.entry)
    assert content is not None  # only regular files come here
    return content


def _move(source: Path, target: Path) -> None:
    """Move what is in a folder into another one; whole folders at once where their name is free."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place)
        else:
            os.replace(entry, place)
