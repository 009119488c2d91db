from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401
from noise_photos import noise_jpeg

from hlcli.data.transfers.crawl import CrawlReport, ImageItem, crawl_images, plan_crawl
from hlcli.data.transfers.image_fetch import not_an_image
from hlcli.data.transfers.manifest import Kept, Manifest, read_failures
from hlcli.data.transfers.patience import HostUnavailable
from hlcli.data.transfers.session import Session
from hlcli.errors import HlcliError, InputError
from hlcli.locks import lock_folder

from .transfer_parts import given_clock, given_session  # noqa: F401

PHOTOS = {f"/p{i}.jpg": noise_jpeg(i) for i in range(12)}


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        running.files |= PHOTOS
        yield running


def items_of(server: FaultyServer) -> list[ImageItem]:
    return [ImageItem(f"id{i}", server.url(path), f"low{path}") for i, path in enumerate(server.files)]


def crawl(
    items: list[ImageItem], folder: Path, session: Session | None, *, retry_failed=False, **options
) -> CrawlReport:
    plan = plan_crawl(items, folder, overwrite=options.get("overwrite", False), retry_failed=retry_failed)
    folder.mkdir(exist_ok=True)
    return crawl_images(plan, folder, session=session, **options)


def test_photos_are_stored_as_they_were_sent(server, session, tmp_path):
    counts = []
    report = crawl(items_of(server), tmp_path, session, on_done=lambda *numbers: counts.append(numbers))
    assert report == CrawlReport(0, 12, [])
    assert counts == [(number, 0) for number in range(1, 13)]
    assert {f"/{path.name}": path.read_bytes() for path in (tmp_path / "low").iterdir()} == PHOTOS
    assert all(entry.headers["Accept"].startswith("image/jpeg") for entry in server.log)


def test_a_second_run_asks_nobody(server, session, tmp_path):
    crawl(items_of(server), tmp_path, session)
    server.log.clear()
    assert crawl(items_of(server), tmp_path, None) == CrawlReport(12, 0, [])
    assert server.log == []


def test_a_second_run_over_many_photos_takes_no_time(tmp_path):
    items = [ImageItem(str(i), f"http://x/{i}", f"low/{i}.jpg") for i in range(1000)]
    (tmp_path / "low").mkdir()
    with Manifest(tmp_path).writer() as add:
        for item in items:
            (tmp_path / item.file).write_bytes(b"1")
            add(item.file, Kept(1, item.url))
    began = time.perf_counter()
    assert len(plan_crawl(items, tmp_path).present) == 1000
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("status", [404, 410])
def test_a_gone_photo_is_listed_and_asked_for_again_only_on_demand(server, session, tmp_path, status):
    server.always["/p3.jpg"] = Fault(status=status)
    report = crawl(items_of(server), tmp_path, session)
    assert (report.fetched, [failure.id for failure in report.failures]) == (11, ["id3"])
    (row,) = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert row["id"] == "id3"
    assert (row["status"], row["attempts"]) == (status, 1)
    assert row["url"] == row["final_url"] == server.url("/p3.jpg")
    assert row["time"].startswith("20")

    server.always.clear()
    server.log.clear()
    again = crawl(items_of(server), tmp_path, session)
    assert (again.present, again.fetched, len(again.failures), server.log) == (11, 0, 1, [])
    assert crawl(items_of(server), tmp_path, session, retry_failed=True) == CrawlReport(11, 1, [])
    assert not (tmp_path / "failures.jsonl").exists()


def test_other_failures_are_asked_for_again_by_themselves(server, session, tmp_path):
    server.always["/p3.jpg"] = Fault(status=500)
    assert [failure.attempts for failure in crawl(items_of(server), tmp_path, session).failures] == [5]
    server.always.clear()
    assert crawl(items_of(server), tmp_path, session) == CrawlReport(11, 1, [])


def test_failures_of_photos_that_are_not_asked_for_stay_listed(server, session, tmp_path):
    server.always["/p3.jpg"] = Fault(status=404)
    items = items_of(server)
    crawl(items, tmp_path, session)
    crawl(items[5:], tmp_path, session)
    assert set(read_failures(tmp_path)) == {"id3"}


