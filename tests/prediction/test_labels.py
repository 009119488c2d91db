"""Predictions of files, folders and patterns: every image has a line or is listed as failed."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

import hlcli
from hlcli.cli import main
from hlcli.data.failures import Failure
from hlcli.data.image_files import find_images
from hlcli.data.labels import LabelSpace
from hlcli.data.store import open_records
from hlcli.errors import CheckpointError, InputError
from hlcli.models.folder import read_model
from hlcli.prediction.label_rows import make_prediction
from hlcli.prediction.labels import Predictor, predict
from hlcli.thresholds import thresholds_to_exceed


@pytest.fixture(scope="module")
def model(tmp_path_factory, request) -> Path:
    from tiny import tiny_recipe

    return hlcli.train(tiny_recipe("train.epochs=1"), tmp_path_factory.mktemp("model") / "run").folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.PNG", "deeper/c.webp", "ü 漢.jpg"):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_every_image_is_predicted_or_listed(model: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    predictions, failures = predict(hlcli.load(model), [photos], out=out)
    assert predictions == []
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    names = [Path(line["image"]).name for line in lines]
    assert names == ["a.jpg", "b.PNG", "c.webp", "ü 漢.jpg"]
    listed = [json.loads(line) for line in out.with_suffix(".failures.jsonl").read_text().splitlines()]
    assert [Path(line["image"]).name for line in listed] == ["broken.jpg", "empty.png"]
    assert all("cannot be decoded" in line["error"] for line in listed)
    assert [failure.image for failure in failures] == [line["image"] for line in listed]
    levels = {label["level"] for line in lines for label in line["labels"]}
    assert levels <= {"coarse", "middle", "fine"}


def test_formats_say_the_same(model: Path, photos: Path, tmp_path: Path):
    predictor = hlcli.load(model, thresholds=[0.01] * 3)
    for name in ("o.jsonl", "o.csv", "o.parquet"):
        predict(predictor, [photos / "a.jpg", photos / "b.PNG"], out=tmp_path / name)
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert pq.read_table(tmp_path / "o.parquet").to_pylist() == lines
    rows = list(csv.DictReader((tmp_path / "o.csv").open(newline="")))
    for row, line in zip(rows, lines, strict=True):
        assert row["image"] == line["image"]
        fine = [label for label in line["labels"] if label["level"] == "fine"]
        assert row["fine"].split(";") == [label["name"] for label in fine]
        assert [float(score) for score in row["fine_scores"].split(";")] == [label["score"] for label in fine]


def test_paths_bytes_and_pil_images_give_the_same_scores(model: Path, photos: Path):
    predictor = hlcli.load(model)
    path = photos / "b.PNG"
    results = predictor.predict([path, path.read_bytes(), Image.open(path)])
    for other in results[1:]:
        for level, expected in zip(other.levels, results[0].levels, strict=True):
            np.testing.assert_array_equal(level, expected)
    best = results.top(3)[0]
    assert len(best) == 3
    assert best[0][1] >= best[1][1] >= best[2][1]


def test_thresholds_are_the_models_own(model: Path):
    loaded = read_model(model)
    assert loaded.thresholds is not None
    assert Predictor(loaded).thresholds == loaded.thresholds
    assert loaded.facts["metrics"]["threshold"] == loaded.thresholds[-1]


def test_consistent_decoding_never_scores_a_child_above_its_parent(model: Path, photos: Path):
    loaded = read_model(model)
    recipe = type(loaded.recipe).from_dict(loaded.recipe.to_dict(), ["eval.consistent=true"])
    prediction = Predictor(loaded._replace(recipe=recipe)).predict([photos / "a.jpg"])[0]
    for depth, parents in enumerate(loaded.labels.parents):
        assert (prediction.levels[depth + 1] <= prediction.levels[depth][list(parents)] + 1e-7).all()


def test_places_are_found_sorted_and_once(photos: Path):
    found = find_images([photos / "b.PNG", photos, Path(f"{photos}/*.jpg")])
    assert found[0] == photos / "b.PNG"
    assert len(found) == len(set(found)) == 6
    assert photos / "notes.txt" not in found
    with pytest.raises(InputError, match="no image there"):
        find_images([photos / "missing"])


def test_named_file_is_tried_whatever_its_ending(model: Path, photos: Path):
    _, failures = predict(hlcli.load(model), [photos / "notes.txt"])
    assert isinstance(failures[0], Failure)


def test_what_is_not_a_model_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match="does not exist"):
        hlcli.load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="holds no model"):
        hlcli.load(tmp_path)
    (tmp_path / "weights.pth").write_bytes(b"abc")
    with pytest.raises(CheckpointError, match="needs --recipe"):
        hlcli.load(tmp_path / "weights.pth")


def test_links_are_followed_once_and_dead_ones_are_listed(model: Path, photos: Path, tmp_path: Path):
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "elsewhere").symlink_to(photos, target_is_directory=True)
    (photos / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "dead.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = find_images([folder])
    assert len(found) == 7
    out = tmp_path / "out.jsonl"
    _, failures = predict(hlcli.load(model), [folder], out=out)
    assert {Path(failure.image).name for failure in failures} == {"broken.jpg", "empty.png", "dead.jpg"}
    assert len(out.read_text().splitlines()) == 4


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_names_that_are_not_utf8_cost_nothing(model: Path, photos: Path, tmp_path: Path, ending: str):
    name = os.fsencode(photos) + b"/bad\xff.jpg"
    try:
        os.link(photos / "a.jpg", name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    out = tmp_path / f"out.{ending}"
    _, failures = predict(hlcli.load(model), [photos], out=out)
    assert len(failures) == 2
    if ending == "parquet":
        names = pq.read_table(out)["image"].to_pylist()
    else:
        names = out.read_text(encoding="utf-8").splitlines()
    assert sum("bad" in line and "xff" in line for line in names) == 1


@pytest.fixture(scope="module")
def scene_model(tmp_path_factory) -> Path:
    """A trained SALGL run."""
    from tiny import TINY

    from hlcli.recipe import Recipe

    sizes = {"attention_dim": 16, "feedforward_dim": 16, "num_heads": 2, "label_embedding_dim": 8}
    tree = {**TINY, "model": {"method": "salgl", "num_scenes": 3, **sizes}}
    recipe = Recipe.from_dict(tree, ["train.epochs=1", "train.ema_decay=null"])
    return hlcli.train(recipe, tmp_path_factory.mktemp("scenes") / "run").folder


def test_scenes_are_part_of_predictions(scene_model: Path, photos: Path, tmp_path: Path):
    predictor = hlcli.load(scene_model)
    images = [photos / "a.jpg", photos / "b.PNG"]
    for name in ("o.jsonl", "o.csv", "o.parquet"):
        predict(predictor, images, out=tmp_path / name)
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    table = pq.read_table(tmp_path / "o.parquet").to_pylist()
    rows = list(csv.DictReader((tmp_path / "o.csv").open(newline="")))
    for line, from_parquet, row, known in zip(lines, table, rows, predictor.predict(images), strict=True):
        assert known.scene is not None
        assert line["scene"]["index"] == known.scene.index == known.scene.probs.argmax()
        assert line["scene"]["score"] == pytest.approx(known.scene.score, abs=1e-6)
        assert list(row)[-2:] == list(from_parquet)[-2:] == ["scene", "scene_score"]
        expected = (line["scene"]["index"], line["scene"]["score"])
        assert (from_parquet["scene"], from_parquet["scene_score"]) == expected
        assert (int(row["scene"]), float(row["scene_score"])) == expected


def test_scenes_of_a_split_are_those_of_its_images(scene_model: Path, tmp_path: Path):
    out = tmp_path / "out.csv"
    result = CliRunner().invoke(main.app, ["eval", str(scene_model), "--split", "test", "--out", str(out)])
    assert result.exit_code == 0, result.output
    records = open_records(read_model(scene_model).recipe.data, "test")
    images = [record.image.draw() for record in records]
    with out.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row, prediction in zip(rows, hlcli.load(scene_model).predict(images), strict=True):
        assert prediction.scene is not None
        assert int(row["scene"]) == prediction.scene.index
        assert float(row["scene_score"]) == pytest.approx(prediction.scene.score, abs=1e-4)


def test_models_without_scenes_have_no_columns_for_them(model: Path, photos: Path, tmp_path: Path):
    predictor = hlcli.load(model)
    for name in ("o.jsonl", "o.csv", "o.parquet"):
        predict(predictor, [photos / "a.jpg"], out=tmp_path / name)
    assert list(json.loads((tmp_path / "o.jsonl").read_text())) == ["image", "labels"]
    assert "scene" not in (tmp_path / "o.csv").read_text().splitlines()[0]
    assert pq.read_table(tmp_path / "o.parquet").column_names == ["image", "labels"]
    assert predictor.predict([photos / "a.jpg"])[0].scene is None


def test_a_score_at_the_threshold_is_listed_where_it_counts_as_predicted():
    labels = LabelSpace.flat("ab")
    scores = np.array([0.5, 0.4999], dtype=np.float32)
    strict = make_prediction("a.jpg", (scores,), labels, thresholds_to_exceed((0.5,), at_threshold=False))
    inclusive = make_prediction("a.jpg", (scores,), labels, thresholds_to_exceed((0.5,), at_threshold=True))
    assert [row.name for row in strict.labels] == []
    assert [row.name for row in inclusive.labels] == ["a"]
