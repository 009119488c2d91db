"""Locks on disks that fail or know none, and in forked processes: the same for runs, results and folders."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hlcli.errors import HlcliError
from hlcli.locks import lock_folder
from hlcli.prediction.result_work import WorkRecord
from hlcli.runs import Run

_LOCKS: dict[str, Callable[[Path], object]] = {
    "folder": lambda folder: lock_folder(folder).__enter__(),
    "run": lambda folder: Run(folder).lock(),
    "results": lambda folder: WorkRecord(folder / "out.jsonl", {}).lock(),
}


def _failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)


@pytest.mark.parametrize("name", _LOCKS)
def test_a_disk_without_locks_is_warned_of(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _failing(monkeypatch, errno.ENOLCK)
    _LOCKS[name](tmp_path)
    (said,) = caplog.messages
    assert said == f"{tmp_path} is on a file system without locks: do not start two commands at once in it."
    _LOCKS[name](tmp_path)  # as for every model of a training
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("name", _LOCKS)
def test_a_disk_that_fails_locks_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, errno.EIO)
    with pytest.raises((HlcliError, OSError), match="Input/output error"):
        _LOCKS[name](tmp_path)


def test_a_forked_process_does_not_hold_its_parents_results(tmp_path: Path) -> None:
    """Loader processes outlive a kill of their parent for seconds."""
    record = WorkRecord(tmp_path / "out.jsonl", {})
    record.lock()
    assert record._handle is not None
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    try:
        record._handle.close()  # as when this process ends
        deadline = time.monotonic() + 30
        while True:
            try:
                record.lock()
                return record.unlock()
            except HlcliError:  # the other one is not quite there yet
                assert time.monotonic() < deadline
    finally:
        process.kill()
        process.join()
