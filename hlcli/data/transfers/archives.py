"""Unpacking archives that need not be trusted: every member is looked at before the first byte is written.

An archive is unpacked into a hidden folder first, and moved to its place only when it is whole.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import threading
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from hlcli.errors import DataError, HlcliError

_CHUNK_BYTES = 1 << 20
_MOST_MEMBERS = 5_000_000
ALWAYS_ALLOWED_BYTES = 4 << 30
LARGEST_GROWTH = 100
"""How many times its own size an archive may grow, once it is beyond `ALWAYS_ALLOWED_BYTES`."""

_NUM_SAMPLES = 20

_ZIP_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError),
    *(zlib.error, struct.error, EOFError, ValueError, OverflowError, RuntimeError, MemoryError),
)
_moving = threading.Lock()  # two archives may share folders


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


class _Member(NamedTuple):
    path: PurePosixPath
    num_bytes: int
    entry: zipfile.ZipInfo | tarfile.TarInfo


def is_archive(path: Path) -> bool:
    """Whether a file begins as a zip or tar archive does, compressed or not."""
    return _begins_as_zip(path) or tarfile.is_tarfile(path)


def unpack(
    archive: Path, folder: Path, *, staging: Path, on_files: Callable[[int], None] = lambda count: None
) -> Unpacked:
    """Unpack a zip or tar archive; what is in the folder already stays, unless the archive has the same file.

    A sole folder at the top that has the name of `folder` is not nested in it once more.

    Args:
        archive: the file.
        folder: where its members go.
        staging: a hidden folder on the same disk, made and removed here.
        on_files: called with the number of files that are done, often; may raise to stop.

    Raises:
        DataError: when the archive is damaged, or one of its members is not safe to unpack.
        HlcliError: when there is no room, or files cannot be written.
    """
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with closing(_open(archive)) as opened:
            members = _safe_members(opened, archive)
            num_bytes = sum(member.num_bytes for member in members)
            _check_room(archive, staging, num_bytes)
            staging.mkdir(parents=True)
            for member in members:
                _write(opened, archive, member, staging)
                on_files(1)
        top = _single_top(staging, folder.name)
        _check_top(top, archive)
        with _moving:
            _move(top, folder)
    except _DAMAGED as error:
        raise DataError(f"{archive} is damaged: {error or type(error).__name__}.") from error
    except OSError as error:
        raise HlcliError(f"{archive} cannot be unpacked into {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    paths = [member.path.as_posix() for member in members]
    if top != staging:
        paths = [path.partition("/")[2] for path in paths]
    return Unpacked(len(members), num_bytes, tuple(paths[:: max(1, -(-len(paths) // _NUM_SAMPLES))]))


def _begins_as_zip(path: Path) -> bool:
    with open(path, "rb") as handle:
        return handle.read(4) in _ZIP_BEGINNINGS


def _open(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if _begins_as_zip(archive):
        return zipfile.ZipFile(archive)
    try:
        return tarfile.open(archive, "r:*")
    except tarfile.ReadError as error:
        raise DataError(f"{archive} is not a zip or tar archive, or it is damaged from the beginning.") from error


def _safe_members(opened: zipfile.ZipFile | tarfile.TarFile, archive: Path) -> list[_Member]:
    """The files of an archive, in its order.

    Raises:
        DataError: for the first thing that does not belong into a data set.
    """
    limit = max(ALWAYS_ALLOWED_BYTES, LARGEST_GROWTH * archive.stat().st_size)
    members: list[_Member] = []
    spellings: dict[str, str] = {}  # by what a careless system makes of a name
    total = 0
    for name, num_bytes, is_folder, entry in _listing(opened, archive):
        path = _safe_path(name, archive)
        _note_spelling(path, spellings, archive)
        if is_folder:
            continue
        if not path.parts:
            raise _unsafe(archive, name, "has no name")
        total += num_bytes
        members.append(_Member(path, num_bytes, entry))
        if total > limit or len(members) > _MOST_MEMBERS:
            raise DataError(
                f"{archive} is not unpacked: it grows beyond {limit:,} bytes or {_MOST_MEMBERS:,} files.",
                "No known data set does; where did the file come from?",
            )
    if not members:
        raise DataError(f"{archive} has no file inside.")
    _check_files(members, archive)
    return members


def _listing(
    opened: zipfile.ZipFile | tarfile.TarFile, archive: Path
) -> Iterator[tuple[str, int, bool, zipfile.ZipInfo | tarfile.TarInfo]]:
    """Name, length and kind of every member, as declared; anything but files and folders is refused."""
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(archive, info.filename, "is a link or a device")
            if info.flag_bits & 1:
                raise _unsafe(archive, info.filename, "is encrypted")
            is_folder = kind == stat.S_IFDIR or info.orig_filename.endswith(("/", "\\"))
            yield info.orig_filename, info.file_size, is_folder, info
        return
    for entry in opened:
        if not (entry.isreg() or entry.isdir()):
            raise _unsafe(archive, entry.name, "is a link or a device")
        if entry.issparse():
            raise _unsafe(archive, entry.name, "is stored with holes")
        yield entry.name, entry.size, entry.isdir(), entry
    _check_end(opened, archive)


def _check_end(opened: tarfile.TarFile, archive: Path) -> None:
    """What follows the last member are two blocks of zeros or more: `tarfile` takes a damaged header for the end.

    A compressed stream is read to its own end, where its sum is compared.
    """
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    num_zeros = 0
    while chunk := opened.fileobj.read(_CHUNK_BYTES):
        if chunk.count(0) != len(chunk):
            raise DataError(f"{archive} is damaged: what follows byte {opened.offset:,} of the tar is no member.")
        num_zeros += len(chunk)
    if num_zeros < 2 * tarfile.BLOCKSIZE:
        raise DataError(f"{archive} is damaged: it is cut off, the mark of its end is missing.")


def _safe_path(name: str, archive: Path) -> PurePosixPath:
    """A member's path with forward slashes; programs on Windows write the others."""
    plain = name.replace("\\", "/")
    path = PurePosixPath(plain)
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts:
        raise _unsafe(archive, name, "leads out of the folder")
    if any(ord(letter) < 32 for letter in name):
        raise _unsafe(archive, name, "has control characters in its name")
    return path


