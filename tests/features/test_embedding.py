from __future__ import annotations

import json
import logging
import pickle
import shutil
import signal
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import tiny_clip, write_config, write_weights
from warm_programs import WarmProgram, run_two

from hlcli.data.datasets.shapes import Shapes
from hlcli.data.images import load_image
from hlcli.data.transforms import EvalTransform, Normalize
from hlcli.errors import DataError, HlcliError, InputError
from hlcli.features.embedding import embed_images, plan_images
from hlcli.features.extractors import FeatureOptions, build_extractor, weights_sum
from hlcli.features.images import list_images
from hlcli.features.reading import FeatureFile

DATA = Shapes(num_train=70, num_val=9, num_test=5)
TINY = FeatureOptions(backbone="clip:tiny", pretrained=False)
VIT = FeatureOptions(kind="region", backbone="test_vit.r160_in1k", pretrained=False, image_size=64)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos of different shapes, one of them below, and something that is none."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, shape in (("a.png", (40, 60)), ("below/b.png", (80, 50)), ("COCO_val2014_000000000042.jpg", (64, 64))):
        Image.fromarray(generator.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def embed(source: Any, options: FeatureOptions, out: Path, **how: Any) -> Any:
    return embed_images(source, options, out=out, **{"batch_size": 4, "workers": 0, **how})


def test_the_programs_own_random_numbers_stay_as_they_are(photos: Path, tmp_path: Path):
    before = torch.get_rng_state()
    embed(photos, TINY, tmp_path / "a.hdf5")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_data_set_is_embedded_with_all_its_splits(tmp_path: Path):
    report = embed(DATA, TINY, tmp_path / "a.hdf5")
    file = FeatureFile(report.path)
    assert (report.num_images, report.failures) == (84, [])
    assert len(file.keys()) == 84
    assert file.read("shapes-test-000004").shape == (4, 512)
    assert [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]


def test_one_split_is_embedded_alone(tmp_path: Path):
    embed(DATA, TINY, tmp_path / "a.hdf5", splits=["val"])
    keys = FeatureFile(tmp_path / "a.hdf5").keys()
    assert keys == [f"shapes-val-{row:06d}" for row in range(9)]


def test_features_are_those_of_clips_own_preparation_and_tower(photos: Path, tmp_path: Path):
    name = f"clip:{write_config(tmp_path)}"
    options = FeatureOptions(backbone=name, weights=write_weights(tmp_path))
    embed(photos, options, tmp_path / "a.hdf5", dtype="float32", batch_size=2)
    image = EvalTransform(32, "crop")(load_image(photos / "below/b.png"))
    visual = tiny_clip("vit").visual
    visual.output_tokens = True
    with torch.inference_mode():
        pooled, tokens = visual(Normalize.named("clip")(image[None]))
    with h5py.File(tmp_path / "a.hdf5") as file:
        np.testing.assert_allclose(file["below/b.png_features"], tokens[0].numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(file["below/b.png_global"], pooled[0].numpy(), rtol=1e-4, atol=1e-5)


def test_the_file_says_what_made_it(photos: Path, tmp_path: Path):
    weights = write_weights(tmp_path)
    options = FeatureOptions(backbone=f"clip:{write_config(tmp_path)}", weights=weights)
    facts = embed(photos, options, tmp_path / "a.hdf5").facts
    assert facts == FeatureFile(tmp_path / "a.hdf5").facts
    wanted = {"kind": "grid", "image_size": [32, 32], "resize": "crop", "normalization": "clip", "dtype": "float16"}
    assert {name: facts[name] for name in wanted} == wanted
    assert facts["weights"] == weights_sum(build_extractor(options).backbone)
    assert facts["backbone"].startswith('clip:{"embed_dim":8')  # the configuration itself: its file may move
    again = FeatureOptions.from_facts(facts, weights=weights)
    FeatureFile(tmp_path / "a.hdf5").check(build_extractor(again).facts)


def test_random_weights_are_the_same_every_time():
    torch.manual_seed(5)
    one = build_extractor(TINY)
    assert torch.initial_seed() == 5
    torch.manual_seed(6)
    assert weights_sum(one) == weights_sum(build_extractor(TINY))
    assert one.facts["weights"] == "random"


def test_what_cannot_be_decoded_is_listed_and_nothing_else_is_missing(photos: Path, tmp_path: Path):
    report = embed(photos, TINY, tmp_path / "a.hdf5")
    assert sorted(FeatureFile(report.path).keys()) == ["42", "a.png", "below/b.png"]
    assert [failure.image for failure in report.failures] == ["broken.jpg"]
    line = json.loads((tmp_path / "a.failures.jsonl").read_text())
    assert line["image"] == "broken.jpg"
    assert "cannot be decoded" in line["error"]
    (photos / "broken.jpg").unlink()
    embed(photos, TINY, tmp_path / "a.hdf5", overwrite=True)
    assert not (tmp_path / "a.failures.jsonl").exists()


def test_when_nothing_can_be_decoded_no_file_appears(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="None of 1 image could"):
        embed(tmp_path / "photos", TINY, tmp_path / "a.hdf5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.failures.jsonl", "photos"]


def test_window_boxes_are_in_pixels_of_the_image_itself(photos: Path, tmp_path: Path):
    embed(photos, VIT, tmp_path / "stretched.hdf5")
    file = FeatureFile(tmp_path / "stretched.hdf5", "region")
    assert file.boxes("a.png")[0].tolist() == [0, 0, 60, 40]
    assert file.image_size("a.png") == (40, 60)
    assert file.read("a.png").shape == (50, 64)
    cropped = FeatureOptions(kind="region", backbone="clip:tiny", pretrained=False, max_regions=5)
    embed(photos, cropped, tmp_path / "cropped.hdf5")
    file = FeatureFile(tmp_path / "cropped.hdf5", "region")
    assert file.boxes("a.png")[0].tolist() == [10, 0, 50, 40]  # the square in the middle
    assert file.boxes("below/b.png")[0].tolist() == [0, 15, 50, 65]
    assert file.read("a.png").shape == (5, 512)


def test_global_vectors_alone(photos: Path, tmp_path: Path):
    embed(photos, FeatureOptions(kind="global", backbone="clip:tiny", pretrained=False), tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert sorted(file["below"]) == ["b.png_global"]
        assert file["42_global"].shape == (64,)


def test_a_detectors_regions_are_stored_with_their_scores(photos: Path, tmp_path: Path):
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    options = FeatureOptions(kind="region", detector=name, pretrained=False, max_regions=4, image_size=64)
    plan = plan_images(photos, options, out=tmp_path / "a.hdf5")
    report = embed(photos, options, tmp_path / "a.hdf5", batch_size=2)
    assert plan.at_most
    assert report.facts["detector"] == name
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert file["a.png_features"].shape == (4, 1024)
        assert file["a.png_cls_prob"].shape == (4,)
        assert file["a.png_size"][()].tolist() == [40, 60]


def test_the_size_is_announced_and_nearly_right(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    out = tmp_path / "deep/a.hdf5"
    plan = plan_images(DATA, TINY, out=out)
    assert not out.parent.exists()
    assert plan.num_images == 84
    with caplog.at_level(logging.INFO):
        embed(DATA, TINY, out)
    assert "84 images, 413.6 kB; 827.2 kB while it is put together" in caplog.text
    assert out.stat().st_size == pytest.approx(plan.num_bytes, rel=0.05)


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "free")(500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with pytest.raises(HlcliError, match=r"needs 827.2 kB of room, and 500.0 kB are free"):
        embed(DATA, TINY, tmp_path / "a.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_a_finished_file_is_replaced_only_when_asked(tmp_path: Path):
    out = tmp_path / "a.hdf5"
    embed(DATA, TINY, out, splits=["test"])
    with pytest.raises(InputError, match=r"a\.hdf5 exists\. Give --overwrite"):
        embed(DATA, TINY, out, splits=["val"])
    with pytest.raises(InputError, match="give one of them"):
        embed(DATA, TINY, out, overwrite=True, resume=True)
    embed(DATA, TINY, out, splits=["val"], overwrite=True)
    assert len(FeatureFile(out).keys()) == 9


def test_resuming_a_finished_file_does_nothing_unless_it_is_another(tmp_path: Path):
    out = tmp_path / "a.hdf5"
    embed(DATA, TINY, out, splits=["test"])
    before = out.stat()
    assert embed(DATA, TINY, out, splits=["test"], resume=True).num_images == 5
    assert out.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(DataError, match="of other images or precision"):
        embed(DATA, TINY, out, splits=["val"], resume=True)
    with pytest.raises(DataError, match=r"image_size is \[64, 64\], expected \[96, 96\]"):
        embed(DATA, FeatureOptions(backbone="clip:tiny", pretrained=False, image_size=96), out, resume=True)


class Stopped(Exception):
    """Stands for whatever ends a program in the middle."""


def embed_some(out: Path, decoded: int, **how: Any) -> None:
    """Embed, but let decoding fail for good after so many images."""
    count = iter(range(decoded))

    def load(*args: Any, **options: Any) -> Any:
        if next(count, None) is None:
            raise Stopped
        return load_image(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hlcli.features.images.load_image", load)
        embed(DATA, TINY, out, **how)


def test_an_interrupted_file_is_finished_to_the_same_bytes(tmp_path: Path):
    whole, parted = tmp_path / "whole.hdf5", tmp_path / "parted.hdf5"
    embed(DATA, TINY, whole)
    with pytest.raises(Stopped):
        embed_some(parted, 70)
    assert not parted.exists()
    with pytest.raises(InputError, match=r"holds 1 of 2 parts\. Give --resume to go on"):
        embed(DATA, TINY, parted)
    embed_some(parted, 20, resume=True)  # the other 64 are not decoded again
    assert parted.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parted.hdf5", "whole.hdf5"]


def test_an_interrupted_file_is_not_finished_in_another_way(tmp_path: Path):
    out = tmp_path / "a.hdf5"
    with pytest.raises(Stopped):
        embed_some(out, 70)
    with pytest.raises(DataError, match="was begun in another way: batch_size was 4, now 8"):
        embed(DATA, TINY, out, resume=True, batch_size=8)
    with pytest.raises(DataError, match="dtype was float16, now float32"):
        embed(DATA, TINY, out, resume=True, dtype="float32")
    embed(DATA, TINY, out, overwrite=True, dtype="float32")
    assert FeatureFile(out).facts["dtype"] == "float32"


WORDS = ["embed", "images", "shapes", "--set", "num_train=300", "--set", "num_val=9", "--set", "num_test=5",
         "--backbone", "clip:tiny", "--no-pretrained", "--workers", "0"]  # fmt: skip


def test_a_killed_program_finished_by_two_processes_makes_what_one_makes(tmp_path: Path):
    alone, killed = tmp_path / "alone.hdf5", tmp_path / "killed.hdf5"
    embed(Shapes(num_train=300, num_val=9, num_test=5), TINY, alone, batch_size=16)
    program = WarmProgram(*WORDS, "--out", killed, ACCELERATE_USE_CPU="true")
    first = tmp_path / "killed.hdf5.partial/00000.json"
    for _ in range(10_000):
        if first.is_file() or not program.is_running():
            break
        time.sleep(0.01)
    program.send(signal.SIGKILL)
    program.wait()
    assert first.is_file()
    assert not killed.exists()
    done = run_two(*WORDS, "--out", killed, "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("314 images") == 1
    assert killed.read_bytes() == alone.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.hdf5", "killed.hdf5"]


@pytest.mark.parametrize("of_folder", [False, True])
def test_a_list_of_images_goes_to_loader_processes_that_are_started_anew(photos: Path, of_folder: bool):
    images = list_images(photos if of_folder else DATA)
    copy = pickle.loads(pickle.dumps(images))
    assert copy.image_ids == images.image_ids
    assert load_image(copy.source(1), name="copy").size == load_image(images.source(1), name="original").size


def test_ids_that_would_share_a_key_are_refused(tmp_path: Path):
    for name in ("COCO_val2014_000000000042.jpg", "COCO_train2014_000000000042.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(DataError, match="would both be stored as 42"):
        list_images(tmp_path)


def test_options_that_cannot_be_are_refused(photos: Path, tmp_path: Path):
    with pytest.raises(InputError, match="--dtype must be float16 or float32"):
        plan_images(photos, TINY, dtype="int8")
    with pytest.raises(InputError, match="--max-regions must be at least 1"):
        plan_images(photos, FeatureOptions(kind="region", backbone="clip:tiny", max_regions=0))
    with pytest.raises(InputError, match="is a folder"):
        embed(photos, TINY, tmp_path)
