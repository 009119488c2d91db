"""Calibrating a model: what is written, what an evaluation makes of it, and what is refused."""

from __future__ import annotations

import errno
import json
import math
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from tiny_captioner import write_captioner

import hlcli
from hlcli.calibration import models, splits
from hlcli.errors import CheckpointError, InputError
from hlcli.evaluation.labels import split_predictions
from hlcli.metrics.calibration import expected_calibration_error
from hlcli.metrics.calibration_maps import IDENTITY, CalibrationMap
from hlcli.metrics.hierarchy import consistent_scores
from hlcli.metrics.threshold_tuning import tune_label_thresholds, tune_shared_threshold
from hlcli.models.folder import LoadedModel, read_model
from hlcli.models.opening import open_model

THRESHOLDS = (0.45, 0.5, 0.55)


def document(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


def names_above(result: hlcli.Evaluation, loaded: LoadedModel) -> list[list[str]]:
    return [sorted(label.name for label in row.labels) for row in split_predictions(result, loaded.labels)]


def test_only_the_description_changes_and_everybody_uses_it(folder: Path, photos: Path):
    raw = hlcli.evaluate(folder)
    weights = (folder / "model.safetensors").read_bytes()
    found = hlcli.calibrate(folder)
    assert (folder / "model.safetensors").read_bytes() == weights
    assert found.folder == folder
    loaded = read_model(folder)
    assert loaded.calibration == found.map
    assert loaded.thresholds == found.thresholds
    assert all(one.slopes != (1.0,) and one.intercepts == (0.0,) for one in found.map.levels)
    result = hlcli.evaluate(folder)
    for before, after, level in zip(raw.scores.levels, result.scores.levels, found.map.levels, strict=True):
        np.testing.assert_array_equal(after, level.apply(before))
        assert abs(before - after).max() > 1e-3
    assert result.metrics.thresholds == found.thresholds
    assert [row.AP for row in result.metrics.labels] == pytest.approx([row.AP for row in raw.metrics.labels], abs=0)
    predicted = hlcli.load(folder).predict([record.image.draw() for record in result.records])
    for row, prediction in enumerate(predicted):
        for scores, level in zip(prediction.levels, result.scores.levels, strict=True):
            np.testing.assert_allclose(scores, level[row], atol=1e-5)


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_errors_shrink_on_the_split_that_is_fitted(folder: Path, method: str):
    raw = hlcli.evaluate(folder)
    found = hlcli.calibrate(folder, method=method)
    rows = [row for row in found.scores if row.split == "val"]
    assert [row.level for row in rows] == ["coarse", "middle", "fine"]
    for row in rows:
        assert row.NLL[1] < row.NLL[0]
        assert row.Brier[1] < row.Brier[0]
        assert row.F1[1] >= row.F1[0] - 1e-9
    test = [row for row in found.scores if row.split == "test"]
    assert test[-1].NLL[1] < test[-1].NLL[0]
    measured = hlcli.evaluate(folder)
    assert test[-1].F1[1] == measured.metrics["F1_macro"]
    errors = [expected_calibration_error(one.scores.levels[-1], one.targets) for one in (raw, measured)]
    assert tuple(errors) == test[-1].ECE


def test_thresholds_per_label_hold_everywhere(folder: Path, photos: Path, tmp_path: Path):
    found = hlcli.calibrate(folder, method="none", thresholds="per-label", min_examples=5)
    fine = found.thresholds[-1]
    assert len(fine) == 12
    assert len(set(fine)) > 3
    shared = hlcli.calibrate(folder, method="none", out=tmp_path / "other")
    assert isinstance(shared.thresholds[-1], float)
    result = hlcli.evaluate(folder, split="val")
    assert result.metrics.thresholds == found.thresholds
    assert math.isnan(result.metrics["threshold"])
    assert "per label" in str(result.metrics)
    assert [row.threshold for row in result.metrics.labels if row.level == "fine"] == list(fine)
    assert result.metrics["F1_macro"] == [row for row in found.scores if row.split == "val"][-1].F1[1]
    assert result.metrics["F1_macro"] >= hlcli.evaluate(tmp_path / "other", split="val").metrics["F1_macro"]
    predictor = hlcli.load(folder)
    assert predictor.thresholds == found.thresholds
    for prediction in predictor.predict(photos / "ü 0.jpg"):
        listed = {label.name for label in prediction.labels if label.level == "fine"}
        above = np.array(prediction.levels[-1], dtype=np.float64) > np.array(fine)
        assert listed == {name for name, is_above in zip(predictor.labels.label_names, above, strict=True) if is_above}
    done = hlcli.predict(folder, [photos], out=tmp_path / "p.jsonl")
    assert not done.failures
    again = hlcli.evaluate(folder, thresholds=result.metrics.thresholds)
    assert again.metrics.thresholds == found.thresholds
    names = predictor.labels.label_names
    given = {"coarse": 0.5, "middle": 0.5, "fine": dict(zip(names, fine, strict=True))}
    (tmp_path / "t.json").write_text(json.dumps(given))
    assert hlcli.evaluate(folder, thresholds=tmp_path / "t.json").metrics.thresholds == (0.5, 0.5, fine)


def test_thresholds_are_tuned_for_the_metric_that_was_asked_for(folder: Path):
    loaded, rng = read_model(folder), np.random.default_rng(0)
    targets = [rng.random((80, size)) < rng.uniform(0.1, 0.6, size) for size in (3, 5, 12)]
    scores = [(0.4 * one + rng.uniform(0, 0.6, one.shape)).astype(np.float32) for one in targets]
    data = splits._SplitData(scores, targets, [None] * 3)
    raw = CalibrationMap("none", (IDENTITY,) * 3)
    shared = {
        by: tuple(tune_shared_threshold(*pair, by=by) for pair in zip(scores, targets, strict=True))
        for by in ("F1_micro", "F1_macro", "F1_samples")
    }
    assert len(set(shared.values())) == 3
    for by, expected in shared.items():
        assert splits.tune(loaded, raw, data, "global", by, 5) == expected
    own = {
        by: tuple(
            tune_label_thresholds(*pair, one, by=by, min_examples=5)
            for *pair, one in zip(scores, targets, shared[by], strict=True)
        )
        for by in ("F1_micro", "F1_macro")
    }
    assert len(set(own.values())) == 2
    for by, expected in own.items():
        assert splits.tune(loaded, raw, data, "per-label", by, 5) == expected


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_kept_thresholds_keep_what_is_predicted_and_everything_finds_back(folder: Path, method: str):
    before = hlcli.evaluate(folder)
    found = hlcli.calibrate(folder, method=method, thresholds="keep", min_examples=5)
    after = hlcli.evaluate(folder)
    assert found.thresholds != THRESHOLDS
    assert names_above(after, read_model(folder)) == names_above(before, read_model(folder)) != []
    hlcli.calibrate(folder, method="none", thresholds="keep")
    back = read_model(folder)
    assert back.calibration is None
    flat = [np.unique(np.round(one, 9)).tolist() for one in back.thresholds]
    assert flat == [[threshold] for threshold in THRESHOLDS]
    np.testing.assert_array_equal(hlcli.evaluate(folder).scores.levels[-1], before.scores.levels[-1])


def test_a_second_calibration_starts_from_raw_scores(folder: Path):
    first = hlcli.calibrate(folder, method="platt")
    again = hlcli.calibrate(folder, method="platt")
    assert again.map == first.map
    assert again.scores[-1].ECE == first.scores[-1].ECE


def test_models_without_calibration_are_written_as_before(folder: Path):
    assert document(folder)["format"] == 1
    assert "calibration" not in document(folder)
    hlcli.calibrate(folder, method="temperature")
    told = document(folder)
    assert told["format"] == 2  # an older hlcli would take scores for others, and refuses
    assert told["calibration"]["method"] == "temperature"
    assert told["facts"]["epoch"] == 2
    assert told["facts"]["calibration"]["scores"][-1]["split"] == "test"
    hlcli.calibrate(folder, method="none", thresholds="per-label", min_examples=1)
    assert document(folder)["format"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"calibration": {"method": "temperature", "levels": []}},
        {"calibration": 5},
        {"thresholds": [0.5, 0.5, [0.5, 0.4]]},
        {"thresholds": [0.5, 0.5, [0.5] * 11 + [2.0]]},
        {"thresholds": 0.5},
    ],
)
def test_a_damaged_description_is_refused(folder: Path, change: dict):
    hlcli.calibrate(folder)
    (folder / "model.json").write_text(json.dumps({**document(folder), **change}))
    with pytest.raises(CheckpointError, match=r"model\.json cannot be read"):
        read_model(folder)