@pytest.mark.parametrize(
    ("fault", "asked", "is_gone"),
    [
        (Fault(body=b"<html>sorry</html>", headers={"Content-Type": "text/html"}), 1, False),
        (Fault(body=PHOTOS["/p3.jpg"][:-200]), 2, True),
        (Fault(body=b""), 2, True),
        (Fault(status=206, body=PHOTOS["/p3.jpg"]), 1, False),
    ],
    ids=["web-page", "truncated", "empty", "part"],
)
def test_what_is_not_a_whole_image_is_never_stored(server, session, tmp_path, fault, asked, is_gone):
    server.always["/p3.jpg"] = fault
    report = crawl(items_of(server), tmp_path, session)
    assert [failure.id for failure in report.failures] == ["id3"]
    assert not (tmp_path / "low" / "p3.jpg").exists()
    assert len(server.asked("/p3.jpg")) == asked
    assert report.failures[0].is_gone == is_gone


def test_a_photo_cut_short_once_is_fetched_whole(server, session, tmp_path):
    server.faults["/p3.jpg"] = [Fault(drop_after=50), Fault(status=500), Fault(body=PHOTOS["/p3.jpg"][:-200])]
    assert crawl(items_of(server), tmp_path, session) == CrawlReport(0, 12, [])
    assert (tmp_path / "low" / "p3.jpg").read_bytes() == PHOTOS["/p3.jpg"]


def test_a_busy_answer_pauses_the_whole_host_once(server, clock, session, tmp_path):
    server.faults["/p3.jpg"] = [Fault(status=429, headers={"Retry-After": "30"})]
    assert crawl(items_of(server), tmp_path, session, jobs=4) == CrawlReport(0, 12, [])
    assert clock.waits
    assert max(clock.waits) <= 30


def test_a_host_that_stays_busy_ends_the_run_but_keeps_what_was_fetched(server, session, tmp_path):
    items = items_of(server)
    server.always["/p11.jpg"] = Fault(status=503, headers={"Retry-After": "100000"})
    with pytest.raises(HostUnavailable, match="run the same command again later"):
        crawl(items, tmp_path, session, jobs=1)
    there = list((tmp_path / "low").iterdir())
    assert len(there) == 11
    server.always.clear()
    assert crawl(items, tmp_path, None).present == 11


def test_a_host_that_fails_on_everything_ends_the_run_soon(tmp_path, session):
    items = [ImageItem(str(i), f"http://127.0.0.1:9/{i}.jpg", f"low/{i}.jpg") for i in range(500)]
    with pytest.raises(HostUnavailable, match=r"127\.0\.0\.1:9 failed on \d+ addresses in a row.*HTTPS_PROXY"):
        crawl(items, tmp_path, session, jobs=4)
    assert len(read_failures(tmp_path)) < 100


def test_a_few_bad_photos_among_good_ones_do_not_end_the_run(server, session, tmp_path):
    server.always |= {path: Fault(status=500) for path in list(PHOTOS)[::2]}
    report = crawl(items_of(server) * 2, tmp_path, session, jobs=1)
    assert (report.fetched, len(report.failures)) == (6, 6)


def test_only_so_many_requests_reach_a_host_at_a_time(server, tmp_path):
    for path in server.files:
        server.always[path] = Fault(trickle=(200, 0.005))
    with Session(clock=FakeClock(), per_host=3, per_second=1e9) as session:
        crawl(items_of(server), tmp_path, session, jobs=12)
    assert 1 < server.busiest <= 3


def test_requests_are_spaced_out(server, tmp_path):
    with Session(per_second=100) as session:
        began = time.perf_counter()
        crawl(items_of(server), tmp_path, session, jobs=12)
    assert time.perf_counter() - began >= 0.11


def test_files_that_lie_there_are_checked_before_they_count(server, session, tmp_path):
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "p1.jpg").write_bytes(PHOTOS["/p2.jpg"])
    (tmp_path / "low" / "p2.jpg").write_bytes(PHOTOS["/p2.jpg"][:-200])
    assert crawl(items_of(server), tmp_path, session).fetched == 12
    assert server.asked("/p1.jpg") == []
    assert (tmp_path / "low" / "p2.jpg").read_bytes() == PHOTOS["/p2.jpg"]


