"""Metrics on the terminal."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from hlcli.cli.tables import metrics_report, numbers_table, prediction_table, scores_table
from hlcli.data.labels import LabelSpace
from hlcli.metrics.hierarchy import lift_scores, lift_targets
from hlcli.metrics.results import Metrics
from hlcli.metrics.summary import summarise
from hlcli.prediction.label_rows import PredictedLabel, Prediction, Scene

LONG = "manageable, make plans, and then some more words that no window is wide enough for"
PARENTS = ((0, 0, 1), (0, 0, 1, 2, 2))


def measure() -> Metrics:
    space = LabelSpace.from_parents(
        [["living", "made"], ["pets", "game", "cars"], ["cat", LONG, "[red]deer", "truck", "van"]],
        PARENTS,
        {"easy": (0, 3)},
    )
    rng = np.random.default_rng(0)
    targets = rng.random((30, 5)) < 0.4
    targets[:, 4] = False
    return summarise(lift_scores(rng.random((30, 5)), PARENTS), lift_targets(targets, PARENTS), space)


def show(renderable) -> list[str]:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(renderable)
    return console.file.getvalue().splitlines()


def render(metrics: Metrics, **options) -> list[str]:
    return show(metrics_report(metrics, **options))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]


def test_levels_are_columns_and_metrics_are_rows():
    metrics = measure()
    lines = [cells(line) for line in render(metrics, title="val")]
    assert ["metric", "coarse", "middle", "fine"] in lines
    assert ["F1_macro", *(f"{metrics[f'{level}F1_macro']:.4f}" for level in ("coarse/", "middle/", ""))] in lines
    assert ["CF1_top3", "", "", f"{metrics['CF1_top3']:.4f}"] in lines
    assert ["subset/easy", f"{metrics['subset/easy']:.4f}"] in lines


def test_labels_are_listed_on_request_in_their_order():
    metrics = measure()
    text = "\n".join(render(metrics, per_label=True))
    names = ["living", "made", "pets", "game", "cars", "cat", "manageable", "[red]deer", "truck", "van"]
    assert sorted(names, key=text.index) == names
    assert "truck" not in "\n".join(render(metrics))


def test_numbers_survive_eighty_columns_and_long_names():
    lines = render(measure(), title="[bold]test", per_label=True)
    assert max(map(len, lines)) <= 80
    assert lines[0].strip() == "[bold]test"
    assert ["fine", "van", "0", "n/a", "0.0000", "0.0000", "0.0000"] in [cells(line) for line in lines]
    wrapped = [row[1] for row in map(cells, lines) if len(row) == 7]
    assert LONG in " ".join(wrapped)


def test_policy_for_labels_without_positives_is_stated():
    assert render(measure())[-1] == "30 images; 1 of 10 labels have no positives: left out of mAP, F1 counts as 0."


def test_stored_numbers_give_the_same_tables():
    metrics = measure()
    stored = metrics.to_json() | {"mAP": None}
    lines = show(numbers_table(stored, title="best"))
    fresh = render(metrics, title="best")[:-1]
    assert [line for line in lines if "│ mAP " not in line] == [line for line in fresh if "│ mAP " not in line]
    assert cells(next(line for line in lines if "│ mAP " in line))[-1] == "n/a"
    assert ["mAP", "0.5000"] in [cells(line) for line in show(numbers_table({"mAP": 0.5}))]


def test_a_title_wider_than_its_table_stays_on_one_line():
    title = "Best model: regular weights of epoch 9, on [val]"
    for table in (scores_table({"CIDEr": 0.5}, title=title), numbers_table({"mAP": 0.5}, title=title)):
        assert show(table)[0] == title
    assert "metric" in show(scores_table({"CIDEr": None}))[1]


def test_predictions_are_listed_by_level():
    labels = (
        PredictedLabel("pets", "coarse", 0.9),
        PredictedLabel("[b]cat", "fine", 0.8),
        PredictedLabel("dog", "fine", 0.456),
    )
    found = Prediction("a[1].jpg", labels, ())
    nothing = Prediction("b.jpg", (), ())
    lines = [cells(line) for line in show(prediction_table([found, nothing]))]
    assert ["a[1].jpg", "coarse: pets 0.90"] in lines
    assert ["", "fine: [b]cat 0.80, dog 0.46"] in lines
    assert ["b.jpg", "none above its threshold"] in lines


def test_the_scene_of_an_image_has_a_line_of_its_own():
    found = Prediction("a.jpg", (), (), Scene(4, 0.75, np.array([0.25, 0, 0, 0, 0.75])))
    nothing = Prediction("b.jpg", (), ())
    lines = [cells(line) for line in show(prediction_table([found, nothing]))]
    assert ["", "scene: 4 (0.75)"] in lines
    assert sum("scene" in line for row in lines for line in row) == 1
