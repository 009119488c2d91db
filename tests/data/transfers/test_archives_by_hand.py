"""Archives that people place themselves, parts of a data set, and what a plan says of both."""

from __future__ import annotations

import shutil

import pytest
from archive_files import make_tar, make_zip
from faulty_server import without_proxies  # noqa: F401

from hlcli.data.datasets.base import DownloadOptions, Source
from hlcli.data.transfers.archive_plan import find_unverified, is_done, plan
from hlcli.errors import DownloadError, InputError

from .archive_parts import IMAGES, LABELS, TEST, TRAIN, fetch, given_folder, given_server, given_sources, visible  # noqa: F401


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


def test_a_crawled_folder_does_not_hide_an_archive_placed_by_hand(folder, tmp_path):
    (folder / "photos").mkdir(parents=True)
    by_hand = Source("photos.zip", unpack_to="photos", by_hand="Write to the authors.")
    (tmp_path / "photos.zip").write_bytes(make_zip({"1.jpg": b"1"}))
    assert plan("toy", [by_hand], folder, DownloadOptions())[0].state == "present"
    assert fetch([by_hand], folder, source=tmp_path).fetched == 1
    assert (folder / "photos" / "1.jpg").exists()


def test_what_came_without_verification_is_verified_later_or_said(server, sources, folder):
    server.files["/first/train.tar"] = server.files["/first/test.zip"] = make_tar({"kit/images/0.jpg": b"other"})
    fetch(sources, folder, verify=False, keep_archives=True)
    with pytest.raises(InputError, match=r"archives/train\.tar: it has .* bytes, expected"):
        fetch(sources, folder)
    shutil.rmtree(folder / "archives")
    server.log.clear()
    assert fetch(sources, folder).present == 3
    unverified = find_unverified("toy", sources, folder, DownloadOptions())
    assert unverified == ("train.tar", "test.zip")  # labels.txt is still there, so it was compared
    assert server.log == []


def test_a_file_left_to_be_placed_by_hand_is_reported_as_missing(sources, folder):
    report = fetch([*sources, Source("photos.zip", unpack_to="photos", by_hand="Write to the authors.")], folder)
    assert report[2:] == (0, 3, ("photos.zip",), None, "file", ())
