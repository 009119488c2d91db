"""Hosts that want to be left alone, for one address or for all, and those that redirects lead to."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401
from noise_photos import noise_jpeg

from hlcli.data.transfers.crawl import CrawlReport, ImageItem, crawl_images, plan_crawl
from hlcli.data.transfers.image_fetch import fetch_image
from hlcli.data.transfers.manifest import read_failures
from hlcli.data.transfers.patience import Clock, HostUnavailable, Stopped
from hlcli.data.transfers.session import Session

PHOTOS = {f"/{number}.jpg": noise_jpeg(number) for number in range(300)}
PHOTO = PHOTOS["/1.jpg"]
BUSY = Fault(status=429, headers={"Retry-After": "100"})


class HandClock(Clock):
    """Time moves when the test moves it."""

    def __init__(self) -> None:
        super().__init__()
        self._time = 0.0
        self._moved = threading.Condition()
        self.sleeping = 0

    def now(self) -> float:
        return self._time

    def sleep(self, seconds: float) -> None:
        with self._moved:
            until = self._time + seconds
            self.sleeping += 1
            woke = self._moved.wait_for(lambda: self._time >= until, timeout=10)
            self.sleeping -= 1
        if not woke:
            raise Stopped

    def move(self, seconds: float) -> None:
        with self._moved:
            self._time += seconds
            self._moved.notify_all()


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        running.files |= PHOTOS
        yield running


@pytest.fixture
def other() -> Iterator[FaultyServer]:
    """Another host: its port is another."""
    with FaultyServer() as running:
        running.files["/b.jpg"] = PHOTO
        yield running


def eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def crawl(server: FaultyServer, folder: Path, numbers: range, jobs: int = 16) -> CrawlReport:
    items = [ImageItem(str(number), server.url(f"/{number}.jpg"), f"low/{number}.jpg") for number in numbers]
    with Session(clock=FakeClock(), per_second=1e9) as session:
        return crawl_images(plan_crawl(items, folder), folder, session=session, jobs=jobs)


@pytest.mark.parametrize("status", [429, 503])
def test_a_photo_that_alone_is_always_busy_is_given_up(server, tmp_path, status):
    server.always["/0.jpg"] = Fault(status=status)
    report = crawl(server, tmp_path, range(300))
    assert report.fetched == 299
    (failure,) = read_failures(tmp_path).values()
    assert (failure.id, failure.status, failure.is_gone) == ("0", status, False)
    assert failure.attempts == len(server.asked("/0.jpg")) >= 5
    assert failure.error == f"HTTP {status} (asked {failure.attempts} times)"


@pytest.mark.parametrize(("numbers", "jobs"), [(range(8), 1), (range(1), 16)], ids=["first-of-all", "nothing-else"])
def test_a_busy_photo_that_nothing_is_asked_beside_is_given_up_when_patience_ends(server, tmp_path, numbers, jobs):
    server.always["/0.jpg"] = Fault(status=503)
    report = crawl(server, tmp_path, numbers, jobs)
    assert (report.fetched, [failure.id for failure in report.failures]) == (len(numbers) - 1, ["0"])
    assert len(server.asked("/0.jpg")) in (15, 16)  # a minute's pause each, for a quarter of an hour


@pytest.mark.parametrize("jobs", [1, 16])
def test_a_host_that_is_busy_for_everyone_ends_the_run(server, tmp_path, jobs):
    server.always |= {path: Fault(status=503) for path in server.files}
    with pytest.raises(HostUnavailable, match="is busy and asks to wait"):
        crawl(server, tmp_path, range(40), jobs)


def test_a_host_that_becomes_busy_for_everyone_ends_the_run_as_soon_as_that_is_known(server, tmp_path):
    server.always |= {f"/{number}.jpg": Fault(status=503) for number in range(20, 40)}
    with pytest.raises(HostUnavailable, match="is busy and asks to wait"):
        crawl(server, tmp_path, range(40), jobs=1)
    assert len(list(tmp_path.glob("low/*"))) == 20
    assert set(read_failures(tmp_path)) == {"20"}  # given up before it was known that others are busy, too
    assert len(server.asked("/21.jpg")) == 1


def test_a_pause_keeps_everyone_from_its_host_and_from_no_other(server, other):
    server.faults["/0.jpg"] = [BUSY]
    clock = HandClock()
    with Session(clock=clock, per_second=math.inf) as session, ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(fetch_image, session, server.url("/0.jpg"))]
        eventually(lambda: clock.sleeping == 1)
        asked.append(pool.submit(fetch_image, session, server.url("/1.jpg")))
        eventually(lambda: clock.sleeping == 2)
        assert fetch_image(session, other.url("/b.jpg")) == PHOTO
        clock.move(99)
        time.sleep(0.05)
        assert [entry.path for entry in server.log] == ["/0.jpg"]
        clock.move(1)
        assert [one.result(10) for one in asked] == [PHOTOS["/0.jpg"], PHOTO]
        assert sorted(entry.path for entry in server.log) == ["/0.jpg", "/0.jpg", "/1.jpg"]


def test_a_host_that_redirects_lead_to_is_paused_as_well_as_the_one_asked(server):
    there = server.url("/1.jpg").replace("127.0.0.1", "localhost")
    server.always["/0.jpg"] = Fault(status=302, headers={"Location": there})
    server.faults["/1.jpg"] = [BUSY]
    clock = HandClock()
    with Session(clock=clock, per_second=math.inf) as session, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(fetch_image, session, server.url("/0.jpg"))]
        eventually(lambda: clock.sleeping == 1)
        asked += [pool.submit(fetch_image, session, url) for url in (there, server.url("/2.jpg"))]
        eventually(lambda: clock.sleeping == 3)
        assert [entry.path for entry in server.log] == ["/0.jpg", "/1.jpg"]
        clock.move(100)
        assert [one.result(10) for one in asked] == [PHOTO, PHOTO, PHOTOS["/2.jpg"]]


def test_only_so_many_requests_reach_a_host_that_redirects_lead_to(server, other):
    other.always["/b.jpg"] = Fault(delay=0.03)
    server.always |= {path: Fault(status=302, headers={"Location": other.url("/b.jpg")}) for path in server.files}
    urls = [server.url(f"/{number}.jpg") for number in range(12)] + [other.url("/b.jpg")] * 12
    with Session(per_host=2, per_second=1e9) as session, ThreadPoolExecutor(24) as pool:
        assert list(pool.map(lambda url: fetch_image(session, url), urls)) == [PHOTO] * 24
    assert other.busiest <= 2


def test_requests_to_a_host_that_redirects_lead_to_are_spaced_out(server, other):
    first, second = server.url("/0.jpg"), server.url("/1.jpg").replace("127.0.0.1", "localhost")
    for path in ("/0.jpg", "/1.jpg"):
        server.always[path] = Fault(status=302, headers={"Location": other.url("/b.jpg")})
    with Session(per_second=50) as session, ThreadPoolExecutor(16) as pool:
        began = time.monotonic()
        list(pool.map(lambda url: fetch_image(session, url), [first, second] * 10))
        assert time.monotonic() - began >= 19 / 50


def test_two_hosts_that_redirect_to_each_other_do_not_wait_for_each_other(server, other):
    other.files["/0.jpg"] = PHOTO
    server.always["/0.jpg"] = Fault(status=302, headers={"Location": other.url("/b.jpg")})
    other.always["/0.jpg"] = Fault(status=302, headers={"Location": server.url("/1.jpg")})
    with Session(per_host=1, per_second=1e9) as session, ThreadPoolExecutor(8) as pool:
        urls = [server.url("/0.jpg"), other.url("/0.jpg")] * 10
        assert list(pool.map(lambda url: fetch_image(session, url), urls, timeout=20)) == [PHOTO] * 20


@pytest.mark.parametrize("url", ["http://[bad/1.jpg", "http://x:99999999/1.jpg", "", "http://a b/1.jpg", "mailto:x@y"])
def test_an_address_that_is_none_is_a_failure_of_its_photo_alone(server, tmp_path, url):
    items = [ImageItem("bad", url, "low/bad.jpg"), ImageItem("good", server.url("/1.jpg"), "low/good.jpg")]
    with Session(clock=FakeClock(), per_second=1e9) as session:
        report = crawl_images(plan_crawl(items, tmp_path), tmp_path, session=session)
    assert report.fetched == 1
    (failure,) = read_failures(tmp_path).values()
    assert (failure.id, failure.url, failure.status) == ("bad", url, None)
