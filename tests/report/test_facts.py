"""Charts of a run that reports of labels and of captions share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_recipe

from hlcli.report.charts import Chart, line_chart
from hlcli.report.facts import training_facts
from hlcli.runs import Run

_VALUES = {"loss": 2.0, "mAP": 0.5, "coarse/mAP": 0.6, "threshold": 0.5, "coarse/threshold": 0.5}


@pytest.fixture
def charts(tmp_path: Path) -> dict[str, Chart]:
    """By title, those of a run of three steps, measured on two levels after epochs 2 and 4."""
    run = Run(tmp_path)
    for step in (1, 2, 3):
        metrics = {"loss": 3.0 / step, "bce": 3.0 / step, "lr": 0.1}
        run.log_event({"event": "step", "epoch": 1, "step": step, "split": "train", "weights": "regular",
                       "metrics": metrics})  # fmt: skip
    for epoch in (2, 4):
        for weights in ("regular", "ema"):
            run.log_event({"event": "evaluation", "epoch": epoch, "step": epoch, "split": "val", "weights": weights,
                           "metrics": _VALUES})  # fmt: skip
    found = training_facts(tmp_path, tiny_recipe())
    assert found is not None
    return {chart.title: chart for chart in found.charts}


def test_a_metric_names_its_levels_and_the_loss_none(charts: dict[str, Chart]):
    names = [line["name"] for line in charts["mAP on val"].lines]
    assert names == ["fine regular", "fine ema", "coarse regular", "coarse ema"]
    assert [line["name"] for line in charts["loss on val"].lines] == ["regular", "ema"]
    colours = {line["colour"] for line in charts["mAP on val"].lines}
    assert not colours & {line["colour"] for line in charts["loss on val"].lines}


def test_steps_and_epochs_are_whole_numbers(charts: dict[str, Chart]):
    for title, expected in (("Training loss", ["1", "2", "3"]), ("mAP on val", ["2", "3", "4"])):
        assert [text for _, text in charts[title].x_ticks] == expected


def test_what_was_counted_once_has_one_tick():
    bars = [(3.5, 4.5, 1.0)]
    chart = line_chart("words", [], x_name="words", x_range=(3.5, 4.5), y_range=(0, 1), bars=bars, counts_x=True)
    assert [text for _, text in chart.x_ticks] == ["4"]