def test_a_run_is_calibrated_in_its_model_folder(made: Path, tmp_path: Path):
    shutil.copytree(made, tmp_path / "run" / "model")
    found = hlcli.calibrate(tmp_path / "run")
    assert found.folder == tmp_path / "run" / "model"
    assert read_model(tmp_path / "run").calibration == found.map
    assert sorted(path.name for path in found.folder.iterdir()) == ["model.json", "model.safetensors"]


def test_another_folder_gets_a_whole_model_and_the_first_stays(folder: Path, tmp_path: Path):
    before = document(folder)
    out = tmp_path / "new" / "calibrated"
    found = hlcli.calibrate(folder, out=out, overrides=["data.num_val=50", "eval.batch_size=7"])
    assert document(folder) == before
    assert read_model(out).calibration == found.map
    assert read_model(out).recipe.data == read_model(folder).recipe.data  # what this work was told is not kept
    assert (out / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="exists"):
        hlcli.calibrate(folder, out=out)
    hlcli.calibrate(folder, out=out, method="platt", overwrite=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(CheckpointError, match="is not a model folder"):
        hlcli.calibrate(folder, out=tmp_path / "photos", overwrite=True)
    assert read_model(out).calibration.method == "platt"


def test_a_loaded_model_is_written_nowhere_unless_asked(folder: Path, tmp_path: Path):
    loaded = read_model(folder)
    before = document(folder)
    found = hlcli.calibrate(loaded)
    assert (found.folder, document(folder)) == (None, before)
    assert hlcli.evaluate(found.model).metrics.thresholds == found.thresholds
    assert hlcli.calibrate(loaded, out=tmp_path / "out").folder == tmp_path / "out"


def test_fixed_thresholds_of_a_recipe_give_way_to_tuned_ones(folder: Path, tmp_path: Path):
    loaded = read_model(folder)
    fixed = loaded._replace(recipe=loaded.recipe.changed(["eval.threshold=0.3"]))
    assert hlcli.evaluate(fixed).metrics["threshold"] == 0.3
    found = hlcli.calibrate(fixed, out=tmp_path / "out")
    assert hlcli.evaluate(tmp_path / "out").metrics.thresholds == found.thresholds
    kept = hlcli.calibrate(fixed, thresholds="keep")
    assert kept.model.recipe.eval.threshold == 0.3


def test_consistent_scores_are_made_of_calibrated_ones(folder: Path):
    hlcli.calibrate(folder, method="platt", min_examples=5)
    levels = [
        hlcli.load(folder, overrides=[f"eval.consistent={flag}"]).predict([np.zeros((40, 40, 3), np.uint8)])[0].levels
        for flag in ("false", "true")
    ]
    parents = read_model(folder).labels.parents
    middle = np.minimum(levels[0][1], levels[0][0][list(parents[0])])
    np.testing.assert_array_equal(levels[1][1], middle)


@pytest.mark.parametrize("setting", ["consistent", "at_threshold"])
@pytest.mark.parametrize("scope", ["global", "per-label"])
def test_thresholds_are_tuned_on_what_is_compared_with_them(folder: Path, setting: str, scope: str):
    """Scores that no child may exceed its parent's by, or that count where they equal a threshold."""
    loaded, rng = read_model(folder), np.random.default_rng(0)
    sizes = loaded.labels.level_sizes
    scores = [rng.integers(1, 19, (40, size)) / 20 for size in sizes]  # on the grid of thresholds
    targets = [rng.random(one.shape) < one for one in scores]
    data = splits._SplitData(scores, targets, [None] * len(sizes))
    same = CalibrationMap("none", (IDENTITY,) * len(sizes))
    plain, tuned = (
        splits.tune(open_model(folder, overrides=[f"eval.{setting}={flag}"]), same, data, scope, "F1_macro", 5)
        for flag in ("false", "true")
    )
    used = consistent_scores(scores, loaded.labels.parents) if setting == "consistent" else scores
    expected = []
    for level_scores, level_targets in zip(used, targets, strict=True):
        shared = tune_shared_threshold(level_scores, level_targets, inclusive=setting == "at_threshold")
        own = tune_label_thresholds(level_scores, level_targets, shared, min_examples=5)
        expected.append(own if scope == "per-label" else shared)
    assert tuned == tuple(expected)
    assert tuned != plain


def test_a_model_that_cannot_be_changed_is_refused_before_any_work(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # root may write everywhere
    monkeypatch.setattr(models, "score_raw", lambda *_: pytest.fail("it was measured first"))
    with pytest.raises(InputError, match="cannot be written: Permission denied") as caught:
        hlcli.calibrate(folder)
    assert "--out" in str(caught.value.hint)


def test_ignored_decisions_are_in_no_measure(folder: Path):
    """Of two labels the second is known of no image: F1 and errors are those of the first alone."""
    loaded = read_model(folder)._replace(labels=hlcli.LabelSpace.flat(["a", "b"]), thresholds=None, calibration=None)
    scores = np.array([[0.9, 0.9], [0.8, 0.9], [0.3, 0.9], [0.6, 0.1]])
    targets = np.array([[1, 0], [1, 0], [0, 0], [0, 0]], dtype=bool)
    ignore = np.array([[False, True]] * 4)
    same = CalibrationMap("none", (IDENTITY,))
    found, alone = (
        splits.compare_scores(one, "val", splits._SplitData(*([part] for part in data)), same, None, "F1_micro")
        for one, data in (
            (loaded, (scores, targets, ignore)),
            (
                loaded._replace(labels=hlcli.LabelSpace.flat(["a"])),
                (scores[:, :1], targets[:, :1], None),
            ),
        )
    )
    assert found[0][2:] == alone[0][2:]
    assert list(found[0].F1) == pytest.approx([0.8, 0.8])


def test_labels_with_few_examples_are_named(folder: Path):
    found = hlcli.calibrate(folder, method="platt", min_examples=20)
    names = read_model(folder).labels.label_names
    assert set(found.shared["fine"]) <= set(names)
    assert found.shared["fine"]
    json.dumps(found.to_json(), allow_nan=False)


def test_images_that_mislead_are_warned_of(folder: Path, caplog: pytest.LogCaptureFixture):
    hlcli.calibrate(folder)
    assert not caplog.records
    hlcli.calibrate(folder, split="train")
    assert "will stay too sure" in caplog.text
    hlcli.calibrate(folder, overrides=["data.num_val=10"])
    assert "val: 10 images are few" in caplog.text


def test_what_cannot_be_calibrated_is_refused(folder: Path, tmp_path: Path):
    for arguments, message in (
        ({"method": "plat"}, "--method must be one of none, temperature, platt"),
        ({"thresholds": "label"}, "--thresholds must be one of global, per-label, keep"),
        ({"by": "mAP"}, "--by must be one of"),
        ({"thresholds": "per-label", "by": "F1_samples"}, "cannot be tuned for F1_samples"),
        ({"split": "dev"}, "no split 'dev'"),
    ):
        with pytest.raises(InputError, match=message):
            hlcli.calibrate(folder, **arguments)
    with pytest.raises(InputError, match="makes captions"):
        hlcli.calibrate(write_captioner(tmp_path / "captioner"))
    file = tmp_path / "best.pth"
    file.write_bytes(b"")
    with pytest.raises(InputError, match="is no folder of yours"):
        hlcli.calibrate(file)
    with pytest.raises(InputError, match="is no folder of yours"):
        hlcli.calibrate("hf://jane/shapes")


def test_of_two_calibrations_at_once_the_second_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch):
    plain = models.score_raw

    def and_another_calibration(*arguments):
        monkeypatch.setattr(models, "score_raw", plain)
        hlcli.calibrate(folder, method="platt")
        return plain(*arguments)

    monkeypatch.setattr(models, "score_raw", and_another_calibration)
    with pytest.raises(CheckpointError, match="was calibrated by another command meanwhile") as caught:
        hlcli.calibrate(folder)
    assert "Calibrate again" in (caught.value.hint or "")
    assert read_model(folder).calibration.method == "platt"


def test_a_model_that_was_replaced_meanwhile_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch):
    plain = models.score_raw

    def and_train(*arguments):
        told = document(folder)
        told["facts"]["epoch"] = 3
        (folder / "model.json").write_text(json.dumps(told))
        return plain(*arguments)

    monkeypatch.setattr(models, "score_raw", and_train)
    with pytest.raises(CheckpointError, match="holds another model than a moment ago"):
        hlcli.calibrate(folder)
    assert document(folder)["format"] == 1
