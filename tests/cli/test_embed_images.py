from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hlcli.cli.main import app
from hlcli.features.reading import FeatureFile

SHAPES = ("shapes", "--set", "num_train=6", "--set", "num_val=3", "--set", "num_test=2")
TINY = ("--backbone", "clip:tiny", "--no-pretrained", "--workers", 0)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["embed", "images", *map(str, words)])


@pytest.fixture(autouse=True)
def here(work_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    Path("photos").mkdir()
    Image.new("RGB", (90, 70), "red").save("photos/a.png")


def test_the_file_and_what_is_in_it_are_shown():
    done = run(*SHAPES, *TINY)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(
        "data/shapes/grid_features.hdf5: 11 images, grid features (2×2) of width 512 by clip:tiny, float16, "
    )
    assert FeatureFile(Path("data/shapes/grid_features.hdf5")).read("shapes-val-000002").shape == (4, 512)


def test_json_is_one_document():
    done = run("photos", *TINY, "--kind", "region", "--max-regions", 14, "--dtype", "float32", "--json")
    document = json.loads(done.stdout)
    assert document["file"] == "photos/region_features.hdf5"
    assert (document["images"], document["failures"]) == (1, 0)
    assert document["bytes"] == Path("photos/region_features.hdf5").stat().st_size
    assert document["facts"]["detector"] == "windows"
    assert FeatureFile(Path("photos/region_features.hdf5"), "region").read("a.png").shape == (14, 512)


def test_a_dry_run_says_the_size_and_writes_nothing():
    done = run(*SHAPES, *TINY, "--dry-run")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].endswith("11 images, grid features (2×2) of width 512 by clip:tiny, float16")
    assert lines[1].startswith("54.2 kB; 108.3 kB while it is put together; ")
    assert not Path("data").exists()
    document = json.loads(run(*SHAPES, *TINY, "--dry-run", "--json").stdout)
    assert (document["images"], document["peak_bytes"]) == (11, 2 * document["bytes"])


def test_a_dry_run_of_the_published_features_fetches_nothing():
    done = run("photos", "--dry-run", "--json", "--dtype", "float32")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["facts"]["grid"] == [16, 16]
    assert document["facts"]["width"] == 1024
    assert document["bytes"] == pytest.approx((256 * 1024 + 768) * 4, rel=0.01)


def test_images_without_features_are_listed_and_told_by_the_exit_code():
    Path("photos/b.jpg").write_bytes(b"nothing")
    done = run("photos", *TINY)
    assert done.exit_code == 3
    assert "1 image could not be decoded" in done.stderr
    assert "photos/grid_features.failures.jsonl" in done.stderr
    assert json.loads(Path("photos/grid_features.failures.jsonl").read_text())["image"] == "b.jpg"
    assert run("photos", *TINY, "--resume").exit_code == 3  # also when there is nothing left to do


def test_keys_of_the_data_section_decide_how_images_are_resized():
    words = (*SHAPES, *TINY, "--dry-run", "--json", "--set", "image_size=96", "--set", "resize=stretch")
    facts = json.loads(run(*words).stdout)["facts"]
    assert (facts["image_size"], facts["resize"], facts["normalization"]) == ([96, 96], "stretch", "clip")
    facts = json.loads(run(*words, "--image-size", 64, "--normalization", "half").stdout)["facts"]
    assert (facts["image_size"], facts["resize"], facts["normalization"]) == ([64, 64], "stretch", "half")


def test_a_table_of_vinvl_is_taken_over():
    rows = np.ones((2, 2054), dtype="<f4")
    objects = [{"rect": [0, 0, 5, 5], "conf": 0.9}] * 2
    Path("features.tsv").write_text(f"a_7\t2\t{base64.b64encode(rows.tobytes()).decode()}\n")
    document = json.dumps({"image_h": 5, "image_w": 6, "objects": objects})
    Path("predictions.tsv").write_text(f"a_7\t{document}\n")
    done = run("--from-tsv", ".", "--out", "r.hdf5")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("r.hdf5: 1 image, region features of width 2048 by vinvl, float16, ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Which images?"),
        (("shape",), "shape is neither a data set nor a folder.\nhint: Did you mean shapes?"),
        (("data/shape",), "The folder data/shape does not exist.\nhint: Give a folder of images"),
        (("photos/a.png",), "photos/a.png is not a folder."),
        (("photos", "--split", "val"), "--root, --set and --split belong to data sets"),
        (("photos", "--kind", "cells"), "--kind must be grid or region or global (got cells)"),
        (("photos", "--dtype", "bfloat16", *TINY), "--dtype must be float16 or float32"),
        (("photos", "--kind", "region", "--detector", "yolo"), "--detector yolo: there is no such detector"),
        (("photos", "--backbone", "resnet1001"), "timm knows no model 'resnet1001'"),
        (("photos", "--backbone", "clip:tiny", "--image-size", "100", "--no-pretrained"), "multiples of 32"),
        ((*SHAPES, "--split", "dev", *TINY), "dev"),
        ((*SHAPES, "--set", "image_sise=3"), "Did you mean image_size?"),
        (("photos", "--out", "photos/a.png/x.hdf5", "--backbone", "resnet1001"), "photos/a.png cannot be written"),
        (("photos", "--from-tsv", "."), "no data set or folder beside it"),
    ],
)
def test_mistakes_are_told(words: tuple[object, ...], message: str):
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
