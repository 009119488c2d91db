from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from archive_files import make_tar, make_zip
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401

from hlcli.data.datasets.base import DownloadOptions, Source
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.archive_download import download
from hlcli.data.transfers.archive_plan import is_done, plan
from hlcli.data.transfers.checksums import Checksum
from hlcli.data.transfers.session import Session
from hlcli.errors import DataError, DownloadError, InputError

TRAIN = make_tar({f"kit/images/{i}.jpg": bytes([i]) * 2000 for i in range(5)})
TEST = make_zip({f"kit/images/{i}.jpg": bytes([i]) * 100 for i in range(5, 9)})
LABELS = b"1 2 3\n" * 50
PUBLISHED = {"train.tar": TRAIN, "test.zip": TEST, "labels.txt": LABELS}
IMAGES = {f"kit/images/{i}.jpg" for i in range(9)}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(archive_download, "Session", partial(Session, clock=FakeClock(), per_second=1e9))
    with FaultyServer() as running:
        running.files |= {f"/first/{name}": content for name, content in PUBLISHED.items()}
        running.files |= {f"/second/{name}": content for name, content in PUBLISHED.items()}
        yield running


@pytest.fixture
def sources(server: FaultyServer) -> tuple[Source, ...]:
    return tuple(
        Source(
            name,
            (server.url(f"/first/{name}"), server.url(f"/second/{name}")),
            len(content),
            Checksum("sha256", hashlib.sha256(content).hexdigest()),
            None if name.endswith("txt") else ".",
            "annotations" if name.endswith("txt") else "images",
        )
        for name, content in PUBLISHED.items()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "toy"


def fetch(sources, folder: Path, **options):
    return download("toy", sources, folder, DownloadOptions(**options))


def visible(folder: Path) -> set[str]:
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {path for path in paths if not path.startswith(".")}


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


def test_hand_placed_files_are_checked_used_and_left_alone(server, sources, folder, tmp_path):
    hand = tmp_path / "hand"
    (hand / "toy").mkdir(parents=True)
    (hand / "train.tar").write_bytes(TRAIN)
    (hand / "toy" / "labels.txt").write_bytes(LABELS)
    folder.mkdir(parents=True)
    (folder / "test.zip").write_bytes(TEST)
    assert fetch(sources, folder, source=hand, offline=True).fetched == 3
    assert server.log == []
    assert visible(folder) == IMAGES | {"labels.txt", "test.zip"}
    assert (hand / "train.tar").exists()


def test_a_hand_placed_file_that_differs_is_refused_unless_told_otherwise(sources, folder, tmp_path):
    other = make_tar({"kit/images/0.jpg": b"other"})
    (tmp_path / "train.tar").write_bytes(other)
    with pytest.raises(InputError, match=r"train\.tar: it has .* bytes, expected .*--no-verify"):
        fetch(sources[:1], folder, source=tmp_path)
    fetch(sources[:1], folder, source=tmp_path, verify=False)
    assert (folder / "kit/images/0.jpg").read_bytes() == b"other"


def test_offline_says_where_to_put_what_is_missing(sources, folder):
    with pytest.raises(DownloadError, match=r"train\.tar is missing, and nothing is fetched offline.*--from DIR"):
        fetch(sources[:1], folder, offline=True)


def test_a_file_without_addresses_is_asked_for_and_does_not_stop_the_others(server, sources, folder, caplog):
    by_hand = Source("photos.zip", unpack_to="photos", by_hand="Write to the authors.")
    report = fetch([*sources, by_hand], folder)
    assert report.fetched == 3
    assert "photos.zip cannot be fetched. Write to the authors." in caplog.text
    (folder / "photos.zip").write_bytes(make_zip({"photos/1.jpg": b"1"}))
    assert fetch([*sources, by_hand], folder).fetched == 1
    assert (folder / "photos" / "1.jpg").exists()
    caplog.clear()
    (folder / "photos.zip").unlink()
    shutil.rmtree(folder / ".fetched")
    fetch([by_hand], folder)  # unpacked by hand is as good
    assert "cannot be fetched" not in caplog.text


def test_too_little_room_is_said_before_the_first_request(server, sources, folder, monkeypatch):
    usage = shutil.disk_usage(folder.parent.parent)
    monkeypatch.setattr(archive_download.shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(DownloadError, match=r"needed to fetch and unpack 3 files, but 10,000 are free"):
        fetch(sources, folder)
    assert server.log == []


def test_two_archives_at_a_time(server, sources, folder):
    many = [sources[0]._replace(name=f"{i}.tar", urls=(server.url(f"/{i}.tar"),), unpack_to=str(i)) for i in range(5)]
    for i in range(5):
        server.files[f"/{i}.tar"] = TRAIN
        server.always[f"/{i}.tar"] = Fault(trickle=(len(TRAIN) // 4, 0.01))
    fetch(many, folder, jobs=16)
    assert server.busiest == 2
    assert len(list(folder.glob("*/kit/images/*.jpg"))) == 25


def test_parts_are_fetched_alone_and_optional_ones_by_name_only(server, sources, folder):
    extra = sources[1]._replace(name="extra.zip", urls=(server.url("/first/test.zip"),), part="extra", is_optional=True)
    fetch([*sources, extra], folder, parts=("annotations",))
    assert visible(folder) == {"labels.txt"}
    fetch([*sources, extra], folder)
    assert not is_done(extra, folder, DownloadOptions())
    fetch([*sources, extra], folder, parts=("extra",))
    assert is_done(extra, folder, DownloadOptions())
    with pytest.raises(InputError, match="toy has no part 'masks'; it has images, annotations, extra"):
        fetch([*sources, extra], folder, parts=("masks",))
    with pytest.raises(InputError, match="--json"):
        fetch(sources, folder, annotations=(Path("a.json"),))


def test_a_plan_tells_states_and_bytes_and_writes_nothing(server, sources, folder, tmp_path):
    rows = plan("toy", sources, folder, DownloadOptions())
    assert [row.state for row in rows[:3]] == ["missing", "missing", "missing"]
    assert rows[0].size == f"{len(TRAIN):,} bytes"
    assert rows[3].what == "toy: disk space needed"
    assert not folder.exists()
    fetch(sources[2:], folder)
    (folder / "archives").mkdir()
    (folder / "archives" / "train.tar.part").write_bytes(TRAIN[:1000])
    (tmp_path / "test.zip").write_bytes(TEST)
    rows = plan("toy", sources, folder, DownloadOptions(source=tmp_path))
    assert [(row.what, row.state, row.size) for row in rows[:3]] == [
        ("train.tar", "partial", f"{len(TRAIN) - 1000:,} bytes"),
        ("test.zip", "to be unpacked", "0 bytes"),
        ("labels.txt", "present", "0 bytes"),
    ]
    assert server.log[1:] == []


def test_progress_counts_bytes_and_files(server, sources, folder, caplog):
    with caplog.at_level(logging.INFO, "hlcli"):
        fetch(sources, folder)
    assert f"Fetching train.tar ({len(TRAIN):,} bytes)." in caplog.text
    assert "Unpacking: 9 files in" in caplog.text


def test_a_crawled_folder_does_not_hide_an_archive_placed_by_hand(folder, tmp_path):
    (folder / "photos").mkdir(parents=True)
    by_hand = Source("photos.zip", unpack_to="photos", by_hand="Write to the authors.")
    (tmp_path / "photos.zip").write_bytes(make_zip({"1.jpg": b"1"}))
    assert plan("toy", [by_hand], folder, DownloadOptions())[0].state == "present"
    assert fetch([by_hand], folder, source=tmp_path).fetched == 1
    assert (folder / "photos" / "1.jpg").exists()


def test_what_came_without_verification_is_verified_later_or_said(server, sources, folder, caplog):
    server.files["/first/train.tar"] = server.files["/first/test.zip"] = make_tar({"kit/images/0.jpg": b"other"})
    fetch(sources, folder, verify=False, keep_archives=True)
    with pytest.raises(InputError, match=r"archives/train\.tar: it has .* bytes, expected"):
        fetch(sources, folder)
    shutil.rmtree(folder / "archives")
    server.log.clear()
    assert fetch(sources, folder).present == 3
    assert "train.tar was fetched without verification; --overwrite fetches it anew." in caplog.text
    assert "labels.txt was fetched" not in caplog.text  # still there, so it was compared
    assert server.log == []


def test_a_file_left_to_be_placed_by_hand_is_reported_as_missing(sources, folder):
    report = fetch([*sources, Source("photos.zip", unpack_to="photos", by_hand="Write to the authors.")], folder)
    assert report[2:] == (0, 3, ("photos.zip",), None, "file")
