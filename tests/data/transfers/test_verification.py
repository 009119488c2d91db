"""`--verify`: files and photos that changed since they came are found, and fetched anew."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from faulty_server import FaultyServer, without_proxies  # noqa: F401
from noise_photos import noise_jpeg

from hlcli.data.datasets.base import DownloadOptions
from hlcli.data.transfers.crawl import ImageItem, plan_crawl
from hlcli.data.transfers.manifest import read_failures
from hlcli.data.transfers.photos import crawl_photos
from hlcli.errors import DownloadError, InputError

from .archive_parts import IMAGES, LABELS, fetch, given_folder, given_server, given_sources, visible  # noqa: F401
from .transfer_parts import given_clock, given_session  # noqa: F401

CHANGED = LABELS.replace(b"2", b"7")  # as long as before


def test_a_changed_file_is_found_and_fetched_anew_only_on_demand(server, sources, folder, caplog):
    fetch(sources, folder)
    (folder / "labels.txt").write_bytes(CHANGED)
    server.log.clear()
    assert fetch(sources, folder).present == 3
    assert (folder / "labels.txt").read_bytes() == CHANGED
    with caplog.at_level(logging.INFO, "hlcli"):
        report = fetch(sources, folder, verify_again=True)
    assert (report.present, report.fetched) == (2, 1)
    assert (folder / "labels.txt").read_bytes() == LABELS
    assert [entry.path for entry in server.log] == ["/first/labels.txt"]
    assert "labels.txt is damaged: sha256 is" in caplog.text


def test_nothing_is_asked_for_where_all_is_well(server, sources, folder):
    fetch(sources, folder, keep_archives=True)
    server.log.clear()
    assert fetch(sources, folder, verify_again=True, keep_archives=True).present == 3
    assert server.log == []


def test_a_damaged_archive_that_was_kept_is_fetched_and_unpacked_again(server, sources, folder):
    fetch(sources, folder, keep_archives=True)
    path = folder / "archives" / "train.tar"
    good = path.read_bytes()
    path.write_bytes(good[:-600] + b"!" + good[-599:])
    (folder / "kit/images/3.jpg").write_bytes(b"?" * 2000)
    assert fetch(sources, folder, verify_again=True, keep_archives=True).fetched == 1
    assert path.read_bytes() == good
    assert (folder / "kit/images/3.jpg").read_bytes() == bytes([3]) * 2000
    assert visible(folder) >= IMAGES


def test_a_file_without_a_published_sum_is_compared_with_the_one_it_came_with(server, sources, folder):
    plain = [source._replace(checksum=None, size=None) for source in sources]
    fetch(plain, folder)
    (folder / "labels.txt").write_bytes(CHANGED)
    assert fetch(plain, folder, verify_again=True).fetched == 1
    assert (folder / "labels.txt").read_bytes() == LABELS


@pytest.mark.parametrize("is_offline", [True, False])
def test_a_damaged_file_that_cannot_be_had_stays_but_is_never_taken_as_good(server, sources, folder, is_offline):
    plain = [source._replace(checksum=None, size=None) for source in sources]
    fetch(plain, folder)
    (folder / "labels.txt").write_bytes(CHANGED)
    for place in ("first", "second"):
        del server.files[f"/{place}/labels.txt"]
    with pytest.raises(DownloadError, match=r"labels\.txt (is damaged, and nothing is fetched|could not be fetched)"):
        fetch(plain, folder, verify_again=True, offline=is_offline)
    assert (folder / "labels.txt").read_bytes() == CHANGED
    with pytest.raises(InputError, match=r"labels\.txt: sha256 is .* damaged or not the published one"):
        fetch(plain, folder)
    server.files["/first/labels.txt"] = LABELS
    assert fetch(plain, folder, verify_again=True).fetched == 1
    assert (folder / "labels.txt").read_bytes() == LABELS
    assert fetch(plain, folder, verify_again=True).present == 3


def test_a_damaged_file_that_cannot_be_fetched_does_not_count_as_there_any_more(server, sources, folder):
    fetch(sources, folder)
    (folder / "labels.txt").write_bytes(CHANGED)
    with pytest.raises(DownloadError, match=r"labels\.txt is damaged, and nothing is fetched offline\. Put it into"):
        fetch(sources, folder, verify_again=True, offline=True)
    with pytest.raises(InputError, match=r"labels\.txt: sha256 is .* damaged or not the published one"):
        fetch(sources, folder)


def test_a_file_placed_by_hand_that_changed_is_missing_again(server, sources, folder, caplog):
    by_hand = sources[2]._replace(urls=(), by_hand="Write to the authors.")
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_bytes(LABELS)
    assert fetch([by_hand], folder).missing == ()
    (folder / "labels.txt").write_bytes(CHANGED)
    assert fetch([by_hand], folder, verify_again=True).missing == ("labels.txt",)
    assert "labels.txt cannot be fetched. Write to the authors." in caplog.text
    assert (folder / "labels.txt").read_bytes() == CHANGED


PHOTOS = {f"/{seed}.jpg": noise_jpeg(seed) for seed in range(4)}


@pytest.fixture
def crawled(session, tmp_path: Path):
    """Four photos from a server; a function that crawls them with options, and the server."""
    with FaultyServer() as running:
        running.files |= PHOTOS
        items = [ImageItem(path, running.url(path), f"low{path}") for path in PHOTOS]

        def crawl(**options):
            given = DownloadOptions(**options)
            sender = None if given.offline else session
            return crawl_photos("toy", plan_crawl(items, tmp_path), tmp_path, given, sender)

        assert crawl().fetched == 4
        running.log.clear()
        yield crawl, running


def test_a_photo_that_changed_is_found_by_its_sum_and_fetched_anew(crawled, tmp_path, caplog):
    crawl, server = crawled
    path = tmp_path / "low" / "2.jpg"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1  # it can still be decoded
    path.write_bytes(content)
    assert crawl().present == 4
    report = crawl(verify_again=True)
    assert (report.present, report.fetched, report.missing) == (3, 1, ())
    assert path.read_bytes() == PHOTOS["/2.jpg"]
    assert [entry.path for entry in server.log] == ["/2.jpg"]
    assert f"{path} is damaged: sha256 is" in caplog.text
    assert crawl(verify_again=True).present == 4


def test_a_damaged_photo_that_is_gone_by_now_is_missing_and_stays_as_it_is(crawled, tmp_path):
    crawl, server = crawled
    path = tmp_path / "low" / "2.jpg"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    damaged = path.read_bytes()
    del server.files["/2.jpg"]
    report = crawl(verify_again=True)
    assert (report.present, report.missing) == (3, ("/2.jpg",))
    assert [failure.is_gone for failure in read_failures(tmp_path).values()] == [True]
    assert path.read_bytes() == damaged
    assert crawl().missing == ("/2.jpg",)


def test_offline_a_damaged_photo_stays_and_is_listed_until_good_bytes_come(crawled, tmp_path):
    crawl, server = crawled
    path = tmp_path / "low" / "2.jpg"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1  # it can still be decoded
    path.write_bytes(content)
    for options in ({"verify_again": True}, {}):
        report = crawl(offline=True, **options)
        assert (report.present, report.missing) == (3, ("/2.jpg",))
        assert [one.error for one in read_failures(tmp_path).values()] == [
            f"{path} is damaged, and nothing is fetched offline"
        ]
        assert path.read_bytes() == content
    assert crawl().fetched == 1
    assert [entry.path for entry in server.log] == ["/2.jpg"]
    assert path.read_bytes() == PHOTOS["/2.jpg"]
    assert crawl(verify_again=True, offline=True).present == 4


def test_a_damaged_photo_that_is_put_back_from_a_copy_is_good_again(crawled, tmp_path):
    crawl, server = crawled
    path = tmp_path / "low" / "2.jpg"
    path.write_bytes(bytes(len(PHOTOS["/2.jpg"])))
    assert crawl(verify_again=True, offline=True).missing == ("/2.jpg",)
    path.write_bytes(PHOTOS["/2.jpg"])
    assert crawl(offline=True).missing == ()
    assert server.log == []


def test_photos_from_before_there_were_sums_are_decoded_and_get_one(crawled, tmp_path):
    crawl, _ = crawled
    manifest = tmp_path / "photos.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        del row["sha256"]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "low" / "1.jpg"
    path.write_bytes(bytes(len(PHOTOS["/1.jpg"])))
    assert crawl().present == 4
    assert crawl(verify_again=True).fetched == 1
    assert path.read_bytes() == PHOTOS["/1.jpg"]
    last = {row["file"]: row.get("sha256") for row in map(json.loads, manifest.read_text().splitlines())}
    assert all(last.values())
    assert len(last) == 4
