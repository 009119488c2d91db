"""Which addresses are asked, and what is said of those that fail; what a download leaves behind that asks none."""

from __future__ import annotations

import logging

import pytest
from faulty_server import without_proxies  # noqa: F401

from hlcli.data.transfers import archive_download, archives
from hlcli.data.transfers.transfer import fetch_file
from hlcli.errors import DownloadError, InputError
from hlcli.progress import Progress

from .archive_parts import LABELS, TEST, fetch, given_folder, given_server, given_sources  # noqa: F401


def test_an_address_that_fails_is_named_before_the_next_one_is_asked(server, sources, folder, caplog):
    del server.files["/first/labels.txt"]
    assert fetch(sources[2:], folder).fetched == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"{server.url('/first/labels.txt')}: HTTP 404 Not Found; asking the next address."]


def test_the_last_address_that_fails_is_named_in_the_error_alone(server, sources, folder, caplog):
    for place in ("first", "second"):
        del server.files[f"/{place}/labels.txt"]
    with pytest.raises(DownloadError, match=r"first/labels\.txt: HTTP 404 .*second/labels\.txt: HTTP 404"):
        fetch(sources[2:], folder)
    assert caplog.text.count("asking the next address") == 1


@pytest.mark.parametrize("mirror", ["127.0.0.1:8977/x", "ftp://host/x", "/srv/mirror", "http:/host", ""])
def test_a_mirror_that_is_no_address_is_refused(server, sources, folder, mirror):
    with pytest.raises(InputError, match=r"--mirror .*begins with https:// or http://"):
        fetch(sources, folder, mirror=mirror)
    assert server.log == []
    assert not folder.exists()


def test_offline_a_set_that_is_not_there_leaves_nothing_behind(sources, folder, caplog):
    with caplog.at_level(logging.INFO, "hlcli"), pytest.raises(DownloadError, match="nothing is fetched offline"):
        fetch(sources, folder, offline=True)
    assert not folder.parent.exists()
    assert "Downloading" not in caplog.text
    assert "Unpacking" not in caplog.text


def test_offline_a_set_that_is_given_by_hand_is_made(sources, folder, tmp_path, caplog):
    hand = tmp_path / "hand"
    hand.mkdir()
    (hand / "labels.txt").write_bytes(LABELS)
    (hand / "test.zip").write_bytes(TEST)
    with caplog.at_level(logging.INFO, "hlcli"):
        assert fetch(sources[1:], folder, source=hand, offline=True).fetched == 2
    assert (folder / "labels.txt").read_bytes() == LABELS
    assert "Downloading" not in caplog.text
    assert "Unpacking: 4 files in" in caplog.text


def test_the_clock_of_unpacking_starts_with_the_first_archive(sources, folder, monkeypatch):
    events = []

    class Bar(Progress):
        def __enter__(self):
            events.append(self.title)
            return super().__enter__()

    def fetch_noted(*args, **kwargs):
        fetch_file(*args, **kwargs)
        events.append("fetched")

    monkeypatch.setattr(archives, "Progress", Bar)
    monkeypatch.setattr(archive_download, "fetch_file", fetch_noted)
    fetch(sources[:2], folder, jobs=1)
    assert events == ["fetched", "Unpacking", "fetched"]
