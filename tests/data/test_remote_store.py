"""Stores at addresses that fsspec reads: copied once, checked, and copied anew when they change."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import fsspec
import pytest
from command_line import run
from huggingface_hub import constants
from pydantic import ValidationError

from hlcli.captioning.words import open_vocabulary
from hlcli.data import remote_store
from hlcli.data.datasets.shapes import Shapes
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.data.remote_store import local_store
from hlcli.data.store import open_label_space, open_records, split_names
from hlcli.data.store_writing import write_store
from hlcli.errors import DataError, HlcliError, MissingDependencyError

LABELS = LabelSpace.flat(["cat", "dog"])
RECORDS = [Record("a", b"\xff\xd8 one", (0,), (), ("One.",), ()), Record("b", b"two", (0, 1), (), (), ())]
ADDRESS = "memory://bucket/sets/store"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    local_store.cache_clear()
    yield
    local_store.cache_clear()
    fsspec.filesystem("memory").store.clear()


def made(folder: Path, records: list[Record] = RECORDS) -> Path:
    write_store(folder, LABELS, {"train": records, "val": records[:1]}, {}, encode=iter)
    return folder


def put(folder: Path, address: str = ADDRESS) -> str:
    """Upload a store; what was there is gone."""
    system, place = fsspec.url_to_fs(address)
    if system.exists(place):
        system.rm(place, recursive=True)
    for path in folder.rglob("*"):
        if path.is_file():
            system.pipe_file(f"{place}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return address


def data(address: str) -> Shapes:
    return Shapes(store=address)


def test_a_store_elsewhere_is_read_like_one_here(tmp_path: Path):
    section = data(put(made(tmp_path / "store")))
    assert split_names(section) == ("train", "val")
    assert list(open_records(section, "train")) == RECORDS
    assert open_label_space(section) == LABELS
    copy, whole = local_store(ADDRESS), tmp_path / "store"
    names = [sorted(path.relative_to(place) for path in place.rglob("*")) for place in (copy, whole)]
    assert names[0] == names[1]


def test_it_is_copied_once_and_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    address = put(made(tmp_path / "store"))
    first = local_store(address)
    local_store.cache_clear()  # as in another process
    opened = []
    kind = type(fsspec.filesystem("memory"))
    with monkeypatch.context() as patch:
        patch.setattr(kind, "open", lambda self, path, *rest, **more: opened.append(path))
        assert local_store(address) == first
    assert opened == []
    put(made(tmp_path / "store", RECORDS[1:]), address)
    local_store.cache_clear()
    assert local_store(address) != first
    assert list(open_records(data(address), "train")) == RECORDS[1:]


class _WebServer(http.server.SimpleHTTPRequestHandler):
    """Python's own, without ranges; it gives tables in two pieces, `pause` seconds after each other, and `failures`,
    addresses by their end, with a status."""

    pause = 0.0
    failures: ClassVar[dict[str, int]] = {}

    def send_head(self) -> Any:
        for end, status in self.failures.items():
            if self.path.endswith(end):
                return self.send_error(status)
        return super().send_head()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        middle = len(content) // 2 if self.path.endswith(".arrow") else 0
        outputfile.write(content[:middle])
        outputfile.flush()
        time.sleep(self.pause if middle else 0)
        outputfile.write(content[middle:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Address of a server of the folder `sets`."""
    (tmp_path / "sets").mkdir()
    handler = functools.partial(_WebServer, directory=str(tmp_path / "sets"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_web_server_will_do(web: str, tmp_path: Path):
    made(tmp_path / "sets" / "store")
    assert list(open_records(data(f"{web}/store"), "train")) == RECORDS
    large = [Record("a", bytes(8 * 10**6), (0,), (), (), ())]  # more than is asked for at once, without ranges
    made(tmp_path / "sets" / "large", large)
    assert list(open_records(data(f"{web}/large"), "train")) == large


def _as_apache(handler: _WebServer, folder: str) -> io.BytesIO:
    """The page of a folder as Apache writes it: links that sort it, and one to the folder above, come first."""
    above = f"{handler.path.rstrip('/').rpartition('/')[0]}/"
    names = [f"{path.name}/" if path.is_dir() else path.name for path in Path(folder).iterdir()]
    links = ["?C=N;O=D", "?C=M;O=A", above, *names]
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    return io.BytesIO("".join(f'<a href="{link}">{link}</a>\n' for link in links).encode())


def test_links_of_a_page_that_are_no_files_are_left_out(web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_WebServer, "list_directory", _as_apache)
    store = made(tmp_path / "sets" / "store")
    copy = local_store(f"{web}/store")
    assert {path.relative_to(copy) for path in copy.rglob("*")} == {
        path.relative_to(store) for path in store.rglob("*")
    }


def test_a_large_file_may_take_long_but_a_server_may_not_be_silent(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made(tmp_path / "sets" / "store")
    monkeypatch.setattr(_WebServer, "pause", 0.8)
    monkeypatch.setattr(aiohttp.client, "DEFAULT_TIMEOUT", aiohttp.ClientTimeout(total=0.5))  # five minutes really
    assert list(open_records(data(f"{web}/store"), "train")) == RECORDS
    made(tmp_path / "sets" / "other", RECORDS[1:])
    monkeypatch.setattr(remote_store, "_SILENT_SECONDS", 0.3)
    with pytest.raises(DataError, match=r"/other cannot be read: .*Timeout"):
        local_store(f"{web}/other")


@pytest.mark.parametrize(
    ("end", "status", "text"),
    [
        (".arrow", 500, "store cannot be read: 500, .*Internal Server Error"),
        ("labels.json", 403, "store cannot be read: 403"),
        ("state.json", 404, r"store is no store: it has no train/state\.json"),
        ("/store/", 403, "store cannot be read: 403"),
        ("/store/", 404, r"store cannot be copied: its server lists no labels\.json there"),
    ],
)
def test_what_a_server_refuses_is_told_as_it_says(
    web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, status: int, text: str
):
    made(tmp_path / "sets" / "store")
    monkeypatch.setattr(_WebServer, "failures", {end: status})
    with pytest.raises(DataError, match=text):
        local_store(f"{web}/store")
    assert not list((tmp_path / "cache").rglob("meta.json"))


def test_two_processes_make_one_copy(tmp_path: Path):
    address = made(tmp_path / "store").as_uri()
    with ProcessPoolExecutor(2) as pool:
        first, second = pool.map(local_store, [address, address])
    assert first == second
    assert sorted(path.name for path in first.iterdir()) == ["labels.json", "meta.json", "train", "val"]


def test_a_copy_that_is_not_what_was_written_is_refused(tmp_path: Path):
    folder = made(tmp_path / "store")
    table = next((folder / "val").glob("*.arrow"))
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"val is not what meta\.json says"):
        local_store(put(folder))
    assert not list((tmp_path / "cache").rglob("meta.json"))


def test_labels_that_came_damaged_make_no_copy(tmp_path: Path):
    folder = made(tmp_path / "store")
    (folder / "labels.json").write_text("<html>Please log in</html>")
    with pytest.raises(DataError, match=r"bucket/sets/store: labels\.json cannot be read"):
        local_store(put(folder))
    assert not list((tmp_path / "cache").rglob("meta.json"))


def test_a_store_that_is_replaced_while_it_is_copied_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    address = put(made(tmp_path / "store"))
    other = made(tmp_path / "other", RECORDS[1:])
    monkeypatch.setattr(remote_store, "free_bytes", lambda _: put(other) and 10**9)
    with pytest.raises(DataError, match=r"train is not what meta\.json says"):
        local_store(address)
    assert not list((tmp_path / "cache").rglob("meta.json"))


def test_nothing_is_copied_without_a_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = made(tmp_path / "store")
    (folder / "meta.json").write_text("<html>Please log in</html>")
    address = put(folder)
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "find", None)
    with pytest.raises(DataError, match=r"meta\.json does not describe a store"):
        local_store(address)


def test_a_place_without_a_store_says_so(tmp_path: Path):
    with pytest.raises(DataError, match=r"memory://bucket/none is no store: it has no meta\.json"):
        local_store("memory://bucket/none")
    folder = made(tmp_path / "store")
    (folder / "labels.json").unlink()
    with pytest.raises(DataError, match=r"it has no labels\.json"):
        local_store(put(folder))
    with pytest.raises(DataError, match="cannot be read: Protocol not known"):
        local_store("nowhere://bucket/store")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingDependencyError, match="Install s3fs"):
        local_store("s3://bucket/store")


