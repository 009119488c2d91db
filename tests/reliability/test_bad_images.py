"""Hostile, damaged and odd images: every verb gives a result or a listed failure for each, within bounds."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import h5py
import pytest
from command_line import run
from nasty_images import EITHER, FAILS, Corners, Nasty, corners, write_nasty_images
from peak_memory import memory_below
from PIL import Image
from tiny_captioner import write_captioner
from tiny_label_models import save_tiny_label_model
from warm_programs import run_two, run_warm

import hlcli
from hlcli.data.failures import failures_file, printable_path
from hlcli.data.images import load_image
from hlcli.data.store import StoreSplit
from hlcli.errors import DataError

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nasty")


@pytest.fixture(scope="module")
def files(place: Path) -> list[Nasty]:
    return write_nasty_images(place / "photos", place / "elsewhere")


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    return save_tiny_label_model(place / "model")


def rows(path: Path) -> list[dict]:
    """The lines of a file, which nothing but a line feed ends."""
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")]


def check_ends(found: Sequence[str], failed: Sequence[str], files: Sequence[Nasty], folder: str = "") -> None:
    """Every file is in one of the two lists, once, and in the right one."""
    name = {printable_path(Path(f"{folder}{file.name}")): file for file in files}
    assert sorted([*found, *failed]) == sorted(name)
    assert not [image for image in found if name[image].end == FAILS]
    assert not [image for image in failed if name[image].end not in (FAILS, EITHER)]


def check_said(done: subprocess.CompletedProcess[str]) -> None:
    """Some failed, and nobody else than us speaks of it."""
    assert done.returncode == 3, done.stderr
    for word in ("Traceback", "Warning", "warn", "PIL", "\x1b", "libpng", "TIFF", "Corrupt"):
        assert word not in done.stdout + done.stderr, done.stderr


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_file_shows_its_colours_or_is_refused(place: Path, files: list[Nasty]):
    with memory_below(200):  # a bomb would be 2,500
        all_shown = [colours(place / "photos" / file.name) for file in files]
    for (name, _, end), shown in zip(files, all_shown, strict=True):
        if end == FAILS:
            assert str(shown).startswith(f"Image {place}/photos/"), name
            assert "cannot be decoded: " in str(shown)
        elif end != EITHER:
            assert not isinstance(shown, str), shown
            far = [abs(a - b) for one, known in zip(shown, end, strict=True) for a, b in zip(one, known, strict=True)]
            assert max(far) < 12, (name, far)
    assert len(files) >= 80


def colours(path: Path) -> Corners | str:
    """What an image shows, or why it shows nothing."""
    try:
        return corners(load_image(path))
    except DataError as error:
        return error.message


def test_predictions(place: Path, files: list[Nasty], model: Path):
    words = ["eval", model, "--images", place / "photos", "--batch-size", "7"]
    done = run_warm(*words, "--out", place / "one.jsonl", "--workers", "1")
    check_said(done)
    listed = rows(failures_file(place / "one.jsonl"))
    found = [row["image"] for row in rows(place / "one.jsonl")]
    check_ends(found, [row["image"] for row in listed], files, f"{place}/photos/")
    assert f"{len(listed)} images could not be predicted" in done.stderr
    reasons = {Path(row["image"]).name: row["error"] for row in listed}
    for name, reason in {
        "pipe.jpg": "not a file", "socket.jpg": "not a file", "endless.jpg": "not a file", "loop.jpg": "symbolic links",
        "dead.jpg": "No such file", "bomb.png": "too many pixels", "bomb.ico": "too many pixels",
        "phone.heic": "HEIC", "page.jpg": "web page", "empty.jpg": "0 bytes",
    }.items():  # fmt: skip
        assert reason in reasons[name]
    check_said(run_two(*words, "--out", place / "two.jsonl", "--workers", "0"))
    for ending in (".jsonl", ".failures.jsonl"):
        assert (place / f"two{ending}").read_bytes() == (place / f"one{ending}").read_bytes()
    shown = run(*words, "--workers", "0")
    assert shown.exit_code == 3
    assert "\x1b" not in shown.output
    assert rf"failed: Image {place}/photos/empty.jpg cannot be decoded" in shown.stderr


def test_captions(place: Path, files: list[Nasty]):
    captioner, out = write_captioner(place / "captioner"), place / "captions.jsonl"
    check_said(run_warm("caption", captioner, place / "photos", "--out", out, "--workers", "1"))
    failed = [row["image"] for row in rows(failures_file(out))]
    check_ends([row["image"] for row in rows(out)], failed, files, f"{place}/photos/")


def test_features(place: Path, files: list[Nasty]):
    out = place / "features.hdf5"
    words = [
        "embed",
        "images",
        place / "photos",
        "--backbone",
        "test_resnet.r160_in1k",
        "--no-pretrained",
        "--image-size",
        32,
    ]
    check_said(run_warm(*words, "--kind", "global", "--out", out, "--workers", "1"))
    with h5py.File(out) as handle:
        found = [key.removesuffix("_global") for key in _datasets(handle)]
    check_ends(found, [row["image"] for row in rows(failures_file(out))], files)
    again = run(*words, "--kind", "global", "--out", out, "--workers", "0", "--resume")
    assert again.exit_code == 3, again.output


def _datasets(handle: h5py.File) -> list[str]:
    names: list[str] = []
    handle.visititems(lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) else None)
    return names


def listable(place: Path, files: Sequence[Nasty]) -> list[Nasty]:
    """Those that a label file can name: it is UTF-8, its cells have no spaces around them, and pipes are no images."""
    return [
        file for file in files
        if os.path.isfile(place / "photos" / file.name) and file.name.strip() == file.name and file.name.isprintable()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def labels(place: Path, files: list[Nasty]) -> Path:
    with (place / "labels.csv").open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(["image", "labels", "split"])
        for number, file in enumerate(listable(place, files)):
            table.writerow([file.name, "odd" if number % 2 else "even", "train" if number % 3 else "val"])
    return place / "labels.csv"


def test_preprocessing(place: Path, files: list[Nasty], labels: Path):
    keys = ["--set", f"images={place}/photos", "--set", f"labels={labels}"]
    words = ["preprocess", "folder", "--root", place / "data", *keys, "--image-size", "16", "--workers", "2"]
    check_said(run_warm(*words))
    section = hlcli.data_section("folder", place / "data", [key for key in map(str, keys) if key != "--set"])
    store = place / "data" / "folder" / "store"
    found = [image for split in ("train", "val") for image in StoreSplit(store / split, store).image_ids()]
    failed = [row["image"] for row in rows(place / "data" / "folder" / "preprocess.failures.jsonl")]
    check_ends(found, failed, listable(place, files))
    assert section.name == "folder"


def test_a_recipe_for_own_photos_and_its_training(place: Path, files: list[Nasty], labels: Path):
    made = run("init", place / "own", "--images", place / "photos", "--labels", labels)
    assert made.exit_code == 0, made.stderr
    bad = [file.name for file in listable(place, files) if file.end == FAILS]
    found = run("debug", "data", place / "own" / "recipe.yaml", "--json")
    assert found.exit_code == 3, found.stderr
    about = [row["where"] for row in json.loads(found.stdout)["findings"] if "cannot be decoded" in row["what"]]
    assert sorted(row.split(": ")[0].partition(" ")[2] for rows in about for row in rows) == sorted(bad)
    words = ["train", "--recipe", place / "own" / "recipe.yaml", "--run", place / "run"]
    for change in ("backbone.name=test_resnet.r160_in1k", "backbone.pretrained=false", "data.image_size=32",
                   "train.epochs=1", "train.batch_size=4", "train.cpu=true", "data.workers=1"):  # fmt: skip
        words += ["--set", change]
    stopped = run_warm(*words)
    assert stopped.returncode == 2, stopped.stderr
    assert "cannot be decoded" in stopped.stderr
    assert "data.skip" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    done = run_warm(*words, "--set", f"data.skip={json.dumps(bad)}", "--overwrite")
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_python(place: Path, files: list[Nasty], model: Path):
    predictor = hlcli.load(model, batch_size=8)
    paths = [place / "photos" / file.name for file in files]
    by_path = list(predictor.stream(paths))
    assert [row.image for row in by_path] == [str(path) for path in paths]
    whole = [(path, row) for path, row in zip(paths, by_path, strict=True) if isinstance(row, hlcli.Prediction)]
    assert len(whole) >= sum(file.end not in (FAILS, EITHER) for file in files)
    read = [path for path in paths if path.is_file() and path.name != "endless.jpg"]
    by_bytes = list(predictor.stream(path.read_bytes() for path in read))
    assert [isinstance(row, hlcli.Failure) for row in by_bytes] == [
        isinstance(row, hlcli.Failure) for path, row in zip(paths, by_path, strict=True) if path in set(read)
    ]
    opened = list(predictor.stream(Image.open(path) for path, _ in whole))
    for (path, known), seen in zip(whole, opened, strict=True):
        assert isinstance(seen, hlcli.Prediction), path
        assert seen.levels[-1].tolist() == pytest.approx(known.levels[-1].tolist(), abs=1e-6), path


_DIES = """
import os, signal
from PIL import ImageFile
from hlcli.data import images
decode = images._decode
parent = os.getpid()
def die(image, shrink_to):
    if image.size == (30_000, 10):
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode(image, shrink_to)
images._decode = die
"""


def test_a_loader_process_that_dies_ends_the_work_with_a_message(
    place: Path, files: list[Nasty], model: Path, labels: Path
):
    photos, keys = place / "photos", ["--set", f"images={place}/photos", "--set", f"labels={labels}"]
    for words in (
        ["eval", model, "--images", photos, "--out", place / "dies.jsonl"],
        [
            "embed",
            "images",
            photos,
            "--backbone",
            "test_resnet.r160_in1k",
            "--no-pretrained",
            "--out",
            place / "dies.hdf5",
        ],
        ["preprocess", "folder", "--root", place / "dies", *keys, "--image-size", "16"],
    ):
        done = run_warm(*words, "--workers", "2", before=_DIES)
        assert done.returncode == 1, done.stderr
        assert "error: A process that loads images has died" in done.stderr
        assert "hint: Give fewer --workers" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (place / "dies.jsonl").exists()
    done = run_warm("eval", model, "--images", photos, "--out", place / "dies.jsonl", "--workers", "0", "--resume")
    check_said(done)
