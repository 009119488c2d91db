from __future__ import annotations

import gzip
import lzma
import random
import shutil
from pathlib import Path

import pytest
from archive_files import make_odd_tar, make_tar, make_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from hlcli.data.transfers import archives
from hlcli.data.transfers.archives import Unpacked, is_archive, unpack
from hlcli.errors import DataError, HlcliError

FILES = {"top/a.txt": b"alpha", "top/deep/b.txt": b"beta" * 1000, "c.txt": b""}


def unpack_bytes(content: bytes, place: Path, **options) -> Unpacked:
    place.mkdir(parents=True, exist_ok=True)
    (place / "archive").write_bytes(content)
    return unpack(place / "archive", place / "out", staging=place / ".unpacking", **options)


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "content", [make_zip(FILES), make_tar(FILES), make_tar(FILES, "gz"), make_tar(FILES, "bz2"), make_tar(FILES, "xz")]
)
def test_archives_of_all_kinds_give_their_files(tmp_path, content):
    counted = []
    unpacked = unpack_bytes(content, tmp_path, on_files=counted.append)
    assert files_below(tmp_path / "out") == FILES
    assert unpacked == Unpacked(3, 4005, tuple(FILES))
    assert sum(counted) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out"]
    assert is_archive(tmp_path / "archive")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("./\\:aA\u00e9 ", min_size=1, max_size=8), min_size=1, max_size=4, unique=True), st.booleans())
def test_whatever_the_names_are_nothing_lands_outside(tmp_path_factory, names, as_zip):
    place = tmp_path_factory.mktemp("names")
    files = dict.fromkeys(names, b"x")
    try:
        unpacked = unpack_bytes(make_zip(files) if as_zip else make_tar(files), place / "in")
    except HlcliError:
        assert [path.name for path in place.rglob("*")] == ["in", "archive"]
    else:
        assert len(files_below(place / "in" / "out")) == unpacked.num_files
        assert sorted(path.name for path in (place / "in").iterdir()) == ["archive", "out"]
        assert [path.name for path in place.iterdir()] == ["in"]
    shutil.rmtree(place)


def test_names_with_backslashes_become_folders(tmp_path):
    unpack_bytes(make_zip({"actor\\": b"", "actor\\0001.jpg": b"x"}), tmp_path)
    assert files_below(tmp_path / "out") == {"actor/0001.jpg": b"x"}


@pytest.mark.parametrize("content", [make_zip(FILES), make_tar(FILES), make_tar(FILES, "gz"), make_tar(FILES, "xz")])
def test_a_damaged_archive_leaves_nothing(tmp_path, content):
    for cut in (len(content) // 3, 40):
        with pytest.raises(DataError, match="damaged"):
            unpack_bytes(content[:cut], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_bytes_that_do_not_fit_their_sum_are_found(tmp_path):
    content = make_zip({"a.txt": b"some text that is long enough"})
    place = content.index(b"a.txt") + 10
    with pytest.raises(DataError, match="damaged"):
        unpack_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :], tmp_path)
    assert not (tmp_path / "out").exists()


def test_something_else_is_no_archive(tmp_path):
    with pytest.raises(DataError, match="not a zip or tar archive"):
        unpack_bytes(b"<html>please log in</html>", tmp_path)
    assert not is_archive(tmp_path / "archive")


def test_a_tar_that_ends_in_a_zip_is_a_tar(tmp_path):
    unpack_bytes(make_tar({"inner.zip": make_zip(FILES)}), tmp_path)
    assert list(files_below(tmp_path / "out")) == ["inner.zip"]


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(HlcliError, match=r"unpacks to 4,005 bytes, but 1,000 are free"):
        unpack_bytes(make_zip(FILES), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_two_archives_merge_into_one_folder_and_other_files_stay(tmp_path):
    unpack_bytes(make_tar({"VOCdevkit/VOC2007/JPEGImages/1.jpg": b"1", "VOCdevkit/VOC2007/x.txt": b"old"}), tmp_path)
    (tmp_path / "out" / "mine.txt").write_bytes(b"mine")
    unpack_bytes(make_tar({"VOCdevkit/VOC2007/JPEGImages/2.jpg": b"2", "VOCdevkit/VOC2007/x.txt": b"new"}), tmp_path)
    assert files_below(tmp_path / "out") == {
        "mine.txt": b"mine",
        "VOCdevkit/VOC2007/JPEGImages/1.jpg": b"1",
        "VOCdevkit/VOC2007/JPEGImages/2.jpg": b"2",
        "VOCdevkit/VOC2007/x.txt": b"new",
    }


def test_a_sole_folder_of_the_same_name_is_not_nested(tmp_path):
    unpacked = unpack_bytes(make_zip({"out/a.txt": b"a", "out/b/c.txt": b"c"}), tmp_path)
    assert files_below(tmp_path / "out") == {"a.txt": b"a", "b/c.txt": b"c"}
    assert unpacked.samples == ("a.txt", "b/c.txt")


def test_samples_are_few_and_spread(tmp_path):
    unpacked = unpack_bytes(make_zip({f"{i:03}.txt": b"" for i in range(95)}), tmp_path)
    assert unpacked.samples == tuple(f"{i:03}.txt" for i in range(0, 95, 5))


def test_an_interruption_leaves_nothing_and_the_next_run_starts_afresh(tmp_path):
    def interrupt(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack_bytes(make_zip(FILES), tmp_path, on_files=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    (tmp_path / ".unpacking" / "top").mkdir(parents=True)  # what a killed run leaves
    (tmp_path / ".unpacking" / "top" / "a.txt").write_bytes(b"al")
    unpack_bytes(make_zip(FILES), tmp_path)
    assert files_below(tmp_path / "out") == FILES


def damaged_tars() -> dict[str, bytes]:
    whole = make_tar({"a.txt": b"a" * 600, "b.txt": b"b" * 600, "c.txt": b"c" * 600})
    second = 512 + 1024  # header and content of the first
    cut = whole[:second]
    return {
        "corrupt header": whole[:second] + b"\xff" * 10 + whole[second + 10 :],
        "zeroed header": whole[:second] + bytes(512) + whole[second + 512 :],
        "cut in a header": whole[: second + 100],
        "cut at a member": cut,
        "gzip of a cut tar": gzip.compress(cut),
        "xz of a cut tar": lzma.compress(cut),
        "cut xz": make_tar({"a.txt": random.Random(0).randbytes(5000)}, "xz")[:-20],
        "cut gz": make_tar({"a.txt": b"a"}, "gz")[:-4],
        "one block of zeros": whole[: 3 * second + 512],
    }


@pytest.mark.parametrize("content", damaged_tars().values(), ids=damaged_tars())
def test_a_tar_that_is_not_whole_to_its_end_leaves_nothing(tmp_path, content):
    with pytest.raises(DataError, match="damaged"):
        unpack_bytes(content, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"},
        {"GNU.sparse.map": "x,y"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
        {"GNU.sparse.size": "9" * 30},
        {"size": "-1"},
    ],
)
def test_a_member_with_holes_is_refused(tmp_path, headers):
    with pytest.raises(DataError, match=r"damaged|with holes"):
        unpack_bytes(make_odd_tar("sparse.txt", pax_headers=headers), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
