"""Photos that are not what was asked for: pictures that stand for removed ones, and hosts that forbid for a while."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401
from noise_photos import noise_jpeg

from hlcli.data.datasets.base import DownloadOptions
from hlcli.data.transfers.crawl import CrawlReport, ImageItem, crawl_images, plan_crawl
from hlcli.data.transfers.manifest import read_failures
from hlcli.data.transfers.patience import HostUnavailable
from hlcli.data.transfers.photos import crawl_photos
from hlcli.data.transfers.session import Session

from .transfer_parts import given_clock, given_session  # noqa: F401

REMOVED = noise_jpeg(99)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """Photos 0 to 4, and as many that were removed, of which the server does not tell."""
    with FaultyServer() as running:
        running.files |= {f"/{number}.jpg": noise_jpeg(number) for number in range(5)}
        running.files |= {f"/{number}.jpg": REMOVED for number in range(5, 10)}
        yield running


def items_of(server: FaultyServer, *numbers: int) -> list[ImageItem]:
    return [ImageItem(f"id{number}", server.url(f"/{number}.jpg"), f"low/{number}.jpg") for number in numbers]


def crawl(items: list[ImageItem], folder: Path, session: Session | None, **options) -> CrawlReport:
    return crawl_images(plan_crawl(items, folder, **options), folder, session=session)


def photos_in(folder: Path) -> set[int]:
    return {int(path.stem) for path in (folder / "low").glob("*.jpg")}


def test_the_same_picture_from_five_addresses_is_taken_back_and_listed_as_gone(server, session, tmp_path):
    report = crawl(items_of(server, *range(10)), tmp_path, session)
    assert (report.fetched, {failure.id for failure in report.failures}) == (5, {f"id{n}" for n in range(5, 10)})
    assert photos_in(tmp_path) == set(range(5))
    failures = read_failures(tmp_path)
    assert all(failure.is_gone and "stands for removed photos" in failure.error for failure in failures.values())

    server.log.clear()
    again = crawl(items_of(server, *range(10)), tmp_path, session)
    assert (again.present, again.fetched, len(again.failures), server.log) == (5, 0, 5, [])
    server.files["/7.jpg"] = noise_jpeg(7)  # it is back
    again = crawl(items_of(server, *range(10)), tmp_path, session, retry_failed=True)
    assert (again.present, again.fetched) == (5, 1)
    assert photos_in(tmp_path) == {*range(5), 7}
    assert set(read_failures(tmp_path)) == {"id5", "id6", "id8", "id9"}


def test_copies_of_earlier_runs_count(server, session, tmp_path):
    assert crawl(items_of(server, *range(7)), tmp_path, session).fetched == 7
    report = crawl(items_of(server, *range(10)), tmp_path, session)
    assert (report.present, report.fetched, len(report.failures)) == (5, 0, 5)
    assert photos_in(tmp_path) == set(range(5))


def test_four_copies_stay_and_so_do_many_of_one_address(server, session, tmp_path):
    assert crawl(items_of(server, *range(9)), tmp_path, session) == CrawlReport(0, 9, [])
    one = server.url("/9.jpg")
    items = [ImageItem(f"copy{number}", one, f"copies/{number}.jpg") for number in range(6)]
    server.files["/9.jpg"] = noise_jpeg(9)
    assert crawl(items, tmp_path, session) == CrawlReport(0, 6, [])


def test_copies_that_were_placed_by_hand_stay(server, tmp_path):
    (tmp_path / "low").mkdir()
    for number in range(6):
        (tmp_path / "low" / f"{number}.jpg").write_bytes(REMOVED)
    assert crawl(items_of(server, *range(6)), tmp_path, None) == CrawlReport(0, 6, [])


def test_a_redirect_to_the_picture_of_removed_photos_is_gone(server, session, tmp_path):
    server.files["/images/photo_unavailable.gif"] = REMOVED
    server.always["/3.jpg"] = Fault(status=302, headers={"Location": "/images/photo_unavailable.gif"})
    report = crawl(items_of(server, 2, 3), tmp_path, session)
    (failure,) = report.failures
    assert (report.fetched, failure.id, failure.is_gone, failure.status) == (1, "id3", True, 200)
    assert failure.final_url == server.url("/images/photo_unavailable.gif")
    assert photos_in(tmp_path) == {2}


@pytest.fixture
def flickr(server: FaultyServer, clock: FakeClock) -> Iterator[Session]:
    """A session to which Flickr's hosts are the local server."""
    server.files |= {f"http://farm1.static.flickr.com/{number}.jpg": noise_jpeg(number) for number in range(8)}
    with Session(clock=clock, per_second=1e9, proxy=server.url("")) as session:
        yield session


def flickr_items() -> list[ImageItem]:
    addresses = [(number, f"http://farm1.static.flickr.com/{number}.jpg") for number in range(8)]
    return [ImageItem(f"id{number}", address, f"low/{number}.jpg") for number, address in addresses]


def test_flickr_that_forbids_for_a_while_is_asked_again_later(server, clock, flickr, tmp_path):
    server.faults["http://farm1.static.flickr.com/3.jpg"] = [Fault(status=403), Fault(status=403)]
    assert crawl(flickr_items(), tmp_path, flickr) == CrawlReport(0, 8, [])
    assert sum(clock.waits) >= 60
    assert len(server.asked("http://farm1.static.flickr.com/3.jpg")) == 3


def test_a_photo_that_flickr_always_forbids_does_not_stop_the_others_and_is_not_gone(server, flickr, tmp_path):
    server.always["http://farm1.static.flickr.com/0.jpg"] = Fault(status=403)
    report = crawl(flickr_items(), tmp_path, flickr)
    (failure,) = report.failures
    assert (report.fetched, failure.id, failure.status, failure.is_gone) == (7, "id0", 403, False)
    server.always.clear()
    assert crawl(flickr_items(), tmp_path, flickr) == CrawlReport(7, 1, [])


def test_flickr_that_forbids_everything_ends_the_run(server, flickr, tmp_path):
    server.always |= {item.url: Fault(status=403, headers={"Retry-After": "600"}) for item in flickr_items()}
    with pytest.raises(HostUnavailable, match="run the same command again later"):
        crawl(flickr_items(), tmp_path, flickr)


def test_other_hosts_that_forbid_are_asked_once(server, session, tmp_path):
    server.always["/3.jpg"] = Fault(status=403)
    (failure,) = crawl(items_of(server, 2, 3), tmp_path, session).failures
    assert (failure.status, failure.attempts, failure.is_gone) == (403, 1, False)


def test_the_progress_of_a_crawl_says_how_many_are_there_and_how_many_failed(server, session, tmp_path, caplog):
    crawl(items_of(server, 0), tmp_path, session)
    server.always["/3.jpg"] = Fault(status=404)
    todo = plan_crawl(items_of(server, *range(5)), tmp_path)
    with caplog.at_level(logging.INFO, "hlcli"):
        report = crawl_photos("toy", todo, tmp_path, DownloadOptions(), session)
    assert "Downloading photos: 4 photos in" in caplog.text
    assert "ok 3 failed 1 skipped 1" in caplog.text
    assert (report.present, report.fetched, report.missing) == (1, 3, ("id3",))
