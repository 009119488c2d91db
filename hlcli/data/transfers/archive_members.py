"""What is inside an archive: every member is looked at, and refused where it is not safe to unpack."""

from __future__ import annotations

import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple, Self

from hlcli.errors import DataError

_CHUNK_BYTES = 1 << 20
_MOST_MEMBERS = 5_000_000
_LONGEST_NAME = 1000
_LONGEST_HEADER_BYTES = 1 << 20
ALWAYS_ALLOWED_BYTES = 4 << 30
LARGEST_GROWTH = 100
"""How many times its own size an archive may grow, once it is beyond `ALWAYS_ALLOWED_BYTES`."""

_ZIP_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")
_LONG_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


class Member(NamedTuple):
    """A file in an archive, and where it goes."""

    path: PurePosixPath
    num_bytes: int
    entry: zipfile.ZipInfo | tarfile.TarInfo


class _Header(tarfile.TarInfo):
    """A header of a tar; what it brings into memory must be short."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header, refused where `tarfile` would go on to read its long names and attributes, or its holes."""
        header = super().frombuf(buf, encoding, errors)
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise ValueError(f"{header.name!r} is stored with holes")
        if header.type in _LONG_HEADERS and header.size > _LONGEST_HEADER_BYTES:
            raise ValueError(f"a header of {header.size:,} bytes")
        return header


def begins_as_zip(path: Path) -> bool:
    """Whether the first bytes are those of a zip archive."""
    with open(path, "rb") as handle:
        return handle.read(4) in _ZIP_BEGINNINGS


def open_archive(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    """Open a zip or tar archive, compressed or not.

    Raises:
        DataError: when it is neither.
    """
    if begins_as_zip(archive):
        return zipfile.ZipFile(archive)
    try:
        return tarfile.open(archive, "r:*", tarinfo=_Header)
    except tarfile.ReadError as error:
        raise DataError(f"{archive} is not a zip or tar archive, or it is damaged from the beginning.") from error


def safe_members(opened: zipfile.ZipFile | tarfile.TarFile, archive: Path) -> list[Member]:
    """The files of an archive, in its order.

    Raises:
        DataError: for the first thing that does not belong into a data set.
    """
    limit = max(ALWAYS_ALLOWED_BYTES, LARGEST_GROWTH * archive.stat().st_size)
    members: list[Member] = []
    spellings: dict[str, str] = {}  # by what a careless system makes of a name
    total = 0
    for number, (name, num_bytes, is_folder, entry) in enumerate(_listing(opened, archive, limit)):
        path = _safe_path(name, archive)
        _note_spelling(path, spellings, archive)
        total += num_bytes
        if total > limit or number >= _MOST_MEMBERS:
            raise DataError(
                f"{archive} is not unpacked: it grows beyond {limit:,} bytes or {_MOST_MEMBERS:,} files.",
                "No known data set does; where did the file come from?",
            )
        if is_folder:
            continue
        if not path.parts:
            raise _unsafe(archive, name, "has no name")
        members.append(Member(path, num_bytes, entry))
    if not members:
        raise DataError(f"{archive} has no file inside.")
    _check_files(members, archive)
    return members


def _listing(
    opened: zipfile.ZipFile | tarfile.TarFile, archive: Path, limit: int
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
    _check_end(opened, archive, limit)


def _check_end(opened: tarfile.TarFile, archive: Path, limit: int) -> None:
    """What follows the last member are two blocks of zeros or more: `tarfile` takes a damaged header for the end.

    A compressed stream is read to its own end, where its sum is compared.
    """
    assert opened.fileobj is not None
    opened.fileobj.seek(opened.offset)
    num_zeros = 0
    while chunk := opened.fileobj.read(_CHUNK_BYTES):
        if chunk.count(0) != len(chunk) or num_zeros > limit:
            raise DataError(f"{archive} is damaged: what follows byte {opened.offset:,} of the tar is no member.")
        num_zeros += len(chunk)
    if num_zeros < 2 * tarfile.BLOCKSIZE:
        raise DataError(f"{archive} is damaged: it is cut off, the mark of its end is missing.")


def _safe_path(name: str, archive: Path) -> PurePosixPath:
    """A member's path with forward slashes; programs on Windows write the others."""
    if len(name) > _LONGEST_NAME:
        raise _unsafe(archive, f"{name[:50]}…", f"has a name of {len(name):,} letters")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):  # Cs: bytes that are no UTF-8
        raise _unsafe(archive, name, "has control characters in its name, or bytes that are no text")
    plain = name.replace("\\", "/")
    path = PurePosixPath(plain)
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts:
        raise _unsafe(archive, name, "leads out of the folder")
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


def _check_files(members: list[Member], archive: Path) -> None:
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


def single_top(members: list[Member], name: str) -> PurePosixPath:
    """The folder inside the archive whose content is wanted: a sole one of that name at the top, or `.`."""
    is_sole = all(len(member.path.parts) > 1 and member.path.parts[0] == name for member in members)
    return PurePosixPath(name if is_sole else ".")


def check_top(members: list[Member], top: PurePosixPath, archive: Path) -> None:
    """Refuse hidden names at the top: they are our own, the lock and the notes on what is done.

    Raises:
        DataError: naming the first one.
    """
    for member in members:
        first = member.path.relative_to(top).parts[0]
        if first.startswith("."):
            raise _unsafe(archive, first, "is hidden")


def _unsafe(archive: Path, member: str, why: str) -> DataError:
    return DataError(f"{archive} is not unpacked: {member!r} {why}.", "It does not look like the published file.")
