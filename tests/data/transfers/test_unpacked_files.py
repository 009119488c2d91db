"""`--verify` of what archives held: every unpacked file is compared with the sum it had when it was written."""

from __future__ import annotations

import json
import logging
import zlib

import pytest
from faulty_server import without_proxies  # noqa: F401

from hlcli.data.transfers import archives
from hlcli.errors import DownloadError, HlcliError

from .archive_parts import IMAGES, TEST, TRAIN, fetch, given_folder, given_server, given_sources, visible  # noqa: F401


def asked(server) -> list[str]:
    return [entry.path for entry in server.log]


def test_every_unpacked_file_is_listed_with_its_sum(sources, folder):
    fetch(sources, folder)
    lines = (folder / ".fetched" / "train.tar.members.jsonl").read_text().splitlines()
    contents = {f"kit/images/{i}.jpg": bytes([i]) * 2000 for i in range(5)}
    rows = [{"file": file, "bytes": 2000, "crc32": zlib.crc32(content)} for file, content in contents.items()]
    assert [json.loads(line) for line in lines] == rows


def test_paths_in_the_list_are_those_below_the_folder_of_the_set(sources, folder):
    fetch([sources[0]._replace(unpack_to="kit")], folder)  # `kit` in the archive is this folder, not one more
    lines = (folder / ".fetched" / "train.tar.members.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in lines] == [f"kit/images/{i}.jpg" for i in range(5)]
    assert fetch([sources[0]._replace(unpack_to="kit")], folder, verify_again=True).present == 1


def test_a_changed_byte_and_a_deleted_file_are_found_and_only_their_archive_comes_anew(server, sources, folder, caplog):
    fetch(sources, folder)
    (folder / "kit/images/3.jpg").write_bytes(bytes([3]) * 1999 + b"!")
    (folder / "kit/images/1.jpg").unlink()
    server.log.clear()
    report = fetch(sources, folder, verify_again=True)
    assert (report.present, report.fetched) == (2, 1)
    assert asked(server) == ["/first/train.tar"]
    assert "2 of 5 files of train.tar are missing or changed: kit/images/1.jpg, kit/images/3.jpg." in caplog.text
    assert (folder / "kit/images/3.jpg").read_bytes() == bytes([3]) * 2000
    assert visible(folder) >= IMAGES
    server.log.clear()
    assert fetch(sources, folder, verify_again=True).present == 3
    assert server.log == []


def test_an_archive_that_was_kept_is_unpacked_again_and_not_fetched(server, sources, folder):
    fetch(sources, folder, keep_archives=True)
    (folder / "kit/images/7.jpg").write_bytes(b"!" * 100)
    assert fetch(sources, folder, verify_again=True, keep_archives=True, offline=True).fetched == 1
    assert (folder / "kit/images/7.jpg").read_bytes() == bytes([7]) * 100


def test_offline_changed_files_stay_and_do_not_count_as_there(sources, folder):
    fetch(sources, folder)
    (folder / "kit/images/7.jpg").write_bytes(b"!" * 100)
    for options in ({"verify_again": True}, {}):
        with pytest.raises(DownloadError, match=r"test\.zip is missing, and nothing is fetched offline"):
            fetch(sources, folder, offline=True, **options)
    assert (folder / "kit/images/7.jpg").read_bytes() == b"!" * 100


def test_five_files_are_named_at_most(sources, folder, caplog):
    fetch(sources, folder)
    for number in range(5, 9):
        (folder / f"kit/images/{number}.jpg").unlink()
    for number in range(5):
        (folder / f"kit/images/{number}.jpg").write_bytes(b"?")
    renamed = folder / ".fetched" / "test.zip.members.jsonl"
    joined = folder / ".fetched" / "train.tar.members.jsonl"
    joined.write_text(joined.read_text() + renamed.read_text())
    fetch(sources, folder, verify_again=True)
    names = ", ".join(f"kit/images/{number}.jpg" for number in range(5))
    assert f"9 of 9 files of train.tar are missing or changed: {names} and 4 more." in caplog.text


def test_a_file_that_two_archives_have_may_be_either_ones(server, sources, folder):
    other = sources[0]._replace(name="again.tar", checksum=None, size=None, urls=(server.url("/again.tar"),))
    server.files["/again.tar"] = TRAIN.replace(bytes([2]) * 2000, bytes([9]) * 2000)
    both = [sources[0], other]
    fetch(both[:1], folder)
    fetch(both[1:], folder)
    assert (folder / "kit/images/2.jpg").read_bytes() == bytes([9]) * 2000
    server.log.clear()
    assert fetch(both[:1], folder, verify_again=True).present == 1
    assert server.log == []


def test_a_changed_archive_that_nobody_can_fetch_is_missing(sources, folder, caplog):
    by_hand = sources[1]._replace(urls=(), by_hand="Write to the authors.", unpack_to="kit")
    folder.mkdir(parents=True)
    (folder / "test.zip").write_bytes(TEST)
    assert fetch([by_hand], folder).missing == ()
    (folder / "test.zip").unlink()
    (folder / "kit/images/7.jpg").write_bytes(b"!" * 100)
    assert fetch([by_hand], folder, verify_again=True).missing == ("test.zip",)
    assert "test.zip cannot be fetched. Write to the authors." in caplog.text
    (folder / "test.zip").write_bytes(TEST)
    assert fetch([by_hand], folder, verify_again=True).fetched == 1
    assert (folder / "kit/images/7.jpg").read_bytes() == bytes([7]) * 100


def test_of_archives_that_an_earlier_version_unpacked_a_line_says_how_to_verify_them(server, sources, folder, caplog):
    fetch(sources, folder)
    (folder / ".fetched" / "train.tar.members.jsonl").unlink()
    with caplog.at_level(logging.INFO, "hlcli"):
        assert fetch(sources, folder, verify_again=True).present == 3
    assert "train.tar was unpacked by an earlier version, which kept no sums: only a new download" in caplog.text
    fetch(sources, folder, overwrite=True)
    assert (folder / ".fetched" / "train.tar.members.jsonl").exists()


def test_there_is_no_list_where_unpacking_fails(sources, folder, monkeypatch):
    def fail(source, target):
        raise OSError("no more")

    monkeypatch.setattr(archives, "_move", fail)
    with pytest.raises(HlcliError, match="cannot be unpacked"):
        fetch(sources[:1], folder)
    assert [path.name for path in (folder / ".fetched").iterdir()] == []


def test_without_verify_no_unpacked_file_is_read(sources, folder, monkeypatch):
    fetch(sources, folder)
    monkeypatch.setattr("hlcli.data.transfers.verification._state", None)
    assert fetch(sources, folder).present == 3
