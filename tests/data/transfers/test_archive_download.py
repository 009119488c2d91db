from __future__ import annotations

import hashlib
import logging
import shutil

import pytest
from archive_files import make_zip
from faulty_server import Fault, without_proxies  # noqa: F401

from hlcli.data.datasets.base import DownloadOptions
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.archive_plan import plan
from hlcli.data.transfers.checksums import Checksum
from hlcli.errors import DataError, DownloadError, HlcliError
from hlcli.files import free_bytes

from .archive_parts import IMAGES, PUBLISHED, TEST, TRAIN, fetch, given_folder, given_server, given_sources, visible  # noqa: F401


def test_everything_is_fetched_and_unpacked_and_a_second_run_asks_nobody(server, sources, folder, monkeypatch):
    report = fetch(sources, folder)
    assert (report.present, report.fetched, report.missing, report.unit) == (0, 3, (), "file")
    assert visible(folder) == IMAGES | {"labels.txt"}
    assert (folder / "kit/images/7.jpg").read_bytes() == bytes([7]) * 100
    assert {path.name for path in folder.iterdir()} == {"kit", "labels.txt", "archives", ".fetched", ".lock"}

    server.log.clear()
    monkeypatch.setattr(Checksum, "of_file", lambda *_: pytest.fail("a second run hashes nothing"))
    report = fetch(sources, folder)
    assert (report.present, report.fetched) == (3, 0)
    assert fetch(sources, folder, offline=True).present == 3
    assert server.log == []


def test_archives_are_kept_on_demand(server, sources, folder):
    fetch(sources, folder, keep_archives=True)
    assert visible(folder) == IMAGES | {"labels.txt", "archives/train.tar", "archives/test.zip"}
    server.log.clear()
    shutil.rmtree(folder / "kit")
    assert fetch(sources, folder, keep_archives=True).fetched == 2
    assert visible(folder) >= IMAGES
    assert server.log == []


def test_what_was_deleted_is_fetched_again(server, sources, folder):
    fetch(sources, folder)
    (folder / "kit/images/3.jpg").unlink()
    server.log.clear()
    assert fetch(sources, folder).fetched == 1
    assert {entry.path for entry in server.log} == {"/first/train.tar"}
    assert visible(folder) >= IMAGES


def test_overwrite_fetches_everything_anew(server, sources, folder):
    fetch(sources, folder, keep_archives=True)
    (folder / "kit/images/3.jpg").write_bytes(b"changed")
    server.log.clear()
    assert fetch(sources, folder, overwrite=True).fetched == 3
    assert len(server.log) == 3
    assert (folder / "kit/images/3.jpg").read_bytes() == bytes([3]) * 2000


def test_a_broken_transfer_goes_on_where_it_stopped(server, sources, folder):
    server.faults["/first/train.tar"] = [Fault(drop_after=5000)]
    fetch(sources, folder)
    assert [entry.first for entry in server.asked("/first/train.tar")] == [0, 5000]
    assert visible(folder) >= IMAGES


def test_a_run_killed_between_fetching_and_unpacking_fetches_nothing_twice(server, sources, folder):
    (folder / "archives").mkdir(parents=True)
    (folder / "archives" / "train.tar").write_bytes(TRAIN)
    (folder / ".train.tar.unpacking" / "kit").mkdir(parents=True)
    (folder / ".train.tar.unpacking" / "kit" / "half.jpg").write_bytes(b"")
    fetch(sources, folder)
    assert not server.asked("/first/train.tar")
    assert visible(folder) == IMAGES | {"labels.txt"}
    assert not (folder / ".train.tar.unpacking").exists()


def test_wrong_bytes_lead_to_the_next_server(server, sources, folder):
    server.files["/first/test.zip"] = bytes(len(TEST))
    fetch(sources, folder)
    assert len(server.asked("/first/test.zip")) == 2
    assert len(server.asked("/second/test.zip")) == 1


def test_wrong_bytes_everywhere_are_an_error_with_both_sums_and_the_other_files_come(server, sources, folder):
    wrong = bytes(len(TEST))
    server.files["/first/test.zip"] = server.files["/second/test.zip"] = wrong
    with pytest.raises(DownloadError) as caught:
        fetch(sources, folder)
    message = str(caught.value)
    assert "test.zip" in message
    assert hashlib.sha256(wrong).hexdigest() in message
    assert f"expected {hashlib.sha256(TEST).hexdigest()}" in message
    assert server.url("/second/test.zip") in message
    assert visible(folder) == {"labels.txt", *(f"kit/images/{i}.jpg" for i in range(5))}
    server.files["/second/test.zip"] = TEST
    assert fetch(sources, folder).fetched == 1


def test_all_files_that_cannot_be_had_are_named(server, sources, folder):
    for host in ("first", "second"):
        for name in ("train.tar", "test.zip"):
            del server.files[f"/{host}/{name}"]
    with pytest.raises(DownloadError, match=r"(?s)train\.tar.*404.*test\.zip.*404.*run the same command again"):
        fetch(sources, folder)
    assert visible(folder) == {"labels.txt"}


