"""Comparing models: what is measured, what is chance, and what cannot be compared."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from model_states import cpu_state
from paired_bootstrap import paired_bootstrap
from report_pages import photo_bytes
from tiny import tiny_recipe
from tiny_captioner import write_captioner

import hlcli
from hlcli.building import build_model
from hlcli.data.records import Record
from hlcli.data.store import open_records
from hlcli.data.store_writing import write_store
from hlcli.errors import DataError, InputError, RecipeError
from hlcli.evaluation import labels as evaluation_labels
from hlcli.metrics.bootstrap import holm
from hlcli.models.folder import LoadedModel, save_model

METRICS = ["mAP", "F1_micro", "F1_macro", "F1_samples", "CF1", "middle/mAP", "middle/F1_macro", "coarse/mAP"]


def model(seed: int, *overrides: str, thresholds: tuple[float, ...] | None = (0.4, 0.5, 0.5)) -> LoadedModel:
    """A network nobody has trained."""
    torch.manual_seed(seed)
    recipe = tiny_recipe("data.num_test=30", f"train.seed={seed}", *overrides)
    labels = recipe.data.label_space()
    return LoadedModel(build_model(recipe, labels).eval(), recipe, labels, thresholds, {})


@pytest.fixture(scope="module")
def pair() -> list[LoadedModel]:
    return [model(3), model(4, "model.hidden_dim=16")]


@pytest.fixture(scope="module")
def found(pair: list[LoadedModel]) -> hlcli.Comparison:
    return hlcli.compare([*pair, pair[0]], resamples=200)


def test_numbers_are_those_of_an_evaluation(pair: list[LoadedModel], found: hlcli.Comparison):
    alone = [hlcli.evaluate(loaded).metrics for loaded in pair]
    assert (found.split, found.num_images, found.models) == ("test", 30, ("model 1", "model 2", "model 3"))
    assert list(found.values) == [*METRICS, "coarse/F1_macro"]
    for name, values in found.values.items():
        assert values == (alone[0][name], alone[1][name], alone[0][name])
    rows = {(item.level, item.name): item for item in found.items}
    for first, second in zip(alone[0].labels, alone[1].labels, strict=True):
        item = rows[first.level, first.name]
        np.testing.assert_equal(item.scores, (first.AP, second.AP, first.AP))
        assert (item.positives, item.f1) == (first.positives, (first.F1, second.F1, first.F1))


def test_differences_have_intervals_and_corrected_p_values(found: hlcli.Comparison):
    first, same = ([row for row in found.differences if row.model == number] for number in (1, 2))
    assert [row.metric for row in first] == list(found.values)
    for row in first:
        before, after, _ = found.values[row.metric]
        assert row.value == pytest.approx(after - before)
        assert row.low <= row.high
        assert 2 / 201 <= row.p_value <= row.p_holm <= 1
    assert {row[2:] for row in same} == {(0.0, 0.0, 0.0, 1.0, 1.0)}
    assert [row.p_holm for row in found.differences] == holm([row.p_value for row in found.differences])
    assert max(row.p_holm / row.p_value for row in first) > 2  # all eighteen differences are corrected together


def test_intervals_are_those_of_a_slow_bootstrap(pair: list[LoadedModel]):
    """Metrics of the drawn images, each measured from its scores as an evaluation does it."""
    from hlcli.metrics.multilabel import average_precision, mean_average_precision

    runs = [hlcli.evaluate(loaded) for loaded in pair]

    def measure_of(run: hlcli.Evaluation):
        fine = run.scores.levels[-1]
        return lambda rows: {"mAP": mean_average_precision(average_precision(fine[rows], run.targets[rows]))}

    expected = paired_bootstrap(measure_of(runs[0]), measure_of(runs[1]), 30, resamples=50, seed=7)["mAP"]
    row = hlcli.compare(pair, metrics=["mAP"], resamples=50, seed=7).differences[0]
    assert row[2:6] == pytest.approx(expected)


def test_labels_are_won_and_lost_by_the_largest_difference(found: hlcli.Comparison):
    wins, losses = found.wins(1, "fine"), found.losses(1, "fine")
    gains = [item.gain(1) for item in wins]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0
    assert losses[0].gain(1) == min(item.gain(1) for item in found.items if item.level == "fine")
    assert found.wins(2) == found.losses(2) == []
    assert len(found.wins(1)) > len(wins)


def test_recipes_differ_where_they_do(pair: list[LoadedModel], found: hlcli.Comparison):
    assert found.recipes == {"model.hidden_dim": (32, 16, 32), "train.seed": (3, 4, 3)}
    last = hlcli.compare([pair[0], pair[0], pair[1]], metrics=["mAP"], resamples=1, overrides=["data.num_test=6"])
    assert last.recipes == {"model.hidden_dim": (32, 32, 16), "train.seed": (3, 3, 4)}


def test_a_calibrated_model_differs_from_the_raw_one_in_its_calibration(pair: list[LoadedModel]):
    calibrated = hlcli.calibrate(pair[0], thresholds="keep").model
    found = hlcli.compare([pair[0], calibrated], resamples=20)
    assert found.recipes == {"calibration": (None, "temperature")}
    assert {row.value for row in found.differences} == {0.0}  # thresholds moved along, and ranks stayed


def test_images_of_models_that_see_alike_are_decoded_once(pair: list[LoadedModel], monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []
    images = evaluation_labels.EvaluationImages
    plain = images.__getitem__
    monkeypatch.setattr(images, "__getitem__", lambda self, row: read.append(1) or plain(self, row))
    hlcli.compare(pair, metrics=["mAP"], resamples=1)
    assert len(read) == 30
    other = model(5, "data.normalization=imagenet", "data.horizontal_flip=false")
    read.clear()
    mixed = hlcli.compare([pair[0], other, pair[1]], metrics=["mAP"], resamples=1)
    assert len(read) == 60
    alone = [hlcli.evaluate(loaded).metrics["mAP"] for loaded in (pair[0], other, pair[1])]
    assert mixed.values["mAP"] == pytest.approx(alone)
    others = [model(6, "data.image_size=64"), model(7, "train.precision=bf16")]
    mixed = hlcli.compare([pair[0], *others], metrics=["mAP"], resamples=1)
    alone = [hlcli.evaluate(loaded).metrics["mAP"] for loaded in (pair[0], *others)]
    assert mixed.values["mAP"] == pytest.approx(alone, abs=1e-12)


def test_thresholds_that_nobody_tuned_are_tuned_on_val_for_each(pair: list[LoadedModel]):
    bare = [loaded._replace(thresholds=None) for loaded in pair]
    mixed = hlcli.compare([bare[0], pair[1], bare[1]], metrics=["F1_macro"], resamples=1)
    alone = [hlcli.evaluate(loaded).metrics["F1_macro"] for loaded in (bare[0], pair[1], bare[1])]
    assert mixed.values["F1_macro"] == tuple(alone)


@pytest.mark.parametrize("name", ["c.json", "c.md"])
def test_a_comparison_is_written_whole(pair: list[LoadedModel], tmp_path: Path, name: str):
    out = tmp_path / "new" / name
    found = hlcli.compare(pair, resamples=20, out=out)
    text = out.read_text(encoding="utf-8")
    if name.endswith("json"):
        assert json.loads(text) == json.loads(json.dumps(found.to_json()))
    else:
        assert text == str(found)
        assert "| mAP |" in text
        assert "| model.hidden_dim | 32 | 16 |" in text


def test_labels_without_positives_are_not_won(pair: list[LoadedModel]):
    found = hlcli.compare([one._replace(recipe=one.recipe.changed(["data.num_test=2"])) for one in pair], resamples=5)
    empty = [item for item in found.items if not item.positives]
    assert empty
    assert all(math.isnan(item.gain(1)) for item in empty)
    assert not {item.name for item in empty} & {item.name for item in found.wins(1) + found.losses(1)}
    assert None in [score for row in found.to_json()["items"] for score in row["scores"]]
    assert "NaN" not in json.dumps(found.to_json())


def test_metrics_that_cannot_be_drawn_anew_have_no_p_value(pair: list[LoadedModel]):
    found = hlcli.compare(pair, metrics=["hierarchy/F1", "mAP"], resamples=10)
    tree, plain = found.differences
    assert math.isnan(tree.p_value)
    assert plain.p_holm == plain.p_value  # one comparison is corrected for none
    assert "n/a" in str(found)


def test_what_cannot_be_compared_is_refused(pair: list[LoadedModel], tmp_path: Path):
    with pytest.raises(InputError, match="Two models at least"):
        hlcli.compare(pair[:1])
    with pytest.raises(InputError, match="Two models at least"):
        hlcli.compare("runs/a")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="ending must be one of"):
        hlcli.compare(pair, out="c.html")
    with pytest.raises(RecipeError, match="unknown key"):
        hlcli.compare(pair, overrides=["data.colour=1"])
    captioner = write_captioner(tmp_path / "captioner")
    with pytest.raises(InputError, match=r"makes labels, .*captioner makes captions"):
        hlcli.compare([pair[0], captioner])


@pytest.mark.parametrize(
    ("name", "hint"),
    [("mapp", "Did you mean mAP?"), ("coarse/map", "Did you mean coarse/mAP?"), ("scene/entropy", None)],
)
def test_metrics_that_are_not_measured_are_refused_before_any_image(
    pair: list[LoadedModel], monkeypatch: pytest.MonkeyPatch, name: str, hint: str | None
):
    monkeypatch.setattr(evaluation_labels.EvaluationImages, "__getitem__", lambda *_: pytest.fail("an image was read"))
    with pytest.raises(InputError, match=f"--metrics {name}: it is not measured of these models") as caught:
        hlcli.compare(pair, metrics=["mAP", name], resamples=1)
    assert hint is None or caught.value.hint == hint


def test_scores_of_captions_that_are_not_known_are_refused_before_any_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write_captioner(tmp_path / "a")
    monkeypatch.setattr(hlcli.CaptionPredictor, "__init__", lambda *_, **__: pytest.fail("a captioner was set up"))
    for name, hint in (("cidr", "Did you mean CIDEr?"), ("METEORS", "Did you mean METEOR?")):
        with pytest.raises(InputError, match=f"--metrics {name}: it is not measured") as caught:
            hlcli.compare([folder, folder], metrics=["ROUGE-L", name], resamples=1)
        assert caught.value.hint == hint


def test_other_images_and_other_labels_are_refused(pair: list[LoadedModel]):
    fewer = model(3, "data.num_test=29")
    with pytest.raises(DataError, match=r"other images: 30 and 29, and image 29 is shapes-test-000029 in one, missing"):
        hlcli.compare([pair[0], fewer], resamples=1)
    with pytest.raises(DataError, match="has other labels in the data of model 1 than in that of model 2"):
        hlcli.compare([pair[0], model(3, "data.seed=9")], resamples=1)
    same = hlcli.compare([pair[0], fewer], overrides=["data.num_test=12"], resamples=1)
    assert same.num_images == 12
    renamed = pair[1].labels.to_json()
    renamed["levels"][-1]["label_names"][2] = "zebra"
    other = pair[1]._replace(labels=hlcli.LabelSpace.from_json(renamed))
    with pytest.raises(DataError, match=r"Label 2 of level fine is '.*' in model 1 but 'zebra' in model 2"):
        hlcli.compare([pair[0], other], resamples=1)


def test_the_same_images_with_other_ignored_labels_are_refused(pair: list[LoadedModel], tmp_path: Path):
    drawn = list(open_records(pair[0].recipe.data, "test"))[:4]
    for name, ignored in (("a", ()), ("b", tuple({*range(3)} - {*drawn[2].labels}))):
        records = [Record(one.image_id, photo_bytes((9, 9, 9)), one.labels) for one in drawn]
        records[2] = dataclasses.replace(records[2], ignore=ignored)
        write_store(tmp_path / name / "store", pair[0].labels, {"test": records}, {}, encode=iter)
    models = [model(3, f"data.store={tmp_path / name / 'store'}") for name in "ab"]
    with pytest.raises(DataError, match=rf"Image {drawn[2].image_id} has other labels in the data of model 1"):
        hlcli.compare(models, resamples=1)


def test_folders_are_called_by_their_names(pair: list[LoadedModel], tmp_path: Path):
    folder = tmp_path / "a"
    loaded = pair[0]
    save_model(folder, cpu_state(loaded.model), loaded.recipe, loaded.labels, thresholds=(0.5, 0.5, 0.5), facts={})
    found = hlcli.compare([folder, str(folder), hlcli.open_model(folder)], metrics=["mAP"], resamples=1)
    assert found.models == (str(folder),) * 3


def test_captioners_are_compared_image_by_image(tmp_path: Path):
    folders = [write_captioner(tmp_path / name, seed=seed) for seed, name in enumerate(("a", "b"))]
    found = hlcli.compare(folders, resamples=50)
    alone = [hlcli.evaluate_captions(folder).metrics for folder in folders]
    assert found.values == {name: tuple(one.values[name] for one in alone) for name in alone[0].values}
    assert {row.metric for row in found.differences if not math.isnan(row.p_value)} == set(found.values)
    assert [item.name for item in found.items] == [f"shapes-test-{row:06d}" for row in range(7)]
    np.testing.assert_array_equal([item.scores[1] for item in found.items], alone[1].per_image["CIDEr"])
    assert found.recipes == {}
    only = hlcli.compare(folders, metrics=["BLEU-4", "ROUGE-L"], resamples=5)
    assert list(only.values) == ["BLEU-4", "ROUGE-L"]
    assert "CIDEr" not in str(only)
    with pytest.raises(DataError, match="other true captions"):
        hlcli.compare([hlcli.open_model(folders[0]), hlcli.open_model(folders[1], overrides=["data.seed=5"])])
