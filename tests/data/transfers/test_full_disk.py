"""A disk that is full while files are written: no damaged file, one clear message, and a second run completes."""

from __future__ import annotations

import io
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_files import make_tar
from faulty_server import FakeClock, Fault, FaultyServer, without_proxies  # noqa: F401
from intentonomy_files import document
from local_program import local_command, local_environment
from PIL import Image
from small_disk import Ended, files_below, run_until_full, small_files

import hlcli
from hlcli.data.transfers.archives import unpack
from hlcli.data.transfers.crawl import ImageItem, crawl_images, plan_crawl
from hlcli.data.transfers.session import Session
from hlcli.data.transfers.transfer import fetch_file
from hlcli.errors import HlcliError
from hlcli.recipe import read_section

RANDOM = random.Random(7)
KIT = make_tar({f"kit/images/{i}.jpg": RANDOM.randbytes(100_000) for i in range(12)})
MANY = {f"kit/images/{i}.jpg": b"%d" % i for i in range(400)}


@pytest.fixture(name="server")
def given_server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        yield running


def photo(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((250, 250), 20 + number).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def noise_options(place: Path) -> tuple[str, str]:
    """What `folder` is told of twenty labelled photos, made here."""
    rows = ["image,labels,split", *(f"{number}.jpg,noise,train" for number in range(20))]
    (place / "labels.csv").write_text("\n".join(rows) + "\n")
    for number in range(20):
        (place / f"{number}.jpg").write_bytes(photo(number))
    return f"images={place}", f"labels={place / 'labels.csv'}"


def check_ends(first: Ended, second: Ended) -> None:
    assert first.code == 1, first.stderr
    assert first.stdout == ""
    assert "Traceback" not in first.stderr
    (error,) = [line for line in first.stderr.splitlines() if line.startswith("error: ")]
    assert "No space left on device" in error
    assert (second.code, "Traceback" in second.stderr) == (0, False), second.stderr


def test_a_transfer_goes_on_when_there_is_room(server, tmp_path):
    server.files["/kit.tar"] = KIT
    server.always["/kit.tar"] = Fault(headers={"Content-Length": None}, drop_after=10**9)
    words = ("download", "voc2007", "--accept-licence", "--root", tmp_path / "disk")
    command = local_command(tmp_path, {server.url("/kit.tar"): KIT}, *words, published=False)
    first, second = run_until_full(command, tmp_path / "disk", tmp_path / "out", local_environment(), 1000)
    check_ends(first, second)
    part = first.files.pop("voc2007/archives/kit.tar.part")
    assert 500_000 < len(part) < len(KIT)
    assert KIT.startswith(part)
    assert set(first.files) <= {"voc2007/.lock", "voc2007/archives/kit.tar.part.json"}
    assert [entry.wanted for entry in server.log] == [0, len(part)]
    assert sum(name.endswith(".jpg") for name in second.files) == 12
    assert "hint: Make room" in first.stderr


def test_an_unpacking_leaves_nothing_of_it_and_fetches_nothing_twice(server, tmp_path):
    kit = make_tar(MANY, "gz")
    server.files["/kit.tar"] = kit
    words = ("download", "voc2007", "--accept-licence", "--root", tmp_path / "disk")
    command = local_command(tmp_path, {server.url("/kit.tar"): kit}, *words)
    first, second = run_until_full(command, tmp_path / "disk", tmp_path / "out", local_environment(), 1000)
    check_ends(first, second)
    assert first.files == {"voc2007/.lock": b"", "voc2007/archives/kit.tar": kit}
    assert {name.removeprefix("voc2007/"): content for name, content in second.files.items() if "kit/" in name} == MANY
    assert len(server.log) == 1
    assert "hint: Make room" in first.stderr


def test_a_crawl_keeps_whole_photos_only_and_fetches_the_others_later(server, tmp_path):
    photos = {f"/{number:032x}": photo(number) for number in range(16)}
    server.files |= photos
    images = [{"id": name[1:], "filename": f"low{name}.jpg", "unsplash_url": server.url(name)} for name in photos]
    rows = [{"id": row, "image_id": name[1:], "category_ids": [0]} for row, name in enumerate(photos)]
    annotations = {**document("val"), "images": images, "annotations": rows}
    (tmp_path / "intentonomy_val2020.json").write_text(json.dumps(annotations))
    words = ("download", "intentonomy", "--width", "0", "--accept-licence", "--root", str(tmp_path / "disk"))
    command = [sys.executable, "-m", "hlcli", *words, "--json", str(tmp_path / "intentonomy_val2020.json")]
    size = sum(map(len, photos.values())) // 2000
    first, second = run_until_full(command, tmp_path / "disk", tmp_path / "out", local_environment(), size)
    check_ends(first, second)
    there = {name: content for name, content in first.files.items() if name.endswith(".jpg")}
    assert 0 < len(there) < len(photos)
    assert all(photos[f"/{Path(name).stem}"] == content for name, content in there.items())
    assert {f"/{Path(name).stem}" for name in second.files if name.endswith(".jpg")} == set(photos)
    asked = [entry.path for entry in server.log]
    assert all(asked.count(f"/{Path(name).stem}") == 1 for name in there)


def test_a_store_is_not_there_until_it_is_whole(tmp_path):
    sets = [word for option in noise_options(tmp_path) for word in ("--set", option)]
    command = [sys.executable, "-m", "hlcli", "preprocess", "folder", "--workers", "1", "--image-size", "200", *sets]
    command += ["--root", str(tmp_path / "disk")]
    first, second = run_until_full(command, tmp_path / "disk", tmp_path / "out", local_environment(), 200)
    check_ends(first, second)
    assert list(first.files) == ["folder/.store.lock"]
    assert {"folder/store/meta.json", "folder/store/labels.json"} <= set(second.files)
    assert "train 20" in second.stdout


def fetch_one(server: FaultyServer, place: Path) -> None:
    server.files["/kit.tar"] = KIT
    with Session(clock=FakeClock()) as session:
        fetch_file([server.url("/kit.tar")], place / "disk" / "kit.tar", session=session)


def unpack_one(server: FaultyServer, place: Path) -> None:
    (place / "kit.tar.gz").write_bytes(make_tar({"kit/images/1.jpg": b"1", "kit/images/2.jpg": bytes(200_000)}, "gz"))
    unpack(place / "kit.tar.gz", place / "disk" / "kit", staging=place / "disk" / ".kit")


def crawl_one(server: FaultyServer, place: Path) -> None:
    server.files["/1.jpg"] = photo(1) + bytes(100_000)
    plan = plan_crawl([ImageItem("1", server.url("/1.jpg"), "low/1.jpg")], place / "disk")
    with Session(clock=FakeClock()) as session:
        crawl_images(plan, place / "disk", session=session)


def prepare_one(server: FaultyServer, place: Path) -> None:
    images, labels = (option.partition("=")[2] for option in noise_options(place))
    data = read_section("data", {"dataset": "folder", "images": images, "labels": labels, "root": place / "disk"})
    hlcli.preprocess(data, image_size=200, overwrite=True)


@pytest.mark.parametrize("work", [fetch_one, unpack_one, crawl_one, prepare_one])
def test_files_that_may_not_grow_end_like_a_full_disk(server, tmp_path, work):
    disk = tmp_path / "disk"
    disk.mkdir()
    with (
        pytest.raises(HlcliError, match=r"cannot be (written|unpacked).*: File too large") as caught,
        small_files(100_000),
    ):
        work(server, tmp_path)
    assert caught.value.exit_code == 1
    names = [name for name in files_below(disk) if not name.endswith((".part", ".part.json", "photos.jsonl"))]
    assert [name for name in names if not name.endswith(".lock")] == []
    work(server, tmp_path)
    assert len(files_below(disk)) > len(names)
