"""The numbers that a report on labels draws, against those of the evaluation and against cases counted by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from report_pages import Page, made_report
from tiny_label_models import tiny_label_model

from hlcli.data.labels import LabelSpace
from hlcli.evaluation.labels import Evaluation, measured_levels
from hlcli.metrics.bootstrap import bootstrap
from hlcli.metrics.resampled import level_measure
from hlcli.metrics.results import LabelRow
from hlcli.metrics.summary import Measured, MetricOptions, measure_levels
from hlcli.report.charts import Chart
from hlcli.report.label_images import choose_rows
from hlcli.report.label_tables import (
    frequent_swaps,
    precision_recall_chart,
    reliability_charts,
    remarks,
    threshold_charts,
)

TREE = LabelSpace.from_tree({"animals": ["cat", "dog"], "things": ["car", "tower", "lamp"]})
THRESHOLDS = (0.3, 0.85, 0.4, 0.8, 0.5)
"""Some so low that false labels pass, some so high that true ones do not."""
TARGETS = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 1, 1]], dtype=bool)
SCORES = np.array([[0.9, 0.3, 0.2], [0.8, 0.1, 0.3], [0.7, 0.6, 0.9], [0.1, 0.2, 0.8]])
"""One label that is ranked as it should be, one in part, one half wrong; four images."""


def measured(scores: np.ndarray = SCORES, targets: np.ndarray = TARGETS) -> Measured:
    """One level of labels a, b and c at a threshold of 0.44."""
    space = LabelSpace.flat(["a", "b", "c"])
    return measure_levels([scores], [targets], space, MetricOptions(), thresholds=[0.44])[0]


def points(path: str) -> list[tuple[float, float]]:
    """Values of a line of a chart whose axes go from 0 to 1."""
    places = re.findall(r"[ML]([\d.]+) ([\d.]+)", path)
    return [((float(x) - 46) / 360, (240 - float(y)) / 228) for x, y in places]


def heights(chart: Chart, name: str) -> list[float]:
    (line,) = [line for line in chart.lines if line["name"] == name]
    return [y for _, y in points(line["path"])]


def test_curves_of_labels_bear_their_names():
    """a: 1 everywhere. b: 1 up to half of its images, 2/3 behind. c: the first one is false."""
    chart, data = precision_recall_chart([measured()])
    assert data["names"] == ["a", "b", "c"]
    assert [curve[-1] for curve in data["curves"]] == [1000, 667, 667]
    for name, first, last in (("a", 1, 1), ("b", 1, 2 / 3), ("c", 2 / 3, 2 / 3)):
        line = heights(chart, name)
        assert (line[0], line[-1]) == pytest.approx((first, last), abs=0.001)


def test_the_sweep_meets_the_metrics_where_the_threshold_stands():
    level = measured()
    (chart,) = threshold_charts([level])
    assert chart.mark == (204.4, "threshold 0.44")  # 0.44 of the way from 46 to 406
    for name in ("micro", "macro", "samples"):
        assert heights(chart, name)[21] == pytest.approx(getattr(level.f1, name), abs=0.001)
    without = level._replace(thresholds=(0.44, 0.44, 0.4))
    assert threshold_charts([without])[0].mark is None


def test_dots_stand_over_the_mean_score_as_high_as_the_share_that_is_true():
    """Two bins have scores: 0.2 of which one in four is true, and 0.8 of which all are."""
    level = measured(np.array([[0.2, 0.2, 0.8], [0.2, 0.2, 0.8]]), np.array([[1, 0, 1], [0, 0, 1]], dtype=bool))
    (chart,) = reliability_charts([level])
    np.testing.assert_allclose(points(chart.lines[0]["path"]), [(0.2, 0.25), (0.8, 1.0)], atol=0.001)
    assert [dot[:2] for dot in chart.dots] == [(118.0, 183.0), (334.0, 12.0)]
    assert chart.has_diagonal
    assert chart.title.endswith(f"ECE {4 / 6 * 0.05 + 2 / 6 * 0.2:.3f}")
    assert [bar[3] for bar in chart.bars] == [57.0, round(57 * np.log(3) / np.log(5), 1)]  # four scores, and two


def test_pairs_name_the_missed_label_first():
    """Image 0 takes c for a; image 1 too, and b for a; a is missed three times in all."""
    targets = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 1]], dtype=bool)
    scores = np.where([[0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 1, 1]], 0.9, 0.1)
    assert [tuple(swap) for swap in frequent_swaps(measured(scores, targets))] == [
        ("a", "c", 2, pytest.approx(2 / 3)), ("a", "b", 1, pytest.approx(1 / 3)),
    ]  # fmt: skip


def test_best_and_worst_are_told_by_f1_then_by_the_likelihood_of_the_truth():
    """F1 of the images: 1, 1 but less sure, 2/3, 0, and one without a label, which nobody can find labels in."""
    targets = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    scores = np.array([[0.6, 0.4, 0.1], [0.9, 0.1, 0.1], [0.9, 0.9, 0.1], [0.1, 0.1, 0.9], [0.9, 0.9, 0.9]])
    assert choose_rows(measured(scores, targets)) == ([1, 0], [3, 2])


def test_f1_comes_before_likelihood():
    """The first is right and hardly sure, the second surer with one false label."""
    targets = np.array([[1, 0, 0], [1, 0, 0]], dtype=bool)
    scores = np.array([[0.45, 0.43, 0.43], [0.99, 0.45, 0.01]])
    assert choose_rows(measured(scores, targets)) == ([0], [1])


def test_curves_that_are_drawn_at_first_are_found_among_those_of_labels_with_images():
    targets = TARGETS.copy()
    targets[:, 0] = False
    chart, data = precision_recall_chart([measured(targets=targets)])
    assert data["names"] == ["b", "c"]
    assert [data["names"][number] for number in data["chosen"]] == [line["name"] for line in chart.lines[1:]]


def test_the_sweep_predicts_at_the_threshold_where_the_recipe_does():
    scores, targets = np.full((2, 3), 0.5), np.ones((2, 3), dtype=bool)
    for at_threshold in (False, True):
        level = measured(scores, targets)
        level = level._replace(options=level.options._replace(at_threshold=at_threshold))
        assert heights(threshold_charts([level])[0], "micro")[24] == pytest.approx(float(at_threshold), abs=0.001)


def test_what_is_ignored_makes_no_image_better_or_worse():
    """Both have an F1 of 1; the first is surer of all that is known of it."""
    targets = np.array([[1, 0, 0], [1, 0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.1, 0.43], [0.8, 0.2, 0.1]])
    assert choose_rows(measured(scores, targets)) == ([1], [0])
    ignore = np.array([[False, False, True], [False, False, False]])
    assert choose_rows(measured(scores, targets)._replace(ignore=ignore)) == ([0], [1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Page]:
    path = tmp_path_factory.mktemp("pages") / "a.html"
    return made_report(path, TREE, thresholds=[0.4, THRESHOLDS]), Page(path)


def test_rows_of_the_table_are_those_of_the_evaluation(made: tuple[Evaluation, Page]):
    evaluation, page = made
    found = re.findall(r'<tr data-level="(\w+)"><th scope="row">(\w+)</th>(.*?)</tr>', page.source)
    rows = {(row.level, row.name): row for row in evaluation.metrics.labels}
    assert [name for _, name, _ in found] == ["cat", "dog", "car", "tower", "lamp", "animals", "things"]
    for level, name, rest in found:
        row = rows[level, name]
        numbers = [f"{value:.3f}" for value in (row.AP, row.F1, row.precision, row.recall)]
        cells = re.findall(r"<td[^>]*>(.*?)</td>", rest)
        assert [cells[1], *cells[-5:]] == [f"{row.positives}", *numbers, f"{row.threshold:.3g}"]


def test_the_tree_has_labels_below_their_parents_in_the_colour_of_their_f1(made: tuple[Evaluation, Page]):
    evaluation, page = made
    tree = page.source.split('<ul class="tree">')[1].split("</section>")[0]
    badges = re.findall(r'<span class="badge g(\d)">([\d.]+)</span> (\w+)', tree)
    assert [name for *_, name in badges] == ["animals", "cat", "dog", "things", "car", "tower", "lamp"]
    assert [len(re.findall("<li>", part)) for part in tree.split("<details")[1:]] == [3, 3]  # one opens the next part
    f1 = {row.name: row.F1 for row in evaluation.metrics.labels}
    assert badges == [(str(min(7, int(8 * f1[name]))), f"{f1[name]:.3f}", name) for *_, name in badges]


def test_intervals_are_those_of_their_level(made: tuple[Evaluation, Page]):
    evaluation, page = made
    levels = measured_levels(evaluation, tiny_label_model("linear")._replace(labels=TREE))
    expected = bootstrap(level_measure(levels), 30, resamples=40)  # as few as all pages here have
    table = page.source.split("<caption>Metrics of every level</caption>")[1].split("</table>")[0]
    for name in ("mAP", "F1_macro"):
        cells = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', table)
        assert cells
        shown = re.findall(r'(\d\.\d{3}) <span class="interval">(\d\.\d{3})–(\d\.\d{3})', cells[1])
        upper = evaluation.metrics.levels[0]
        assert shown == [tuple(f"{value:.3f}" for value in expected[key]) for key in (name, f"{upper}/{name}")]


def test_what_is_said_of_an_image_is_right_false_or_missed(made: tuple[Evaluation, Page]):
    evaluation, page = made
    names = TREE.levels[-1].label_names
    fine = evaluation.scores.levels[-1]
    cards = re.findall(r"<h3>image (\d+)</h3>\n<p>F1 [\d.]+</p>(.*?)</article>", page.source, flags=re.DOTALL)
    assert len(cards) == 22
    kinds = set()
    for row, card in ((int(row), card) for row, card in cards):
        said = re.findall(r'<li class="(\w+)">.*? (\w+) <span class="faint">([\d.]+)</span>', card)
        expected = {
            (("right" if target else "false") if score > threshold else "missed", name, f"{score:.2f}")
            for name, score, target, threshold in zip(
                names, fine[row], evaluation.targets[row], THRESHOLDS, strict=True
            )
            if target or score > threshold
        }
        assert set(said) == expected
        kinds |= {kind for kind, *_ in said}
    assert kinds == {"right", "false", "missed"}


def test_remarks_count_in_words_and_tell_equal_f1_apart():
    """Eight labels whose F1 is 0: of these the two with the lowest average precision are named."""
    names = [f"label {number}" for number in range(8)]
    targets = np.ones((2, 8), dtype=bool)
    scores = np.full((2, 8), 0.9)
    scores[:, 0] = 0.1
    levels = measure_levels([scores], [targets], LabelSpace.flat(names), MetricOptions(), thresholds=[0.5])
    rows = [LabelRow("fine", name, 2, 0.9 - 0.1 * number, 0.0, 0.0, 0.5, 0.5) for number, name in enumerate(names)]
    found = remarks(rows, levels)
    assert found["1 label is never predicted"] == ["label 0"]
    assert found["2 labels have the lowest F1 of those that are there, of equal ones the lowest AP"] == [
        "label 7", "label 6",
    ]  # fmt: skip


def test_of_labels_without_images_nothing_else_is_said():
    """Label b is true of no image, and predicted: that is no fault of finding it."""
    targets = np.array([[1, 0, 1], [1, 0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.9, 0.1], [0.9, 0.1, 0.9]])
    rows = [
        LabelRow("fine", "a", 2, 1.0, 1.0, 1.0, 1.0, 0.5),
        LabelRow("fine", "b", 0, float("nan"), 0.0, 0.0, 0.0, 0.5),
        LabelRow("fine", "c", 1, 0.5, 0.0, 0.0, 0.0, 0.5),
    ]
    assert remarks(rows, [measured(scores, targets)]) == {
        "1 label has no image in this split, so nothing is known of it": ["b"],
        "1 label is predicted, but never where it is true": ["c"],
    }
