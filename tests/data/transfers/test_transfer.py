from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

import pytest
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hlcli.data.transfers.checksums import Checksum, complaint_about
from hlcli.data.transfers.patience import Patience
from hlcli.data.transfers.session import Session
from hlcli.data.transfers.transfer import fetch_file
from hlcli.errors import DownloadError

from .transfer_parts import CONTENT, PATH, SHA256, assert_whole, given_clock, given_server, given_session, given_target  # noqa: F401


def interrupt(server: FaultyServer, target: Path, after: int = 100_000) -> None:
    """Leave a part of `after` bytes, as a run that was broken off would."""
    server.faults[PATH] = [Fault(drop_after=after)]
    with Session(Patience(tries=1), per_second=1e9) as session, pytest.raises(DownloadError):
        fetch_file([server.url(PATH)], target, session=session)
    assert target.with_name("file.bin.part").stat().st_size == after
    assert not target.exists()
    server.log.clear()


def test_a_file_arrives_whole_and_nothing_else_stays(server, session, target):
    seen = []
    fetch_file(
        [server.url(PATH)],
        target,
        session=session,
        checksum=SHA256,
        size=len(CONTENT),
        on_bytes=lambda done, total: seen.append((done, total)),
    )
    assert_whole(target)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    headers = server.log[0].headers
    assert headers["User-Agent"].startswith("hlcli/")
    assert headers["Accept-Encoding"] == "identity"
    assert "Range" not in headers


def test_a_dropped_connection_costs_only_the_missing_bytes(server, session, target):
    server.faults[PATH] = [Fault(drop_after=120_000), Fault(drop_after=70_000)]
    fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    assert [entry.first for entry in server.log] == [0, 120_000, 190_000]
    assert [entry.headers.get("If-Range") for entry in server.log] == [None, '"300000"', '"300000"']


def test_progress_restarts_the_count_of_failures(server, session, target):
    server.faults[PATH] = [Fault(drop_after=10_000)] * 12
    fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    assert len(server.log) == 13


def test_a_server_that_always_drops_at_the_same_byte_is_given_up(server, session, target):
    server.always[PATH] = Fault(drop_after=10_000, ignore_range=True)
    with pytest.raises(DownloadError, match=r"asked \d+ times"):
        fetch_file([server.url(PATH)], target, session=session)
    assert len(server.log) <= 15


@pytest.mark.parametrize(
    "fault",
    [
        Fault(ignore_range=True),
        Fault(wrong_content_range=True),
        Fault(status=416, headers={"Content-Range": "bytes */5"}),
        Fault(status=416),
        Fault(status=206, body=CONTENT[5:50], headers={"Content-Range": "bytes 5-49/300000"}),
        Fault(refuse_if_range=True),
        Fault(gzip=True),
    ],
    ids=["ignores-range", "wrong-content-range", "416-other-total", "416", "other-part", "refuses-if-range", "gzip"],
)
@pytest.mark.parametrize("checksum", [None, SHA256], ids=["no-sum", "sum"])
def test_misbehaviour_at_a_resumption_never_damages_the_file(server, session, target, fault, checksum):
    interrupt(server, target)
    server.faults[PATH] = [fault]
    fetch_file([server.url(PATH)], target, session=session, checksum=checksum)
    assert_whole(target)


def test_a_server_that_refuses_if_range_is_asked_plainly(server, session, target):
    interrupt(server, target)
    server.always[PATH] = Fault(refuse_if_range=True)
    fetch_file([server.url(PATH)], target, session=session)
    assert_whole(target)
    assert [(entry.status, entry.headers.get("If-Range")) for entry in server.log] == [(200, '"300000"'), (206, None)]


def test_a_changed_file_is_fetched_from_zero(server, session, target):
    interrupt(server, target)
    newer = CONTENT[::-1]
    server.files[PATH], server.etags[PATH] = newer, '"new"'
    fetch_file([server.url(PATH)], target, session=session)
    assert target.read_bytes() == newer
    assert [entry.status for entry in server.log] == [200]


def test_a_changed_file_behind_a_server_without_if_range_is_noticed_by_its_etag(server, session, target):
    interrupt(server, target)
    newer = CONTENT[::-1]
    server.files[PATH], server.etags[PATH] = newer, '"new"'
    server.always[PATH] = Fault(ignore_if_range=True)
    fetch_file([server.url(PATH)], target, session=session)
    assert target.read_bytes() == newer
    assert [entry.status for entry in server.log] == [206, 200]


def test_a_weak_etag_is_not_used_to_resume(server, session, target):
    server.etags[PATH] = 'W/"1"'
    interrupt(server, target)
    fetch_file([server.url(PATH)], target, session=session)
    assert_whole(target)
    assert [entry.first for entry in server.log] == [0]


def test_a_complete_part_is_finished_without_a_request(server, session, target):
    interrupt(server, target)
    target.with_name("file.bin.part").write_bytes(CONTENT)
    fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    assert server.log == []


