"""Proxies and certificates: what is given, or what the environment says, holds for every request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from faulty_server import FaultyServer, without_proxies  # noqa: F401
from noise_photos import noise_jpeg

from hlcli.data.datasets.base import DownloadOptions
from hlcli.data.transfers.crawl import ImageItem, crawl_images, plan_crawl
from hlcli.data.transfers.session import Session, _trusted
from hlcli.errors import InputError

from .archive_parts import LABELS, fetch, given_folder, given_server, given_sources  # noqa: F401

FAR = "http://far.example"


@pytest.fixture
def proxy() -> Iterator[FaultyServer]:
    """A server that is asked for whole addresses, as proxies are, and has the files of a host that does not exist."""
    with FaultyServer() as running:
        running.files |= {f"{FAR}/labels.txt": LABELS, f"{FAR}/1.jpg": noise_jpeg(1)}
        yield running


@pytest.fixture(autouse=True)
def own_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_files_come_through_the_given_proxy(proxy, server, sources, folder):
    far = sources[2]._replace(urls=(f"{FAR}/labels.txt",))
    assert fetch([far], folder, proxy=proxy.url("")).fetched == 1
    assert (folder / "labels.txt").read_bytes() == LABELS
    assert [entry.path for entry in proxy.log] == [f"{FAR}/labels.txt"]


def test_photos_come_through_the_given_proxy_whatever_the_environment_says(proxy, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    with Session(per_second=1e9, proxy=proxy.url("")) as session:
        todo = plan_crawl([ImageItem("1", f"{FAR}/1.jpg", "low/1.jpg")], tmp_path)
        assert crawl_images(todo, tmp_path, session=session).fetched == 1
    assert [entry.path for entry in proxy.log] == [f"{FAR}/1.jpg"]


def test_the_proxy_of_the_environment_is_used_except_where_it_must_not_be(proxy, server, sources, folder, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy.url(""))
    far = sources[2]._replace(name="far.txt", urls=(f"{FAR}/labels.txt",))
    assert fetch([far], folder).fetched == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert fetch([sources[2]], folder).fetched == 1
    assert [entry.path for entry in proxy.log] == [f"{FAR}/labels.txt"]
    assert [entry.path for entry in server.log] == ["/first/labels.txt"]


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("far.example:8080", r"--proxy far\.example:8080: .*Write http://HOST:PORT\."),
        ("ftp://far.example", r"--proxy ftp://far\.example: .*Write http://HOST:PORT\."),
        ("http://[::bad", r"--proxy .*Write http://HOST:PORT\."),
    ],
)
def test_an_address_that_is_no_proxy_is_explained(sources, folder, address, complaint):
    with pytest.raises(InputError, match=complaint):
        fetch(sources, folder, proxy=address)


def test_a_proxy_of_the_environment_that_cannot_be_used_is_explained(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://far.example:1")
    with pytest.raises(InputError, match=r"HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY: .*Write http://HOST:PORT"):
        Session()


def certificates_in(path: Path, number: int) -> Path:
    """The first few certificates that everybody trusts, as a file."""
    marker = "-----END CERTIFICATE-----\n"
    parts = Path(certifi.where()).read_text(encoding="utf-8").split(marker)[:number]
    path.write_text("".join(part + marker for part in parts), encoding="utf-8")
    return path


def test_the_certificates_of_requests_are_trusted_where_there_are_no_others(tmp_path, monkeypatch):
    assert _trusted() is True
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates_in(tmp_path / "three.pem", 3)))
    assert len(_trusted().get_ca_certs()) == 3
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates_in(tmp_path / "two.pem", 2)))
    assert len(_trusted().get_ca_certs()) == 2
    with Session():
        pass


def test_certificates_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    with pytest.raises(
        InputError, match=r"REQUESTS_CA_BUNDLE: .*gone\.pem cannot be read as certificates: No such file"
    ):
        Session()
    (tmp_path / "text.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "text.pem"))
    with pytest.raises(InputError, match=r"SSL_CERT_FILE: .*text\.pem cannot be read as certificates"):
        Session()


def test_offline_needs_no_proxy(server, sources, folder):
    fetch(sources, folder)
    assert fetch(sources, folder, offline=True, proxy="nonsense").present == 3
    assert DownloadOptions().proxy is None