def test_a_given_mirror_is_asked_first(server, sources, folder):
    server.files |= {f"/mine/{name}": content for name, content in PUBLISHED.items()}
    fetch(sources, folder, mirror=server.url("/mine/"))
    assert {entry.path.rpartition("/")[0] for entry in server.log} == {"/mine"}


def test_a_missing_sum_is_said_and_a_web_page_is_not_an_archive(server, sources, folder, caplog):
    plain = [source._replace(checksum=None, size=None) for source in sources]
    fetch(plain, folder)
    assert "train.tar: no checksum is published" in caplog.text
    shutil.rmtree(folder)
    server.files["/first/test.zip"] = b"<html>log in</html>"
    with pytest.raises(DownloadError, match=r"test\.zip: the server sent something that is not an archive"):
        fetch(plain, folder)
    assert not (folder / "archives" / "test.zip").exists()


def test_a_damaged_archive_without_a_sum_is_removed(server, sources, folder):
    server.files["/first/test.zip"] = TEST[:-30]
    plain = [source._replace(checksum=None, size=None) for source in sources]
    with pytest.raises(DownloadError, match=r"test\.zip is damaged.*removed"):
        fetch(plain, folder)
    server.files["/first/test.zip"] = TEST
    assert fetch(plain, folder).fetched == 1


def test_an_unsafe_archive_is_not_unpacked_whatever_its_sum(server, sources, folder):
    evil = make_zip({"../../evil.txt": b"!"})
    server.files["/first/test.zip"] = evil
    source = sources[1]._replace(size=len(evil), checksum=Checksum("md5", hashlib.md5(evil).hexdigest()))
    with pytest.raises(DataError, match="leads out of the folder"):
        fetch([source], folder)
    assert visible(folder) == {"archives/test.zip"}


def test_too_little_room_is_said_before_the_first_request_unless_forced(server, sources, folder, monkeypatch, caplog):
    usage = shutil.disk_usage(folder.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    archives = len(TRAIN) + len(TEST)
    needed = round(1.05 * (2 * archives + len(PUBLISHED["labels.txt"])))  # fetched, and unpacked beside
    with pytest.raises(DownloadError, match=rf"{needed:,} bytes are needed .* 3 files, but 10,000 are free.*--force"):
        fetch(sources, folder)
    assert server.log == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(archive_download, "free_bytes", lambda folder: 10_000)
    assert fetch(sources, folder, force=True).fetched == 3
    assert "Going on all the same (--force)." in caplog.text


def test_room_is_looked_for_on_the_nearest_folder_that_is_there(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or usage._replace(free=7))
    assert free_bytes(tmp_path / "not" / "yet" / "there") == 7
    assert asked == [tmp_path]
    assert plan("toy", (), tmp_path / "gone", DownloadOptions())[-1] == ("toy: disk space free", "", "7 bytes")


def test_a_file_that_is_not_needed_does_not_stop_the_others(server, sources, folder, caplog):
    extra = sources[2]._replace(name="extra.npy", urls=(server.url("/extra.npy"),), is_needed=False)
    report = fetch([*sources, extra], folder)
    assert (report.present, report.fetched, report.missing) == (0, 3, ())
    assert "extra.npy could not be fetched" in caplog.text
    assert "goes on without it" in caplog.text


def test_a_file_that_cannot_be_read_is_named_and_the_others_come(server, sources, folder, tmp_path, monkeypatch):
    (tmp_path / "train.tar").write_bytes(TRAIN)

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(archive_download, "complaint_about", refuse)
    with pytest.raises(HlcliError, match=r"train\.tar cannot be read or written: Permission denied"):
        fetch(sources, folder, source=tmp_path)
    assert visible(folder) == {"labels.txt", *(f"kit/images/{i}.jpg" for i in range(5, 9))}


def test_two_archives_at_a_time(server, sources, folder):
    many = [sources[0]._replace(name=f"{i}.tar", urls=(server.url(f"/{i}.tar"),), unpack_to=str(i)) for i in range(5)]
    for i in range(5):
        server.files[f"/{i}.tar"] = TRAIN
        server.always[f"/{i}.tar"] = Fault(trickle=(len(TRAIN) // 4, 0.01))
    fetch(many, folder, jobs=16)
    assert server.busiest == 2
    assert len(list(folder.glob("*/kit/images/*.jpg"))) == 25


def test_progress_counts_bytes_of_all_and_of_each_and_files(server, sources, folder, caplog, monkeypatch):
    monkeypatch.setattr(archive_download, "_MEGABYTE", 100)
    parts = [len(content) // 100 for content in PUBLISHED.values()]
    with caplog.at_level(logging.INFO, "hlcli"):
        fetch(sources, folder)
    assert f"Fetching train.tar ({len(TRAIN):,} bytes)." in caplog.text
    assert f"train.tar: {len(TRAIN) // 100} MB in" in caplog.text
    assert f"test.zip: {len(TEST) // 100} MB in" in caplog.text
    assert f"Downloading: {sum(parts)} MB in" in caplog.text
    assert "Unpacking: 9 files in" in caplog.text
