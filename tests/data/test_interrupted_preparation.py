"""`hlcli preprocess` cut short: what was shrunk is taken over, and what has changed since is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hlcli.data import encoding
from hlcli.data.datasets.folder import Folder
from hlcli.data.preparation import preprocess
from hlcli.data.records import Record
from hlcli.errors import HlcliError
from hlcli.locks import lock_folder

NAMES = [f"{number}.jpg" for number in range(20)]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_PART_IMAGES", 4)


@pytest.fixture
def data(tmp_path: Path) -> Folder:
    """Twenty photos, the seventh of which is broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(folder / name)
    (folder / NAMES[6]).write_bytes(b"no image")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["image,labels,split", *(f"{name},cat,train" for name in NAMES)]), encoding="utf-8")
    return Folder(images=folder, labels=labels, root=tmp_path / "root")


class Encoded:
    """Stands in for the encoder: counts images, and is interrupted at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.stop_at = ""
        self._encode = encoding.encode_image
        monkeypatch.setattr(encoding, "encode_image", self)

    def __call__(self, record: Record, image_size: int) -> encoding.EncodedImage:
        if record.image_id == self.stop_at:
            raise KeyboardInterrupt
        self.names.append(record.image_id)
        return self._encode(record, image_size)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Encoded:
    return Encoded(monkeypatch)


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupt(data: Folder, encoded: Encoded, name: str) -> None:
    encoded.stop_at = name
    with pytest.raises(KeyboardInterrupt, match="goes on with the others"):
        preprocess(data, image_size=8)
    assert not (data.folder() / "store").exists()
    encoded.stop_at = ""
    encoded.names.clear()


def test_whole_parts_are_taken_over_and_the_store_is_the_same(data: Folder, encoded: Encoded, tmp_path: Path):
    made = preprocess(data.model_copy(update={"root": tmp_path / "other"}), image_size=8)
    assert sorted(encoded.names) == sorted(NAMES)
    interrupt(data, encoded, NAMES[13])
    resumed = preprocess(data, image_size=8)
    assert encoded.names == NAMES[12:]
    assert resumed.failures == made.failures
    assert [failure.image for failure in made.failures] == [NAMES[6]]
    assert files(tmp_path / "root") == files(tmp_path / "other")


def test_the_log_says_how_much_was_there(data: Folder, encoded: Encoded, caplog: pytest.LogCaptureFixture):
    interrupt(data, encoded, NAMES[19])
    with caplog.at_level("INFO"):
        preprocess(data, image_size=8)
    assert "16 images were prepared by a run that was cut short." in caplog.messages


def test_what_has_changed_is_shrunk_anew(data: Folder, encoded: Encoded, tmp_path: Path):
    interrupt(data, encoded, NAMES[13])
    Image.new("RGB", (50, 50), "red").save(tmp_path / "photos" / NAMES[1])
    preprocess(data, image_size=8)
    assert encoded.names == [*NAMES[:4], *NAMES[12:]]


@pytest.mark.parametrize("changed", ["time", "length"])
def test_time_alone_and_length_alone_tell_a_change(data: Folder, encoded: Encoded, tmp_path: Path, changed: str):
    interrupt(data, encoded, NAMES[13])
    photo = tmp_path / "photos" / NAMES[1]
    before = photo.stat()
    if changed == "length":
        photo.write_bytes(photo.read_bytes() + b" ")
        os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    preprocess(data, image_size=8)
    assert encoded.names == [*NAMES[:4], *NAMES[12:]]


@pytest.mark.parametrize("changed", ["hlcli.data.encoding._JPEG_QUALITY", "PIL.__version__"])
def test_another_way_of_encoding_takes_nothing_over(
    data: Folder, encoded: Encoded, monkeypatch: pytest.MonkeyPatch, changed: str
):
    interrupt(data, encoded, NAMES[13])
    monkeypatch.setattr(changed, 91 if "QUALITY" in changed else "0.0")
    preprocess(data, image_size=8)
    assert encoded.names == NAMES


def test_another_size_takes_nothing_over_and_leaves_nothing_behind(data: Folder, encoded: Encoded):
    interrupt(data, encoded, NAMES[13])
    preprocess(data, image_size=9)
    assert encoded.names == NAMES
    assert [path.name for path in data.folder().iterdir() if path.name.startswith(".")] == [".store.lock"]


def test_a_damaged_part_is_made_again(data: Folder, encoded: Encoded):
    interrupt(data, encoded, NAMES[13])
    for path in (data.folder() / ".store.parts").iterdir():
        path.write_bytes(path.read_bytes()[:-40])
    preprocess(data, image_size=8)
    assert encoded.names == NAMES


def test_originals_that_stay_where_they_are_make_no_parts(data: Folder, encoded: Encoded):
    encoded.stop_at = NAMES[13]
    with pytest.raises(KeyboardInterrupt) as caught:
        preprocess(data)
    assert str(caught.value) == ""
    assert not (data.folder() / ".store.parts").exists()


def test_two_at_once_keep_out_of_each_others_way(data: Folder):
    with (
        lock_folder(data.folder(), name=".store.lock"),
        pytest.raises(HlcliError, match="Another hlcli is preparing a data set in"),
    ):
        preprocess(data, image_size=8)
    preprocess(data, image_size=8)


PROGRAM = """
import sys, time
from pathlib import Path
from hlcli.data import encoding
from hlcli.data.datasets.folder import Folder
from hlcli.data.preparation import preprocess

encoding._PART_IMAGES = 4
encode = encoding.encode_image

def slowly(record, image_size):
    time.sleep(0.1)
    return encode(record, image_size)

encoding.encode_image = slowly
photos, labels, root = map(Path, sys.argv[1:])
preprocess(Folder(images=photos, labels=labels, root=root), image_size=8, workers=WORKERS)
"""


def start(data: Folder, workers: int) -> subprocess.Popen[str]:
    """A slow preparation in a process of its own, with two parts done."""
    program = PROGRAM.replace("WORKERS", str(workers))
    command = [sys.executable, "-c", program, str(data.images), str(data.labels), str(data.root)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    parts = data.folder() / ".store.parts"
    for _ in waits():
        if parts.is_dir() and len(list(parts.glob("*.arrow"))) >= 2:
            break
    return process


def waits() -> Iterator[None]:
    """A look every now and then, for a minute at most."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        yield
        time.sleep(0.02)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_preparation_goes_on_at_once(data: Folder, encoded: Encoded, tmp_path: Path, workers: int):
    """Processes that it left behind hold no lock, and end."""
    preprocess(data.model_copy(update={"root": tmp_path / "other"}), image_size=8)
    encoded.names.clear()
    process = start(data, workers)
    process.send_signal(signal.SIGKILL)
    process.communicate()  # whoever holds its stderr has ended
    assert not (data.folder() / "store").exists()
    preprocess(data, image_size=8)
    assert 0 < len(encoded.names) <= 12
    assert files(tmp_path / "root") == files(tmp_path / "other")


@pytest.mark.skipif(os.name != "posix", reason="needs signals to a group of processes")
@pytest.mark.parametrize("gap_seconds", [0.0, 0.05, 0.2])
def test_an_impatient_ctrl_c_ends_as_a_patient_one(data: Folder, gap_seconds: float):
    process = start(data, 2)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(gap_seconds)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode != 0
    assert said.count("Traceback") <= 2, said  # the interrupt itself and its cause: the program has no command line
    assert not (data.folder() / "store").exists()