def test_a_listed_file_of_another_length_is_fetched_again(server, session, tmp_path):
    crawl(items_of(server), tmp_path, session)
    (tmp_path / "low" / "p4.jpg").write_bytes(PHOTOS["/p4.jpg"][:-1])
    (tmp_path / "low" / "p5.jpg").unlink()
    assert crawl(items_of(server), tmp_path, session) == CrawlReport(10, 2, [])


def test_other_addresses_for_photos_that_are_there_are_refused_unless_overwritten(server, session, tmp_path):
    items = items_of(server)
    crawl(items, tmp_path, session)
    wider = [item._replace(url=f"{item.url}?w=9") for item in items]
    with pytest.raises(InputError, match=r"12 images .* other addresses"):
        crawl(wider, tmp_path, session)
    assert crawl(wider, tmp_path, session, overwrite=True) == CrawlReport(0, 12, [])
    assert crawl(wider, tmp_path, session) == CrawlReport(12, 0, [])


def test_hand_placed_photos_are_checked_and_copied_without_a_connection(server, tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    (given / "p0.jpg").write_bytes(PHOTOS["/p0.jpg"])
    (given / "p1.jpg").write_bytes(b"<html>")
    report = crawl(items_of(server)[:3], tmp_path / "out", None, hand_placed=lambda item: given / Path(item.file).name)
    assert report.fetched == 1
    errors = {failure.id: failure.error for failure in report.failures}
    assert "p1.jpg cannot be decoded" in errors["id1"]
    assert "nothing is fetched offline" in errors["id2"]
    assert server.log == []


def test_one_file_listed_twice_is_fetched_once(server, session, tmp_path):
    items = items_of(server)
    assert crawl(items + items, tmp_path, session) == CrawlReport(0, 12, [])
    assert len(server.log) == 12


def test_a_place_that_cannot_be_written_ends_the_run_with_an_error(server, session, tmp_path):
    (tmp_path / "low").write_text("in the way")
    with pytest.raises(HlcliError, match="cannot be"):
        crawl(items_of(server), tmp_path, session)


def test_a_list_that_cannot_be_written_is_an_error_not_a_traceback(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HlcliError, match=r"photos\.jsonl cannot be written"), Manifest(tmp_path / "file").writer():
        pass


def test_a_torn_manifest_line_costs_one_look_at_the_file(server, session, tmp_path):
    crawl(items_of(server), tmp_path, session)
    manifest = tmp_path / "photos.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-10])
    server.log.clear()
    assert crawl(items_of(server), tmp_path, session) == CrawlReport(11, 1, [])
    assert server.log == []
    assert crawl(items_of(server), tmp_path, None) == CrawlReport(12, 0, [])


def test_two_runs_in_one_folder_are_kept_apart(tmp_path):
    with lock_folder(tmp_path), pytest.raises(HlcliError, match="Another hlcli"), lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        pass


CHILD = """
import signal, sys
from pathlib import Path
from hlcli.data.transfers.crawl import ImageItem, crawl_images, plan_crawl
from hlcli.data.transfers.session import Session
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background would hand down "ignored"
folder = Path(sys.argv[1])
items = [ImageItem(url, url, "low/" + url.rsplit("/", 1)[1]) for url in sys.argv[2:]]
with Session(per_second=2) as session:
    crawl_images(plan_crawl(items, folder), folder, session=session, jobs=2)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_broken_off_leaves_only_whole_photos_and_goes_on(server, session, tmp_path, number):
    items = items_of(server)
    command = [sys.executable, "-c", CHILD, str(tmp_path), *(item.url for item in items)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while len(server.log) < 5:
        assert child.poll() is None
        time.sleep(0.005)
    child.send_signal(number)
    assert child.wait(10) != 0
    there = list((tmp_path / "low").glob("[!.]*"))
    assert 0 < len(there) < 12
    assert all(not_an_image(path.read_bytes(), "") is None for path in there)
    server.log.clear()
    report = crawl(items, tmp_path, session)
    assert (report.present + report.fetched, report.failures) == (12, [])
    assert len(server.log) == 12 - len(there)