def _note_spelling(path: PurePosixPath, spellings: dict[str, str], archive: Path) -> None:
    """Refuse names that differ in case or accents' encoding alone: on some systems they are one file."""
    text = path.as_posix()
    while text and text != ".":
        folded = unicodedata.normalize("NFC", text).casefold()
        known = spellings.setdefault(folded, text)
        if known != text:
            raise _unsafe(archive, text, f"has almost the same name as {known!r}")
        text = text.rpartition("/")[0]


def _check_files(members: list[_Member], archive: Path) -> None:
    """No file twice, and no file where another one needs a folder."""
    files: set[PurePosixPath] = set()
    for member in members:
        if member.path in files:
            raise _unsafe(archive, str(member.path), "is there twice")
        files.add(member.path)
    for folder in {member.path.parent for member in members}:
        for place in (folder, *folder.parents):
            if place in files:
                raise _unsafe(archive, str(place), "is a file and a folder")


def _check_room(archive: Path, staging: Path, num_bytes: int) -> None:
    parent = next(place for place in staging.absolute().parents if place.exists())
    free = shutil.disk_usage(parent).free
    if num_bytes > free:
        raise HlcliError(
            f"{archive} unpacks to {num_bytes:,} bytes, but {free:,} are free on the disk of {parent}.",
            "Make room, or give another --root, and run the same command again.",
        )


def _write(opened: zipfile.ZipFile | tarfile.TarFile, archive: Path, member: _Member, staging: Path) -> None:
    """Write one file; more or fewer bytes than it declared are an error."""
    place = staging / member.path
    place.parent.mkdir(parents=True, exist_ok=True)
    with _content(opened, member) as source, open(place, "xb") as target:
        done = 0
        while chunk := source.read(_CHUNK_BYTES):
            done += len(chunk)
            if done > member.num_bytes:
                break
            target.write(chunk)
    if done != member.num_bytes:
        raise DataError(f"{archive} is damaged: {member.path} is not as long as it says.")


def _content(opened: zipfile.ZipFile | tarfile.TarFile, member: _Member) -> IO[bytes]:
    if isinstance(opened, zipfile.ZipFile):
        assert isinstance(member.entry, zipfile.ZipInfo)
        return opened.open(member.entry)
    assert isinstance(member.entry, tarfile.TarInfo)
    content = opened.extractfile(member.entry)
    assert content is not None  # only regular files come here
    return content


def _single_top(staging: Path, name: str) -> Path:
    """The folder whose content is wanted: a sole one of that name, or the hidden folder itself."""
    entries = list(staging.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() and entries[0].name == name else staging


def _check_top(top: Path, archive: Path) -> None:
    """Hidden names at the top are our own: the lock, the notes on what is done."""
    hidden = next((entry.name for entry in sorted(top.iterdir()) if entry.name.startswith(".")), None)
    if hidden is not None:
        raise _unsafe(archive, hidden, "is hidden")


def _move(source: Path, target: Path) -> None:
    """Move what is in a folder into another one; whole folders at once where their name is free."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place)
        else:
            os.replace(entry, place)


def _unsafe(archive: Path, member: str, why: str) -> DataError:
    return DataError(f"{archive} is not unpacked: {member!r} {why}.", "It does not look like the published file.")