def test_a_cache_that_cannot_be_written_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file"))
    with pytest.raises(HlcliError, match=r"file/hlcli/stores/.* cannot be written: Not a directory"):
        local_store(put(made(tmp_path / "store")))


def test_too_little_room_is_told_before_anything_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hlcli.data.remote_store.free_bytes", lambda _: 10)
    with pytest.raises(HlcliError, match=r"bytes, .*/stores/[\w/]+ has room for 10\.") as caught:
        local_store(put(made(tmp_path / "store")))
    assert "HF_HOME" in str(caught.value.hint)
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_a_file_that_would_lie_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    address = put(made(tmp_path / "store"))
    kind = type(fsspec.filesystem("memory"))
    find = kind.find
    monkeypatch.setattr(
        kind, "find", lambda self, path, **more: find(self, path, **more) | {f"{path}/../outside": {"size": 1}}
    )
    with pytest.raises(DataError, match=r"is no store: a file in it is called '\.\./outside'"):
        local_store(address)


def test_a_store_that_only_says_where_its_images_are_is_refused(tmp_path: Path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"photo")
    address = put(made(tmp_path / "store", [Record("a", photo, (0,), (), (), ())]))
    with pytest.raises(DataError, match="does not hold its images") as caught:
        open_records(data(address), "train")
    assert "--image-size" in str(caught.value.hint)


