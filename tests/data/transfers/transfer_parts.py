"""A file on a server that can fail, and a session that asks it without waiting."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import FakeClock, FaultyServer

from hlcli.data.transfers.checksums import Checksum
from hlcli.data.transfers.patience import Patience
from hlcli.data.transfers.session import Session

CONTENT = random.Random(7).randbytes(300_000)
SHA256 = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())
PATH = "/file.bin"


@pytest.fixture(name="server")
def given_server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        running.files[PATH] = CONTENT
        yield running


@pytest.fixture(name="clock")
def given_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(name="session")
def given_session(clock: FakeClock) -> Iterator[Session]:
    with Session(Patience(read_seconds=5), clock, per_second=1e9) as opened:
        yield opened


@pytest.fixture(name="target")
def given_target(tmp_path: Path) -> Path:
    return tmp_path / "set" / "file.bin"


def assert_whole(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]
