"""Every misbehaviour of the table ends in the right file, or in a clear error with the right exit code."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401
from intentonomy_files import document, image_id
from PIL import Image
from typer.main import get_command

from hlcli.cli.main import app
from hlcli.data.datasets.base import Source
from hlcli.data.datasets.voc import Voc2007
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.checksums import Checksum
from hlcli.data.transfers.session import Session

from .misbehaviours import ARCHIVES, ENCRYPTED, IMAGES, KIT, PHOTOS, Misbehaviour

COMMAND = get_command(app)  # made once: that takes longer than most downloads here


@pytest.fixture(autouse=True)
def without_a_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HLCLI_DATA", raising=False)


def publish(case: Misbehaviour, server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive in the place of VOC's, on a server that misbehaves."""
    server.files |= {"/first/kit.tar": KIT, "/mirror/kit.tar": KIT, "/login": b"<html>please log in</html>"}
    server.types |= {"/login": "text/html", "/first/kit.tar": "application/x-tar"}
    misbehave(case, "/first/kit.tar", server, monkeypatch)
    urls = tuple(url if "://" in url else server.url(url) for url in case.urls)
    checksum = Checksum("sha256", hashlib.sha256(case.published).hexdigest())
    facts = (len(case.published), checksum) if case.is_published else (None, None)
    monkeypatch.setattr(Voc2007, "sources", (Source("kit.tar", urls, *facts, unpack_to="."),))


def misbehave(case: Misbehaviour, path: str, server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.faults[path] = list(case.faults)
    if case.always is not None:
        server.always[path] = case.always
    session = partial(Session, case.patience, FakeClock(), per_second=1e9)
    monkeypatch.setattr(archive_download, "Session", session)


def files_below(folder: Path) -> dict[str, bytes]:
    """Files with a final name: those of people's own, and kept archives."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    ours = re.compile(r"\.|.*\.part(\.json)?$")
    return {name: path.read_bytes() for name, path in names.items() if not ours.match(name)}


def download(root: Path, name: str, *words: str) -> int:
    """Exit code of `hlcli download`."""
    return (
        COMMAND.main(
            ["download", name, *words, "--accept-licence", "--root", str(root)],
            prog_name="hlcli",
            standalone_mode=False,
        )
        or 0
    )


@pytest.mark.parametrize("case", ARCHIVES.values(), ids=ARCHIVES)
def test_an_archive_arrives_whole_or_the_command_says_why_not(tmp_path, monkeypatch, capsys, case):
    with FaultyServer() as server:
        publish(case, server, monkeypatch)
        end = download(tmp_path, "voc2007", "--keep-archives")
    said = capsys.readouterr()
    assert end == case.end, said.err
    there = files_below(tmp_path / "voc2007")
    if case.end == 0:
        assert there == {"archives/kit.tar": KIT, **IMAGES}
    else:
        assert re.search(rf"^error: .*{case.says}", said.err, re.DOTALL | re.MULTILINE), said.err
        assert said.out == ""
        assert set(there) <= {"archives/kit.tar"}
        assert all(content == case.published for content in there.values())
    if case.asked is not None:
        assert [entry.wanted for entry in server.asked("/first/kit.tar")] == list(case.asked)


def photo(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((32, 32), 20 + number).convert("RGB").save(buffer, "JPEG", quality=30)
    return buffer.getvalue()


@pytest.mark.parametrize("case", PHOTOS.values(), ids=PHOTOS)
def test_a_photo_is_there_or_on_the_list_of_failures(tmp_path, monkeypatch, capsys, case):
    photos = {f"/{image_id('train', number)}": photo(number) for number in range(4)}
    bad = next(iter(photos))
    with FaultyServer() as server:
        server.files |= {**photos, "/photo_unavailable.png": photo(9), "/page": b"<html>sorry</html>"}
        server.types["/page"] = "text/html"
        misbehave(case, bad, server, monkeypatch)
        annotations = tmp_path / "intentonomy_train2020.json"
        annotations.write_text(json.dumps(document("train", server.url(""))))
        end = download(tmp_path, "intentonomy", "--json", str(annotations), "--jobs", "2")
    said = capsys.readouterr()
    folder = tmp_path / "intentonomy"
    assert end == case.end, said.err
    assert re.search(case.says, said.err), said.err
    there = {f"/{path.stem}": path.read_bytes() for path in folder.glob("low/*")}
    assert photos.items() >= there.items()
    assert (bad in there) == (case.end == 0)
    if case.end == 3:
        assert len(there) == 3
        (row,) = [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]
        assert row["id"] == bad[1:]
        assert re.search(case.listed, row["error"]), row
    if case.asked is not None:
        assert [entry.wanted for entry in server.asked(bad)] == list(case.asked)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for this machine, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += [
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        "key.pem",
        "-out",
        "own.pem",
    ]
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "key.pem").read_text() + (folder / "own.pem").read_text())
    return folder / "both.pem"


@pytest.mark.parametrize(("name", "case"), ENCRYPTED.items(), ids=ENCRYPTED)
def test_an_encrypted_connection_stays_so(tmp_path, monkeypatch, capsys, certificate, name, case):
    if "vouches" not in name:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with FaultyServer() as plain, FaultyServer(certificate) as server:
        publish(case, server, monkeypatch)
        plain.files["/kit.tar"] = KIT
        if "redirect" in name:
            server.always["/first/kit.tar"] = Fault(status=302, headers={"Location": plain.url("/kit.tar")})
        end = download(tmp_path, "voc2007", "--keep-archives")
    said = capsys.readouterr()
    assert end == case.end, said.err
    assert re.search(case.says, said.err), said.err
    assert plain.log == []
    assert files_below(tmp_path / "voc2007") == ({"archives/kit.tar": KIT, **IMAGES} if end == 0 else {})


def test_the_page_on_downloads_names_the_same_misbehaviours_and_ends():
    text = (Path(__file__).parents[3] / "docs" / "downloads.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| .+ \| (\d) \|$", text, flags=re.MULTILINE)
    cases = {**ARCHIVES, **ENCRYPTED, **PHOTOS}
    assert rows == [(name, str(case.end)) for name, case in cases.items()]
