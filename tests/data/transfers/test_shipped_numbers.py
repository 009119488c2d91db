"""The numbers that transfers come with, as the page on downloads states them, and what only a spy can see."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
import tracemalloc
from pathlib import Path

from faulty_server import without_proxies  # noqa: F401

from hlcli.data.datasets.base import DownloadOptions
from hlcli.data.transfers import crawl
from hlcli.data.transfers.archive_plan import MOST_AT_ONCE
from hlcli.data.transfers.crawl import ImageItem, crawl_images, plan_crawl
from hlcli.data.transfers.manifest import Kept
from hlcli.data.transfers.patience import HostGate, Patience
from hlcli.data.transfers.session import Session
from hlcli.data.transfers.transfer import fetch_file

from .transfer_parts import PATH, SHA256, assert_whole, given_clock, given_server, given_session, given_target  # noqa: F401

PAGE = (Path(__file__).parents[3] / "docs" / "downloads.md").read_text(encoding="utf-8")


def test_limits_are_those_of_the_page():
    assert "Archives: two at a time, one connection each." in PAGE
    assert "`--jobs 16`" in PAGE
    assert "at most 8 requests to a host at the same time, at most 10 new ones a second" in PAGE
    assert MOST_AT_ONCE == 2
    assert DownloadOptions().jobs == 16
    for maker in (Session, HostGate):
        limits = inspect.signature(maker).parameters
        assert (limits["per_host"].default, limits["per_second"].default) == (8, 10)


def test_waits_are_those_of_the_page():
    assert "five in a row, with growing random waits (at most 1, 2, 4, 8 s)" in PAGE
    assert "Connecting may take 10 s, a read 30 s, and 4 kB must come within a minute." in PAGE
    assert "else for a minute. A host that wants more than 15 minutes" in PAGE
    with Session() as session:
        patience, timeout = session.patience, session._client.timeout
    assert patience == Patience(5, 1, 60, 10, 30, 60, 4096, 60, 15 * 60)
    assert (timeout.connect, timeout.read, timeout.write) == (10, 30, 30)


def test_the_wait_after_a_failure_is_random_up_to_a_bound_that_doubles():
    random.seed(0)
    for failures, bound in ((1, 1), (2, 2), (3, 4), (4, 8), (7, 60), (50, 60)):
        waits = [Patience().wait_seconds(failures) for _ in range(200)]
        assert len(set(waits)) == 200
        assert 0 <= min(waits) < 0.1 * bound
        assert 0.9 * bound < max(waits) <= bound


def test_the_bytes_of_a_file_are_on_disk_before_it_has_its_name(server, session, target, monkeypatch):
    calls: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        calls.append(("fsync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def seen_replace(source: Path, final: Path) -> None:
        calls.append(("replace", os.stat(source).st_ino))
        replace(source, final)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    inode = target.stat().st_ino
    assert [name for name, number in calls if number == inode] == ["fsync", "replace"]


def test_a_crawl_remembers_little_of_each_photo(tmp_path, monkeypatch):
    """Its name and its sum, and no more than a handful of photos under way: 20,000 take some 7 MB."""

    def obtain(_: object, item: ImageItem) -> Kept:
        return Kept(20_000, item.url, hashlib.sha256(item.url.encode()).hexdigest())

    monkeypatch.setattr(crawl._Worker, "obtain", obtain)
    items = [ImageItem(str(number), f"http://x/{number}.jpg", f"low/{number}.jpg") for number in range(20_000)]
    plan = plan_crawl(items, tmp_path)
    tracemalloc.start()
    try:
        assert crawl_images(plan, tmp_path, session=None).fetched == len(items)
        assert tracemalloc.get_traced_memory()[1] < 500 * len(items)
    finally:
        tracemalloc.stop()
