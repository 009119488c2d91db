"""Fetching NUS-WIDE: lists and labels, photos one by one or from an archive placed by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from archive_files import make_zip
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401
from nuswide_files import OFFICIAL, write_official
from typer.testing import CliRunner

from hlcli.cli.main import app
from hlcli.data.datasets.base import DownloadOptions
from hlcli.data.datasets.nuswide import Nuswide, NuswideOptions
from hlcli.data.datasets.nuswide_download import read_addresses
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.session import Session
from hlcli.errors import DataError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_official(tmp_path / "NUS-WIDE")
    return tmp_path / "NUS-WIDE"


MATRICES = ("train_images", "train_labels", "val_images", "val_labels")

ADDRESSES = """Photo_file Photo_id url_Large url_Middle url_Small url_Original
C:\\ImageData\\Flickr\\actor\\0001_11.jpg   11 http://h/11_b.jpg http://h/11.jpg http://h/11_m.jpg null
C:\\ImageData\\Flickr\\zebra\\0002_12.jpg   12 null null http://h/12_m.jpg null \r
C:\\ImageData\\Flickr\\lake\\0004_14.jpg   14 http://h/14_b.jpg null null null
C:\\ImageData\\Flickr\\sun\\0005_15.jpg   15 null null null null
"""


def test_addresses_are_read_medium_size_first(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_text(ADDRESSES, newline="")
    assert [tuple(item) for item in read_addresses(path)] == [
        ("actor/0001_11.jpg", "http://h/11.jpg", "Flickr/actor/0001_11.jpg"),
        ("zebra/0002_12.jpg", "http://h/12_m.jpg", "Flickr/zebra/0002_12.jpg"),
        ("lake/0004_14.jpg", "http://h/14_b.jpg", "Flickr/lake/0004_14.jpg"),
        ("sun/0005_15.jpg", "", "Flickr/sun/0005_15.jpg"),
    ]
    path.write_text(ADDRESSES + "Rar!\n")
    with pytest.raises(DataError, match=r"urls\.txt, line 6: .*'Rar!'"):
        list(read_addresses(path))


@pytest.fixture
def server(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Serves the official archives, made from the miniature, and two of the photos."""
    monkeypatch.setattr(archive_download, "Session", partial(Session, clock=FakeClock(), per_second=1e9))
    with FaultyServer() as running:
        for name in ("ConceptsList", "Groundtruth", "ImageList"):
            files = {path.relative_to(source).as_posix(): path.read_bytes() for path in (source / name).rglob("*.txt")}
            running.files[f"/{name}.zip"] = make_zip(files)
        for file in ("actor/0001_11.jpg", "lake/0004_14.jpg"):
            running.files[f"/{file}"] = (source / "Flickr" / file).read_bytes()
        running.always["/zebra/0002_12.jpg"] = Fault(status=410)
        sources = [
            entry._replace(urls=tuple(running.url(f"/{entry.name}") for _ in entry.urls)) for entry in Nuswide().sources
        ]
        monkeypatch.setattr(Nuswide, "sources", tuple(sources))
        yield running


def test_a_crawl_fetches_lists_and_photos_and_is_told_from_the_official_set(server, tmp_path, caplog):
    addresses = tmp_path / "NUS-WIDE-urls.txt"
    files = [file.replace("\\", "/") for file in OFFICIAL if file.startswith(("actor", "zebra", "lake"))]
    lines = [f"C:\\ImageData\\Flickr\\{f.replace('/', chr(92))} 1 null {server.url('/' + f)} null null" for f in files]
    addresses.write_text("\n".join(lines))
    data = Nuswide(root=tmp_path / "data")
    report = data.download(data.folder(), DownloadOptions(crawl=addresses))
    assert (report.fetched, report.missing, report.unit) == (2, ("zebra/0002_12.jpg",), "photo")
    assert json.loads(report.failures.read_text())["status"] == 410
    assert "Flickr.zip cannot be fetched" in caplog.text
    prepared = data.prepare(data.folder(), NuswideOptions(allow_partial=True))
    assert [record.image_id for record in prepared.splits["train"]] == ["actor/0001_11.jpg"]
    assert prepared.notes["data_set"] == "own crawl by the lists of the official split, 4 of 269,648 images"
    plan = data.plan_download(data.folder(), DownloadOptions(crawl=addresses))
    assert ("2 photos", "present", "0 bytes") in plan
    assert ("1 photo", "gone", "0 bytes") in plan


