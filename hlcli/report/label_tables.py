"""Numbers of a report on labels: the table of labels, their tree, which are taken for which, curves and scenes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hlcli.data.labels import LabelSpace
from hlcli.metrics.calibration import expected_calibration_error, reliability
from hlcli.metrics.confusion import swapped_labels
from hlcli.metrics.curves import precision_recall_curves
from hlcli.metrics.multilabel import f1_curve
from hlcli.metrics.results import LabelRow
from hlcli.metrics.summary import Measured
from hlcli.plain_text import counted
from hlcli.report.charts import Chart, Line, line_chart

_RECALLS = np.linspace(0, 1, 41).tolist()
_SWEEP = np.linspace(0.02, 0.98, 49).tolist()
_BINS = 15
_SHOWN_CURVES = 3
_MOST_SWAPS = 20
_WORST_LABELS = 10


class _LabelLine(NamedTuple):
    """A row of the table of labels; `train` is its number of training images, None where nobody knows."""

    row: LabelRow
    train: int | None


class Node(NamedTuple):
    """A label of the tree with those below it."""

    row: LabelRow
    children: Sequence[Node]


class _Swap(NamedTuple):
    """A label that was missed where another one was predicted falsely, and in how many images."""

    missed: str
    false: str
    images: int
    share: float  # of the images in which the first one was missed


def label_lines(
    rows: Sequence[LabelRow], levels: Sequence[Measured], train: Sequence[Sequence[int]] | None
) -> list[_LabelLine]:
    """Finest level first, as people look for these labels most."""
    lines: list[list[_LabelLine]] = []
    start = 0
    for depth, measured in enumerate(levels):
        own = rows[start : start + len(measured.level)]
        counts = [None] * len(own) if train is None else train[depth]
        lines.append([_LabelLine(row, count) for row, count in zip(own, counts, strict=True)])
        start += len(own)
    return [line for level in reversed(lines) for line in level]


def label_tree(labels: LabelSpace, rows: Sequence[LabelRow]) -> list[Node]:
    """The coarsest labels with everything below them; empty where there is one level."""
    if len(labels.levels) == 1:
        return []
    starts = np.cumsum([0, *labels.level_sizes]).tolist()
    nodes = [Node(row, []) for row in rows[starts[-2] :]]
    for depth in range(len(labels.levels) - 2, -1, -1):
        members: list[list[Node]] = [[] for _ in labels.levels[depth].label_names]
        for node, parent in zip(nodes, labels.parents[depth], strict=True):
            members[parent].append(node)
        own = rows[starts[depth] : starts[depth + 1]]
        nodes = [Node(row, below) for row, below in zip(own, members, strict=True)]
    return nodes


def frequent_swaps(measured: Measured) -> list[_Swap]:
    """The pairs of labels that most images confuse, most frequent first."""
    counts = swapped_labels(measured.predictions, measured.targets)
    missed = (measured.targets & ~measured.predictions).sum(axis=0)
    names = measured.level.label_names
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_SWAPS]
    pairs = zip(*(axis.tolist() for axis in np.unravel_index(order, counts.shape)), strict=True)
    return [
        _Swap(names[i], names[j], int(counts[i, j]), float(counts[i, j] / missed[i])) for i, j in pairs if counts[i, j]
    ]


def precision_recall_chart(levels: Sequence[Measured]) -> tuple[Chart, dict[str, Any]]:
    """All decisions of each level as one curve, and those of some labels; and the curves of all for the script."""
    lines = [
        Line(f"{measured.level.name}, all labels", _RECALLS, _pooled_curve(measured), number)
        for number, measured in enumerate(reversed(levels))
    ]
    fine = levels[-1]
    curves = precision_recall_curves(fine.scores, fine.targets, _RECALLS, ignore=fine.ignore)  # [L, R]
    known = np.flatnonzero(~np.isnan(curves[:, 0]))
    ranked = known[np.argsort(-fine.average_precision[known], kind="stable")].tolist()
    places = sorted({round(place) for place in np.linspace(0, len(ranked) - 1, min(_SHOWN_CURVES, len(ranked)))})
    chosen = [ranked[place] for place in places]
    first = len(lines)
    data = {
        "names": [fine.level.label_names[label] for label in known],
        "curves": [np.rint(1000 * curves[label]).astype(int).tolist() for label in known],
        "chosen": [int(np.searchsorted(known, label)) for label in chosen],
        "first": first,
    }
    lines += [
        Line(fine.level.label_names[label], _RECALLS, curves[label].tolist(), first + number)
        for number, label in enumerate(chosen)
    ]
    chart = line_chart(
        "Precision at every recall", lines, x_name="recall", x_range=(0, 1), y_range=(0, 1), identity="pr"
    )
    return chart, data


def _pooled_curve(measured: Measured) -> list[float]:
    """All decisions of a level as one ranking."""
    ignore = None if measured.ignore is None else measured.ignore.reshape(-1, 1)
    scores, targets = measured.scores.reshape(-1, 1), measured.targets.reshape(-1, 1)
    return precision_recall_curves(scores, targets, _RECALLS, ignore=ignore)[0].tolist()


def threshold_charts(levels: Sequence[Measured]) -> list[Chart]:
    """F1 at every threshold, finest level first; a line where the threshold stands, if all labels have the same."""
    charts = []
    for measured in reversed(levels):
        curve = f1_curve(
            measured.scores, measured.targets, _SWEEP, ignore=measured.ignore, inclusive=measured.options.at_threshold
        )
        means = {"micro": curve.micro, "macro": curve.macro, "samples": curve.samples}
        lines = [Line(name, _SWEEP, values.tolist(), number) for number, (name, values) in enumerate(means.items())]
        mark = None if math.isnan(measured.threshold) else (measured.threshold, f"threshold {measured.threshold:.3g}")
        charts.append(
            line_chart(
                f"F1 of level {measured.level.name}", lines, x_name="threshold", x_range=(0, 1), y_range=(0, 1),
                mark=mark,
            )
        )  # fmt: skip
    return charts


def reliability_charts(levels: Sequence[Measured]) -> list[Chart]:
    """Share of true labels at every score, finest level first; bars show how many scores there are."""
    charts = []
    for measured in reversed(levels):
        bins = reliability(measured.scores, measured.targets, bins=_BINS, ignore=measured.ignore)
        error = expected_calibration_error(measured.scores, measured.targets, bins=_BINS, ignore=measured.ignore)
        known = [row for row in bins if row.count]
        most = np.log1p(max(row.count for row in known)) if known else 1.0
        points = Line("share that is true", [r.mean_score for r in known], [r.fraction_positive for r in known])
        charts.append(
            line_chart(
                f"Level {measured.level.name}: ECE {error:.3f}", [points], x_name="score", x_range=(0, 1),
                y_range=(0, 1), has_diagonal=True,
                dots=[
                    (r.mean_score, r.fraction_positive, 0,
                     f"{r.count:,} scores, mean {r.mean_score:.2f}: {r.fraction_positive:.0%} true")
                    for r in known
                ],
                bars=[(row.low, row.high, float(0.25 * np.log1p(row.count) / most)) for row in known],
                bars_name="how many scores (logarithm)",
            )
        )  # fmt: skip
    return charts


def remarks(rows: Sequence[LabelRow], levels: Sequence[Measured]) -> dict[str, list[str]]:
    """What failed or is missing: sentence with their number → names of the labels it is about, at least one."""
    fine = levels[-1]
    own = rows[len(rows) - len(fine.level) :]
    predicted: list[bool] = np.asarray(fine.predictions.any(axis=0)).tolist()
    seen = sorted((row for row in own if row.positives), key=lambda row: (row.F1, row.AP))
    unknown = "no image in this split, so nothing is known of"
    worst = "the lowest F1 of those that are there, of equal ones the lowest AP"
    found: Sequence[tuple[str, str, list[str]]] = [
        (f"label has {unknown} it", f"labels have {unknown} them", [r.name for r in own if not r.positives]),
        ("label is never predicted", "labels are never predicted", [
            row.name for row, is_used in zip(own, predicted, strict=True) if not is_used
        ]),
        ("label is predicted, but never where it is true", "labels are predicted, but never where they are true", [
            r.name for r, is_used in zip(own, predicted, strict=True) if is_used and r.positives and r.recall == 0
        ]),
        (f"label has {worst}", f"labels have {worst}", [r.name for r in seen[: min(_WORST_LABELS, len(seen) // 4)]]),
    ]  # fmt: skip
    return {counted(len(names), one, many): names for one, many, names in found if names}
