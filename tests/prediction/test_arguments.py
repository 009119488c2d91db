"""Numbers that cannot be meant are refused when a predictor is made; results know their labels."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_captioner import write_captioner
from tiny_label_models import tiny_label_model

import hlcli
from hlcli.exporting.description import describe_labels

IMAGE = np.zeros((40, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def loaded() -> hlcli.LoadedModel:
    return tiny_label_model("linear", "data.num_test=2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "`top_k` to be at least 1, but got 0"),
        ({"top_k": -1}, "`top_k` to be at least 1"),
        ({"batch_size": -1}, "`batch_size` to be at least 1"),
        ({"batch_size": 0}, "`batch_size` to be at least 1"),
        ({"workers": -1}, "`workers` to be at least 0"),
        ({"thresholds": [0.5, 0.5]}, "to hold 3 numbers, but got 2"),
        ({"thresholds": [1.5, 2, 3]}, r"must lie between 0 and 1 \(got 1.5, 2.0, 3.0\)"),
        ({"thresholds": "thr.json"}, "thr.json holds no thresholds"),
    ],
)
def test_what_cannot_be_meant_is_refused(loaded: hlcli.LoadedModel, options: dict[str, Any], message: str):
    error = hlcli.InputError if "thresholds" in message or "must lie" in message else ValueError
    with pytest.raises(error, match=message):
        hlcli.Predictor(loaded, **options)
    if "top_k" not in options:
        with pytest.raises(error, match=message):
            hlcli.evaluate(loaded, **options)


def test_captioners_refuse_it_too(tmp_path: Path):
    model = hlcli.open_model(write_captioner(tmp_path / "model"))
    for options in ({"batch_size": 0}, {"workers": -1}):
        with pytest.raises(ValueError, match="to be at least"):
            hlcli.CaptionPredictor(model, **options)  # type: ignore[arg-type]


def test_text_names_a_file_of_thresholds(loaded: hlcli.LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("thr.json").write_text(json.dumps({"coarse": 0.2, "middle": 0.3, "fine": 0.4}))
    assert hlcli.Predictor(loaded, thresholds="thr.json").thresholds == (0.2, 0.3, 0.4)
    assert hlcli.evaluate(loaded, thresholds="thr.json").metrics.thresholds == (0.2, 0.3, 0.4)
    assert hlcli.Predictor(loaded, thresholds="0.25").thresholds == (0.25,) * 3
    assert hlcli.evaluate(loaded, thresholds=[0.2, 0.3, 0.4]).metrics.thresholds == (0.2, 0.3, 0.4)


def test_predictors_and_exports_choose_the_same_thresholds(
    loaded: hlcli.LoadedModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger("hlcli"), "propagate", True)
    untuned = loaded._replace(recipe=loaded.recipe.changed(["eval.threshold=val"]))
    for model, expected in (
        (untuned, (0.5, 0.5, 0.5)),
        (untuned._replace(thresholds=(0.1, 0.2, 0.3)), (0.1, 0.2, 0.3)),
    ):
        exported = tuple(level["threshold"] for level in describe_labels(model, any_size=False)["levels"])
        assert exported == hlcli.Predictor(model).thresholds == expected
    assert caplog.text.count("No thresholds were tuned for this model: 0.5 is taken") == 2


def test_streamed_and_sliced_predictions_know_their_labels(loaded: hlcli.LoadedModel):
    predictor = hlcli.Predictor(loaded)
    found = predictor.predict([IMAGE, 255 - IMAGE, IMAGE])
    streamed = [row for row in predictor.stream([IMAGE, 255 - IMAGE, IMAGE]) if isinstance(row, hlcli.Prediction)]
    assert hlcli.Predictions(streamed).top(2) == found.top(2) == [row.top(2) for row in streamed]
    assert isinstance(found[:2], hlcli.Predictions)
    assert found[:2].top(1) == found.top(1)[:2]
    assert [name for name, _ in found[1].top(99)] != list(loaded.labels.label_names)
    assert {name for name, _ in found[1].top(99)} == set(loaded.labels.label_names)
