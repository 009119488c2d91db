from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from faulty_server import Fault, without_proxies  # noqa: F401

from hlcli.data.transfers.patience import Patience, Stopped, retry_after_seconds
from hlcli.data.transfers.session import Refused, Session, _refuse_downgrade
from hlcli.data.transfers.transfer import fetch_file
from hlcli.errors import DownloadError

from .transfer_parts import CONTENT, PATH, SHA256, assert_whole, given_clock, given_server, given_session, given_target  # noqa: F401


def test_server_errors_are_retried_with_growing_random_waits(server, clock, session, target):
    server.faults[PATH] = [Fault(status=500), Fault(status=502), Fault(status=408)]
    fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    assert len(clock.waits) == 3
    assert all(0 <= wait <= bound for wait, bound in zip(clock.waits, (1, 2, 4), strict=True))


def test_patience_ends(server, session, target):
    server.always[PATH] = Fault(status=500)
    with pytest.raises(DownloadError, match=r"HTTP 500 Internal Server Error \(asked 5 times\)"):
        fetch_file([server.url(PATH)], target, session=session)
    assert len(server.log) == 5


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusals_are_not_repeated(server, session, target, status):
    server.always["/gone"] = Fault(status=status)
    fetch_file([server.url("/gone"), server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    assert [entry.path for entry in server.log] == ["/gone", PATH]


def test_no_server_at_all_is_an_error_with_the_address(session, target):
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9/x: ConnectError"):
        fetch_file(["http://127.0.0.1:9/x"], target, session=session)


@pytest.mark.parametrize(
    ("status", "headers", "least", "most"),
    [
        (429, {"Retry-After": "70"}, 50, 70),
        (503, {"Retry-After": "70"}, 50, 70),
        (429, {}, 40, 60),
        (503, {"Retry-After": "soon"}, 40, 60),
        (429, {"Retry-After": "-5"}, 40, 60),
    ],
)
def test_a_busy_host_is_left_alone_as_long_as_it_asks(server, clock, session, target, status, headers, least, most):
    server.faults[PATH] = [Fault(status=status, headers=headers)]
    fetch_file([server.url(PATH)], target, session=session)
    assert_whole(target)
    assert least <= sum(clock.waits) <= most


def test_a_busy_host_may_name_a_date(server, clock, session, target):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    server.faults[PATH] = [Fault(status=429, headers={"Retry-After": date})]
    fetch_file([server.url(PATH)], target, session=session)
    assert_whole(target)
    assert 300 < sum(clock.waits) <= 600


def test_retry_after_counts_from_the_servers_own_clock():
    then, now = "Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"
    assert retry_after_seconds(then, now) == 30
    assert retry_after_seconds(now, then) == 1
    assert retry_after_seconds(then) == 1
    assert retry_after_seconds("0") == 1
    assert retry_after_seconds(None) is None


def test_a_host_that_asks_for_too_much_is_left_for_the_next_mirror(server, session, target):
    server.files["/busy"] = CONTENT
    server.always["/busy"] = Fault(status=429, headers={"Retry-After": "86400"})
    with pytest.raises(DownloadError, match=r"asks to wait 86,400 s"):
        fetch_file([server.url("/busy")], target, session=session)
    assert len(server.log) == 1


def test_a_slow_but_steady_server_is_waited_for(server, session, target):
    server.faults[PATH] = [Fault(trickle=(60_000, 0.02))]
    fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)


def test_a_transfer_that_hardly_moves_is_broken_off_and_resumed(server, clock, target):
    server.faults[PATH] = [Fault(trickle=(500, 0.03))]
    with Session(Patience(stall_seconds=0.2, stall_bytes=100_000), clock, per_second=1e9) as session:
        fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    assert server.log[1].first > 0


def test_a_silent_server_is_timed_out(server, clock, target):
    server.faults[PATH] = [Fault(trickle=(1000, 5))]
    with Session(Patience(read_seconds=0.1), clock, per_second=1e9) as session:
        fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)


def test_redirects_are_followed_but_never_from_https_to_http(server, session, target):
    server.always["/old"] = Fault(status=302, headers={"Location": PATH})
    fetch_file([server.url("/old")], target, session=session, checksum=SHA256)
    assert_whole(target)
    request = httpx.Request("GET", "https://example.org/a")
    _refuse_downgrade(httpx.Response(302, headers={"Location": "/b"}, request=request))
    with pytest.raises(Refused, match=r"from https to http://example\.org/b"):
        _refuse_downgrade(httpx.Response(302, headers={"Location": "http://example.org/b"}, request=request))


def test_stopping_ends_waits_at_once(server, target):
    with Session(per_second=1e9) as session:
        session.clock.stop()
        with pytest.raises(Stopped):
            fetch_file([server.url(PATH)], target, session=session)


def test_proxies_of_the_environment_are_used(server, target, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url(""))
    monkeypatch.setenv("NO_PROXY", "")
    server.files["http://data.invalid/file.bin"] = CONTENT
    with Session(per_second=1e9) as session:
        fetch_file(["http://data.invalid/file.bin"], target, session=session, checksum=SHA256)
    assert_whole(target)