def test_a_copy_that_is_there_needs_no_cache_that_can_be_written(tmp_path: Path):
    address = put(made(tmp_path / "store"))
    copy = local_store(address)
    lock = copy.parent / "store.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # stands for a disk that is only read: nothing can be locked
    local_store.cache_clear()
    assert local_store(address) == copy


def test_without_a_network_the_newest_copy_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(made(tmp_path / "one"))
    older = local_store(ADDRESS)
    put(made(tmp_path / "two", RECORDS[:1]))
    local_store.cache_clear()
    newer = local_store(ADDRESS)
    os.utime(older, (1, 1))
    fsspec.filesystem("memory").store.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    local_store.cache_clear()
    assert local_store(ADDRESS) == newer != older
    assert list(open_records(data(ADDRESS), "train")) == RECORDS[:1]
    other = put(made(tmp_path / "three"), "memory://bucket/other/store")  # on a network of one's own
    assert list(open_records(data(other), "train")) == RECORDS


@pytest.mark.parametrize("damage", ["meta.json", "labels.json", "train/state.json"])
def test_a_copy_that_was_damaged_since_is_named_and_made_anew_once_removed(tmp_path: Path, damage: str):
    section = data(put(made(tmp_path / "store")))
    copy = local_store(ADDRESS)
    (copy / damage).write_text("{")
    with pytest.raises(DataError, match=re.escape(str(copy / Path(damage).parent))) as caught:
        _ = open_label_space(section), open_records(section, "train")
    assert caught.value.hint == f"This is the copy of {ADDRESS}. If that is sound, remove {copy}: it is copied again."
    shutil.rmtree(copy)
    local_store.cache_clear()
    assert list(open_records(section, "train")) == RECORDS


def test_words_that_a_copy_lacks_are_told_so_too(tmp_path: Path):
    section = data(put(made(tmp_path / "store")))
    with pytest.raises(DataError, match=r"words\.json is missing") as caught:
        open_vocabulary(section)
    assert f"remove {local_store(ADDRESS)}: it is copied again" in str(caught.value.hint)


def test_every_split_needs_a_sum(tmp_path: Path):
    folder = made(tmp_path / "store")
    meta = json.loads((folder / "meta.json").read_text())
    del meta["counts"]["val"]
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(DataError, match=r"meta\.json does not describe a store: KeyError\('val'\)"):
        local_store(put(folder))


def test_a_description_that_is_nested_too_deeply_is_refused(tmp_path: Path):
    folder = made(tmp_path / "store")
    (folder / "meta.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        local_store(put(folder))


def test_a_file_that_goes_while_it_is_copied_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    address = put(made(tmp_path / "store"))
    kind = type(fsspec.filesystem("memory"))
    find = kind.find

    def find_one_more(self: object, place: str, **more: object) -> dict[str, dict[str, int]]:
        return {**find(self, place, **more), f"{place}/train/gone.arrow": {"size": 1}}

    monkeypatch.setattr(kind, "find", find_one_more)
    with pytest.raises(DataError, match=r"it has no train/gone\.arrow"):
        local_store(address)


def test_an_address_with_a_query_is_refused():
    with pytest.raises(DataError, match="cannot end with a query"):
        local_store("https://example.org/store?token=1")


def test_an_address_survives_a_recipe(tmp_path: Path):
    assert Shapes.model_validate(data(ADDRESS).model_dump(mode="json")).store == ADDRESS
    assert Shapes(store="S3://sets/store").store == "S3://sets/store"
    for place in ("sets/store", "c://sets/store"):
        assert Shapes(store=place).store == Path(place)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Shapes(store=5)  # type: ignore[arg-type]


def test_a_wrong_address_ends_a_command(tmp_path: Path):
    address = put(made(tmp_path / "store"))
    ended = run("train", "--recipe", "quickstart", "--set", f"data.store={address}s", "--run", tmp_path / "run")
    assert ended.exit_code == 2
    assert f"{address}s is no store" in ended.output
