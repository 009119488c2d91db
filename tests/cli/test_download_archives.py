from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from archive_files import make_tar
from click.testing import Result
from faulty_server import FakeClock, FaultyServer, without_proxies  # noqa: F401
from typer.testing import CliRunner

from hlcli.cli.main import app
from hlcli.data.datasets.base import Source
from hlcli.data.datasets.voc import Voc2007
from hlcli.data.download import downloadable, find_downloads
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.checksums import Checksum
from hlcli.data.transfers.session import Session

PHOTO = b"a photo"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["download", *words, "--root", str(root)])


@pytest.fixture
def archive_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Serves VOC 2007 as two small archives; stands in for the published places."""
    parts = {"trainval": "000005", "test": "000001"}
    with FaultyServer() as running:
        sources = []
        for part, image in parts.items():
            folder = "VOCdevkit/VOC2007"
            content = make_tar({f"{folder}/ImageSets/Main/{part}.txt": b"", f"{folder}/JPEGImages/{image}.jpg": PHOTO})
            running.files[f"/VOC{part}.tar"] = content
            md5 = Checksum("md5", hashlib.md5(content).hexdigest())
            sources.append(Source(f"VOC{part}.tar", (running.url(f"/VOC{part}.tar"),), len(content), md5, "."))
        monkeypatch.setattr(Voc2007, "sources", tuple(sources))
        monkeypatch.setattr(archive_download, "Session", partial(Session, per_second=1e9, clock=FakeClock()))
        yield running


def test_archives_are_fetched_and_unpacked_into_one_folder(archive_server, root):
    result = run(root, "voc2007")
    assert result.exit_code == 0, result.output
    assert f"voc2007: 2 files in {root / 'voc2007'} (2 of them new)." in result.stdout
    assert "terms of use" in result.stderr
    photos = root / "voc2007" / "VOCdevkit" / "VOC2007" / "JPEGImages"
    assert sorted(path.name for path in photos.iterdir()) == ["000001.jpg", "000005.jpg"]
    assert not list((root / "voc2007").rglob("*.tar"))
    archive_server.log.clear()
    again = run(root, "voc2007", "--accept-licence")
    assert "(0 of them new)" in again.stdout
    assert archive_server.log == []


def test_the_licence_that_was_shown_is_noted(archive_server, root):
    note = root / "voc2007" / ".fetched" / "licence.json"
    assert run(root, "voc2007", "--dry-run").exit_code == 0
    assert run(root, "voc2007", "--accept-licence").exit_code == 0
    assert not note.exists()
    result = run(root, "voc2007")
    shown = json.loads(note.read_text())
    assert f"voc2007: {shown['text']}" in result.stderr
    assert datetime.fromisoformat(shown["shown"]).tzinfo is not None


def test_a_dry_run_of_archives_shows_files_states_and_space(archive_server, root):
    result = run(root, "voc2007", "--dry-run")
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:3]] == [
        ["VOCtrainval.tar", "missing"],
        ["VOCtest.tar", "missing"],
    ]
    assert "disk space needed" in result.stdout
    assert not root.exists()
    assert archive_server.log == []


def test_a_damaged_archive_is_an_error_with_both_sums(archive_server, root):
    wrong = bytes(len(archive_server.files["/VOCtest.tar"]))
    archive_server.files["/VOCtest.tar"] = wrong
    result = run(root, "voc2007")
    assert result.exit_code == 1
    assert "VOCtest.tar could not be fetched" in result.stderr
    assert f"md5 is {hashlib.md5(wrong).hexdigest()}, expected" in result.stderr
    assert "Traceback" not in result.output


def test_all_sets_with_a_licence_can_be_downloaded(root):
    names = ["intentonomy", "coco", "coco-karpathy", "voc2007", "voc2012", "nuswide", "vg500", "cub"]
    assert downloadable() == [*names, "flickr8k", "flickr30k"]
    shared = {"coco-karpathy": "coco"}  # the same photos
    for section in find_downloads(downloadable(), root):
        assert section.folder() == root / shared.get(section.name, section.name)
    result = run(root, "shapes")
    assert result.exit_code == 2
    assert "There is no data set 'shapes' to download" in result.stderr


def test_a_file_to_be_placed_by_hand_is_counted_as_missing(archive_server, root, monkeypatch):
    by_hand = Source("Photos.zip", unpack_to="Photos", by_hand="Write to the authors.")
    monkeypatch.setattr(Voc2007, "sources", (*Voc2007.sources, by_hand))
    result = run(root, "voc2007")
    assert result.exit_code == 3
    assert "voc2007: 2 of 3 files in" in result.stdout
    assert "warning: 1 file missing (33.3%): Photos.zip (to be placed by hand)." in result.stderr


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_over_plain_http_sums_are_compared_but_for_files_placed_by_hand(archive_server, root, tmp_path, more):
    result = run(root, "voc2007", "--no-verify", *more)
    assert result.exit_code == 2
    assert "voc2007: --no-verify is refused for what comes over plain http" in result.stderr
    assert "VOCtrainval.tar, VOCtest.tar." in result.stderr
    assert archive_server.log == []
    for name in ("VOCtrainval.tar", "VOCtest.tar"):
        (tmp_path / name).write_bytes(archive_server.files[f"/{name}"])
    assert run(root, "voc2007", "--no-verify", "--from", str(tmp_path), *more).exit_code == 0


def test_an_archive_that_was_never_verified_ends_with_3_until_it_is(archive_server, root, tmp_path):
    for name in ("VOCtrainval.tar", "VOCtest.tar"):
        (tmp_path / name).write_bytes(archive_server.files[f"/{name}"])
    assert run(root, "voc2007", "--no-verify", "--from", str(tmp_path)).exit_code == 0
    result = run(root, "voc2007")
    assert result.exit_code == 3
    assert "warning: VOCtrainval.tar, VOCtest.tar came without verification" in result.stderr
    assert archive_server.log == []
    assert run(root, "voc2007", "--from", str(tmp_path)).exit_code == 0  # they can be compared
    assert run(root, "voc2007").exit_code == 0


def test_a_root_that_cannot_be_written_is_explained(archive_server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    result = run(tmp_path / "file", "voc2007")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert "Traceback" not in result.output


def test_a_proxy_and_a_disk_that_seems_too_small_are_options(archive_server, root, monkeypatch):
    result = run(root, "voc2007", "--proxy", "nonsense")
    assert result.exit_code == 2
    assert "--proxy nonsense: " in result.stderr
    monkeypatch.setattr(archive_download, "free_bytes", lambda folder: 1)
    result = run(root, "voc2007")
    assert result.exit_code == 1
    assert "bytes are needed to fetch and unpack 2 files, but 1 are free" in result.stderr
    assert archive_server.log == []
    archive_server.files |= {archive_server.url(path): content for path, content in archive_server.files.items()}
    result = run(root, "voc2007", "--force", "--proxy", archive_server.url(""))
    assert result.exit_code == 0, result.output
    assert {entry.path for entry in archive_server.log} == {
        archive_server.url("/VOCtrainval.tar"), archive_server.url("/VOCtest.tar")
    }  # fmt: skip