def test_photos_without_an_address_are_listed_as_missing(server, source, tmp_path):
    addresses = tmp_path / "urls.txt"
    addresses.write_text("C:\\Flickr\\lake\\0004_14.jpg 14 null null null null\n")
    root = tmp_path / "data"
    words = ["download", "nuswide", "--root", str(root), "--crawl", str(addresses)]
    shown = CliRunner().invoke(app, [*words, "--dry-run"])
    assert re.search(r"1 photo +gone +0 bytes", shown.stdout)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3, result.output
    assert "nuswide: 0 of 1 photos" in result.stdout
    failure = json.loads((root / "nuswide" / "failures.jsonl").read_text())
    assert failure.items() >= {
        ("id", "lake/0004_14.jpg"), ("url", ""), ("attempts", 0), ("error", "no address is published"), ("gone", True)
    }  # fmt: skip
    assert CliRunner().invoke(app, [*words, "--retry-failed"]).exit_code == 3
    photo = root / "nuswide" / "Flickr" / "lake" / "0004_14.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes((source / "Flickr" / "lake" / "0004_14.jpg").read_bytes())
    assert "1 photo" in CliRunner().invoke(app, words).stdout
    assert not (root / "nuswide" / "failures.jsonl").exists()
    assert "(0 of them new)" in CliRunner().invoke(app, words).stdout


def test_the_archive_of_photos_may_be_placed_by_hand(server, source, tmp_path):
    photos = {f"Flickr/{p.parent.name}/{p.name}": p.read_bytes() for p in (source / "Flickr").rglob("*.jpg")}
    (tmp_path / "Flickr.zip").write_bytes(make_zip(photos))
    data = Nuswide(root=tmp_path / "data")
    report = data.download(data.folder(), DownloadOptions(source=tmp_path))
    assert (report.fetched, report.unit) == (4, "file")
    prepared = data.prepare(data.folder(), NuswideOptions(allow_partial=True))
    assert prepared.notes["data_set"] == "part of the official split, 6 of 269,648 images"
    assert [len(records) for records in prepared.splits.values()] == [2, 2]


def test_an_address_list_cannot_lead_out_of_the_folder_of_photos(tmp_path):
    urls = " ".join([f"http://example.org/{size}.jpg" for size in "lmso"])
    (tmp_path / "urls.txt").write_text(f"..\\evil.jpg 17 {urls}\n")
    with pytest.raises(DataError, match=r"line 1: a path below the folder of images was expected"):
        list(read_addresses(tmp_path / "urls.txt"))


def test_the_other_variants_say_what_to_ask_for_and_take_it_by_hand(tmp_path, caplog):
    data = Nuswide(root=tmp_path)
    report = data.download(data.folder(), DownloadOptions(parts=("spml", "asl-images"), offline=True))
    assert report.missing == ("images.zip", *(f"formatted_{part}.npy" for part in MATRICES))
    assert "https://caltech.box.com/v/single-positive-multi-label" in caplog.text
    assert "Google Drive" in caplog.text
    (data.folder() / "images").mkdir(parents=True)
    for part in MATRICES:
        (data.folder() / f"formatted_{part}.npy").write_bytes(b"numbers")
    assert data.download(data.folder(), DownloadOptions(parts=("spml", "asl-images"), offline=True)).missing == ()
