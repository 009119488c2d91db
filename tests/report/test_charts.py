"""Lines and numbers of a report's charts, counted by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_recipe

from hlcli.report.charts import Chart, Line, line_chart, thin_out
from hlcli.report.facts import Training, training_facts
from hlcli.runs import Run


def event(kind: str, step: int, weights: str = "regular", **metrics: float) -> dict[str, Any]:
    return {"event": kind, "epoch": step, "step": step, "split": "val", "weights": weights, "metrics": metrics}


def training(folder: Path, *events: dict[str, Any]) -> Training:
    """What a report says of a run with these events."""
    folder.mkdir()
    for one in events:
        Run(folder).log_event(one)
    found = training_facts(folder, tiny_recipe())
    assert found is not None
    return found


def titled(found: Training, title: str) -> Chart:
    return next(chart for chart in found.charts if chart.title == title)


def test_what_is_no_number_parts_a_line():
    line = Line("a", [0, 1, 2, 3], [0, math.nan, 1, 0.5])
    chart = line_chart("a", [line], x_name="x", x_range=(0, 3), y_range=(0, 1))
    assert chart.lines[0]["path"] == "M46 240M286 12L406 126"
    alone = line_chart("a", [Line("a", [0, 1], [math.nan, 0])], x_name="x", x_range=(0, 3), y_range=(0, 1))
    assert alone.lines[0]["path"] == "M152 240h28"


def test_long_lines_become_means_of_neighbours():
    x, y = thin_out(np.arange(480).tolist(), np.tile([0.0, 1.0], 240).tolist())
    assert x == (2 * np.arange(240) + 0.5).tolist()
    assert y == [0.5] * 240
    x, y = thin_out(np.arange(600).tolist(), np.arange(600).tolist())
    assert len(x) == 240
    assert x == y
    assert (min(x), max(x)) == (0.5, 598.0)  # of two values, and of three
    assert thin_out([0, 1], [5, 6]) == ([0, 1], [5, 6])


def test_bars_stand_on_the_lower_edge():
    chart = line_chart("a", [], x_name="x", x_range=(0, 2), y_range=(0, 1), bars=[(0, 1, 0.5), (1, 2, 1.0)])
    assert chart.bars == [(46, 126, 180, 114), (226, 12, 180, 228)]


def test_a_sum_of_one_term_is_drawn_once(tmp_path: Path):
    one = training(tmp_path / "one", event("step", 1, loss=2.0, fine=2.0, lr=0.1), event("step", 2, loss=1.0, fine=1.0))
    assert [line["name"] for line in titled(one, "Training loss").lines] == ["loss"]
    two = training(tmp_path / "two", event("step", 1, loss=3.0, fine=2.0, other=1.0, lr=0.1))
    assert [line["name"] for line in titled(two, "Training loss").lines] == ["loss", "fine", "other"]
    assert titled(two, "Learning rate")


@pytest.mark.parametrize("has_average", [True, False])
def test_colours_tell_levels_and_dashes_weights_that_are_not_averaged(tmp_path: Path, has_average: bool):
    metrics = {"mAP": 0.5, "threshold": 0.5, "coarse/mAP": 0.7, "coarse/threshold": 0.5}
    kinds = ("regular", "ema") if has_average else ("regular",)
    found = training(tmp_path / "run", *(event("evaluation", 1, kind, **metrics) for kind in kinds))
    lines = [(line["name"], line["colour"], line["dashed"]) for line in titled(found, "mAP on val").lines]
    if has_average:
        expected = [("fine regular", 0, True), ("fine ema", 0, False), ("coarse regular", 1, True),
                    ("coarse ema", 1, False)]  # fmt: skip
    else:
        expected = [("fine", 0, False), ("coarse", 1, False)]
    assert lines == expected
    assert found.best == "Best mAP: 0.5000, epoch 1, regular weights."
