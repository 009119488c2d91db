"""Archives that want more than to be unpacked: refused before a byte lands anywhere, as docs/downloads.md says."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from archive_files import add_to_tar, make_odd_tar, make_tar, make_zip

from hlcli.data.transfers import archive_members
from hlcli.data.transfers.archives import is_archive, unpack
from hlcli.errors import DataError

BOTH = (make_zip, make_tar)


class Malicious(NamedTuple):
    """Archives of one kind, as zip and as tar where both can be, and what is said of them."""

    says: str
    archives: tuple[bytes, ...]


def named(*names: str) -> tuple[bytes, ...]:
    """A zip and a tar with these files."""
    return tuple(make({"good.txt": b"good", **dict.fromkeys(names, b"evil")}) for make in BOTH)


def twice(name: str) -> tuple[bytes, ...]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, b"2")
    return buffer.getvalue(), make_odd_tar("good.txt")


def linked(target: str, *, then: str | None = None) -> tuple[bytes, ...]:
    """A symbolic link `link` to `target`, and perhaps a file that is to go through it."""
    more = {} if then is None else {then: b"evil"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        add_to_tar(archive, "link", type=tarfile.SYMTYPE, linkname=target)
        for name, content in more.items():
            add_to_tar(archive, name, content)
    return make_zip({"link": target.encode(), **more}, {"link": stat.S_IFLNK | 0o777}), buffer.getvalue()


def lying_zip(length: int) -> bytes:
    """A zip whose file is longer than it says, to get by a limit on lengths."""
    content = make_zip({"bomb": bytes(10**6)})
    true, false = (10**6).to_bytes(4, "little"), length.to_bytes(4, "little")
    assert content.count(true) == 2  # beside the file, and in the list at the end
    return content.replace(true, false)


def encrypted_zip() -> bytes:
    """A zip whose list says that its file is encrypted."""
    content = make_zip({"a": b"1"})
    flags = content.index(b"PK\1\2") + 8
    return content[:flags] + b"\1" + content[flags + 1 :]


def long_headers(kind: bytes) -> bytes:
    """A small tar.gz with a header of 100 MB, which is read into memory before anything can be looked at."""
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, 100_000_000
    return gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(10**6))


ZEROS = {"a": bytes(10**6)}
ACCENTS = ("\u00e9.jpg", unicodedata.normalize("NFD", "\u00e9.jpg"))
LINK = "is a link or a device"
OUT = "leads out of the folder"
MALICIOUS = {
    "absolute path": Malicious(OUT, (*named("/evil"), *named("\\evil"))),
    "`..` in a path": Malicious(OUT, (*named("../evil"), *named("a/../../evil"), *named("..\\evil"))),
    "drive letter": Malicious(OUT, (*named("C:\\evil"), *named("C:evil"))),
    "network path": Malicious(OUT, named("\\\\host\\share\\evil")),
    "symbolic link out of the folder": Malicious(LINK, (*linked("/etc/passwd"), *linked("../../evil"))),
    "symbolic link inside the folder": Malicious(LINK, linked("good.txt")),
    "file through a linked folder": Malicious(LINK, (*linked("..", then="link/evil"), *linked("/", then="link/a"))),
    "hard link": Malicious(LINK, (make_odd_tar("link", type=tarfile.LNKTYPE, linkname="../../evil"),)),
    "device": Malicious(
        LINK,
        (
            make_odd_tar("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
            make_odd_tar("disk", type=tarfile.BLKTYPE, devmajor=8),
            make_zip({"null": b""}, {"null": stat.S_IFCHR | 0o666}),
        ),
    ),
    "pipe or socket": Malicious(
        LINK, (make_odd_tar("pipe", type=tarfile.FIFOTYPE), make_zip({"socket": b""}, {"socket": stat.S_IFSOCK}))
    ),
    "names that differ in case alone": Malicious(
        "almost the same name", (*named("a/Photo.jpg", "a/photo.jpg"), *named("A/1", "a/2"))
    ),
    "names that differ in how accents are written": Malicious("almost the same name", named(*ACCENTS)),
    "the same name twice": Malicious("is there twice", twice("good.txt")),
    "a name that is a file and a folder": Malicious("is a file and a folder", named("a", "a/b")),
    "hidden name at the top": Malicious("is hidden", (*named(".fetched/a.json"), *named(".lock"))),
    "hidden name below the folder's own": Malicious("is hidden", tuple(make({"out/.lock": b""}) for make in BOTH)),
    "control characters in a name": Malicious("control characters", (*named("a\nb"), *named("\x1b[2J"))),
    "a name that is no text": Malicious("bytes that are no text", (make_tar({"a\udcff.jpg": b""}),)),
    "a name without end": Malicious("has a name of 2,001 letters", named("a/" * 1000 + "b")),
    "encrypted member": Malicious("is encrypted", (encrypted_zip(),)),
    "member with holes": Malicious(
        "with holes",
        (
            make_odd_tar("sparse", type=tarfile.GNUTYPE_SPARSE),
            make_odd_tar("sparse", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}),
        ),
    ),
    "bomb": Malicious("grows beyond 100,000 bytes", (make_zip(ZEROS), make_tar(ZEROS, "gz"))),
    "bomb of many small files": Malicious("or 50 files", named(*map(str, range(60)))),
    "bomb of empty folders": Malicious("or 50 files", (make_zip({f"{i}/": b"" for i in range(60)}),)),
    "bomb that lies about its length": Malicious("damaged", (lying_zip(1000),)),
    "bomb of zeros behind the end": Malicious("damaged", (gzip.compress(make_tar({"a": b"1"}) + bytes(3 << 20)),)),
    "bomb in a header": Malicious("a header of 100,000,000 bytes", tuple(map(long_headers, (b"x", b"g", b"L", b"K")))),
    "no file inside": Malicious("no file inside", tuple(make({}) for make in BOTH)),
}  # fmt: skip
CASES = [
    pytest.param(name, content, id=f"{name} {number}")
    for name, case in MALICIOUS.items()
    for number, content in enumerate(case.archives, 1)
]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: the content of files, None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(("name", "content"), CASES)
def test_a_malicious_archive_is_refused_and_nothing_changes(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(archive_members, "ALWAYS_ALLOWED_BYTES", 100_000)
    monkeypatch.setattr(archive_members, "LARGEST_GROWTH", 1)
    monkeypatch.setattr(archive_members, "_MOST_MEMBERS", 50)
    set_folder = tmp_path / "data" / "set"
    (set_folder / "out").mkdir(parents=True)
    for place in (tmp_path, set_folder, set_folder / "out"):
        for file in ("evil", "good.txt", "link"):
            (place / file).write_bytes(b"mine")
    (set_folder / "archive").write_bytes(content)
    written = watch_writes(monkeypatch)
    before = tree(tmp_path)
    with pytest.raises(DataError, match=MALICIOUS[name].says) as caught:
        unpack(set_folder / "archive", set_folder / "out", staging=set_folder / ".unpacking")
    assert str(set_folder / "archive") in str(caught.value)
    assert tree(tmp_path) == before
    assert bool(written) == ("lies" in name), "only a wrong length is not seen before the hidden folder is made"


def watch_writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders that are made from now on, even for a moment; a file needs one, as the hidden folder is not there."""
    made: list[str] = []
    real = os.mkdir
    monkeypatch.setattr(os, "mkdir", lambda path, *rest, **more: (made.append(str(path)), real(path, *rest, **more))[1])
    return made


def test_the_page_on_downloads_names_the_same_archives():
    text = (Path(__file__).parents[3] / "docs" / "downloads.md").read_text(encoding="utf-8")
    table = text[text.index("| archive with |") :].split("\n\n")[0]
    assert re.findall(r"^\| ([^|]+) \| [^|]+ \|$", table.partition("---|\n")[2], flags=re.MULTILINE) == list(MALICIOUS)


def test_rights_are_not_taken_over(tmp_path):
    for content in (make_odd_tar("run", mode=0o6777), make_zip({"good.txt": b"", "run": b""}, {"run": 0o106777})):
        (tmp_path / "archive").write_bytes(content)
        unpack(tmp_path / "archive", tmp_path / "out", staging=tmp_path / ".unpacking")
        assert stat.S_IMODE((tmp_path / "out" / "run").stat().st_mode) & 0o7111 == 0


def test_a_header_without_end_is_not_even_read_to_tell_what_the_file_is(tmp_path):
    (tmp_path / "archive").write_bytes(long_headers(b"x"))
    assert not is_archive(tmp_path / "archive")
