"""A data set of two archives and a file, on a server with two addresses for each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from archive_files import make_tar, make_zip
from faulty_server import FakeClock, FaultyServer

from hlcli.data.datasets.base import DownloadOptions, Source
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.archive_download import download
from hlcli.data.transfers.checksums import Checksum
from hlcli.data.transfers.session import Session

TRAIN = make_tar({f"kit/images/{i}.jpg": bytes([i]) * 2000 for i in range(5)})
TEST = make_zip({f"kit/images/{i}.jpg": bytes([i]) * 100 for i in range(5, 9)})
LABELS = b"1 2 3\n" * 50
PUBLISHED = {"train.tar": TRAIN, "test.zip": TEST, "labels.txt": LABELS}
IMAGES = {f"kit/images/{i}.jpg" for i in range(9)}


@pytest.fixture(name="server")
def given_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(archive_download, "Session", partial(Session, clock=FakeClock(), per_second=1e9))
    with FaultyServer() as running:
        running.files |= {f"/first/{name}": content for name, content in PUBLISHED.items()}
        running.files |= {f"/second/{name}": content for name, content in PUBLISHED.items()}
        yield running


@pytest.fixture(name="sources")
def given_sources(server: FaultyServer) -> tuple[Source, ...]:
    return tuple(
        Source(
            name,
            (server.url(f"/first/{name}"), server.url(f"/second/{name}")),
            len(content),
            Checksum("sha256", hashlib.sha256(content).hexdigest()),
            None if name.endswith("txt") else ".",
            "annotations" if name.endswith("txt") else "images",
        )
        for name, content in PUBLISHED.items()
    )


@pytest.fixture(name="folder")
def given_folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "toy"


def fetch(sources, folder: Path, **options):
    return download("toy", sources, folder, DownloadOptions(**options))


def visible(folder: Path) -> set[str]:
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {path for path in paths if not path.startswith(".")}