def test_416_for_a_complete_part_of_unknown_length_is_the_end(server, session, target):
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(CONTENT)
    sidecar = f'{{"url": "{server.url(PATH)}", "etag": "\\"300000\\""}}'
    target.with_name("file.bin.part.json").write_text(sidecar)
    fetch_file([server.url(PATH)], target, session=session)
    assert_whole(target)
    assert [entry.status for entry in server.log] == [416]


@pytest.mark.parametrize("sidecar", ["", "{", "[]", '{"unknown": 1}'])
def test_a_damaged_sidecar_means_from_zero(server, session, target, sidecar):
    interrupt(server, target)
    target.with_name("file.bin.part.json").write_text(sidecar)
    fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    assert [entry.first for entry in server.log] == [0]


def test_wrong_bytes_are_fetched_once_more_then_from_the_next_mirror(server, session, target):
    server.files["/bad"] = CONTENT[:-1] + b"?"
    fetch_file([server.url("/bad"), server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    assert [entry.path for entry in server.log] == ["/bad", "/bad", PATH]


def test_wrong_bytes_everywhere_name_both_sums_and_leave_nothing(server, session, target):
    wrong = CONTENT[:-1] + b"?"
    server.files["/bad"] = wrong
    with pytest.raises(DownloadError) as caught:
        fetch_file([server.url("/bad")], target, session=session, checksum=SHA256)
    assert SHA256.value in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_wrong_old_bytes_are_noticed_by_the_checksum_of_the_whole(server, session, target):
    interrupt(server, target)
    target.with_name("file.bin.part").write_bytes(b"x" * 100_000)
    fetch_file([server.url(PATH)], target, session=session, checksum=SHA256)
    assert_whole(target)
    assert [entry.first for entry in server.log] == [100_000, 0]


def test_another_size_is_refused_before_its_bytes_are_fetched(server, session, target):
    server.faults[PATH] = [Fault(body=b"<html>quota</html>", headers={"Content-Type": "text/html"})] * 2
    with pytest.raises(DownloadError, match=r"18 bytes \(text/html\), expected 300,000"):
        fetch_file([server.url(PATH)], target, session=session, size=len(CONTENT))


@pytest.mark.parametrize("algorithm", ["md5", "git-sha1"])
@pytest.mark.parametrize("faults", [[], [Fault(drop_after=5000)], [Fault(gzip=True)]], ids=["plain", "dropped", "gzip"])
def test_other_sums_are_verified_too(server, session, target, algorithm, faults):
    blob = hashlib.sha1(b"blob 300000\0" + CONTENT).hexdigest()
    value = {"md5": hashlib.md5(CONTENT).hexdigest(), "git-sha1": blob}[algorithm]
    server.faults[PATH] = list(faults)
    fetch_file([server.url(PATH)], target, session=session, checksum=Checksum(algorithm, value))
    assert_whole(target)
    assert complaint_about(target, Checksum(algorithm, value), len(CONTENT)) is None
    assert "expected 0" in (complaint_about(target, Checksum(algorithm, "0"), None) or "")


def test_git_sum_is_that_of_git():
    digest = Checksum("git-sha1", "").start(6)
    digest.update(b"hello\n")
    assert digest.hexdigest() == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_full_disk_is_foreseen(server, session, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 1000))
    with pytest.raises(DownloadError, match=r"300,000 more bytes, but 1,000 are free"):
        fetch_file([server.url(PATH)], target, session=session)


def test_an_unwritable_place_is_an_error_not_a_traceback(server, session, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch_file([server.url(PATH)], tmp_path / "file" / "x", session=session)


FAULTS = st.one_of(
    st.builds(Fault, drop_after=st.integers(0, 3000)),
    st.builds(Fault, drop_after=st.integers(0, 3000), ignore_range=st.just(True)),
    st.sampled_from(
        [
            Fault(status=500),
            Fault(status=416),
            Fault(status=429, headers={"Retry-After": "1"}),
            Fault(wrong_content_range=True),
            Fault(refuse_if_range=True),
            Fault(gzip=True),
        ]
    ),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(FAULTS, max_size=4), with_sum=st.booleans())
def test_whatever_goes_wrong_a_finished_file_is_right(server, tmp_path, faults, with_sum):
    content = CONTENT[:3000]
    server.files["/small"], server.faults["/small"] = content, list(faults)
    checksum = Checksum("sha256", hashlib.sha256(content).hexdigest()) if with_sum else None
    target = tmp_path / "small"
    with Session(clock=FakeClock(), per_second=1e9) as session:
        fetch_file([server.url("/small")], target, session=session, checksum=checksum)
    assert target.read_bytes() == content
    assert list(tmp_path.iterdir()) == [target]


def test_requests_are_not_logged_above_debug(server, session, target, caplog):
    with caplog.at_level(logging.INFO, logger="hlcli"):
        fetch_file([server.url(PATH)], target, session=session)
    assert [record for record in caplog.records if record.name.startswith("hlcli")] == []
