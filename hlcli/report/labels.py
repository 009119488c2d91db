"""The report on a model of labels: what was measured of a split, as one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hlcli.data.failures import Failure
from hlcli.data.labels import LabelSpace
from hlcli.data.store import open_records, split_labels
from hlcli.errors import HlcliError
from hlcli.evaluation.labels import Evaluation, check_labels, measured_levels
from hlcli.metrics.bootstrap import Interval, bootstrap
from hlcli.metrics.hierarchy import lift_targets
from hlcli.metrics.resampled import level_measure
from hlcli.metrics.results import metric_name
from hlcli.metrics.summary import Measured
from hlcli.models.folder import LoadedModel
from hlcli.recipe import Recipe
from hlcli.report import label_tables as tables
from hlcli.report.facts import interval_facts, recipe_facts, split_facts, training_facts
from hlcli.report.label_images import choose_rows, make_cards, scene_facts
from hlcli.report.page import write_page

_HEADLINES = ("mAP", "F1_micro", "F1_macro", "F1_samples")
_FEWEST_DRAWS, _MOST_DRAWS, _SCORES_DRAWN = 200, 1000, 400_000_000
"""Resamples for the intervals: as many as usual, fewer where they would take longer than the evaluation."""


class _Level(NamedTuple):
    """A level of the tree, in numbers."""

    name: str
    labels: int
    labels_per_image: float
    rarest: str
    most_frequent: str


def write_label_report(path: Path, evaluation: Evaluation, loaded: LoadedModel) -> list[Failure]:
    """Write the page of a split that was measured.

    Args:
        path: its file.
        evaluation: what `evaluate` gave.
        loaded: the model, under the recipe that it was measured with.

    Returns:
        Images that could not be decoded when they were drawn.

    Raises:
        HlcliError: when the file cannot be written.
    """
    failures: list[Failure] = []
    levels = measured_levels(evaluation, loaded)
    rows, metrics, recipe = evaluation.metrics.labels, evaluation.metrics, loaded.recipe
    draws = min(_MOST_DRAWS, max(_FEWEST_DRAWS, _SCORES_DRAWN // sum(level.scores.size for level in levels)))
    intervals = bootstrap(level_measure(levels), metrics.num_images, resamples=draws)
    train = _train_counts(recipe, loaded.labels)
    chart, curves = tables.precision_recall_chart(levels)
    best, worst = choose_rows(levels[-1])
    content = {
        "title": f"{recipe.model.name} on {recipe.data.title}, {evaluation.split}",
        "folder": None if loaded.folder is None else str(loaded.folder),
        "split": evaluation.split,
        "metrics": metrics,
        "draws": draws,
        "headlines": [(name, metrics[name], interval_facts(intervals, name)) for name in _HEADLINES],
        "levels": [_describe(level) for level in levels],
        "level_rows": _level_rows(evaluation, intervals),
        "other_rows": [(name, float(metrics[name])) for name in metrics.others()],
        "recipe": recipe_facts(loaded),
        "recipe_text": recipe.to_yaml(),
        "splits": split_facts(recipe, evaluation.split),
        "skipped": list(recipe.data.skip),
        "training": training_facts(loaded.folder, recipe),
        "lines": tables.label_lines(rows, levels, train),
        "has_train": train is not None,
        "tree": tables.label_tree(loaded.labels, rows),
        "swaps": tables.frequent_swaps(levels[-1]),
        "pr_chart": chart,
        "threshold_charts": tables.threshold_charts(levels),
        "reliability_charts": tables.reliability_charts(levels),
        "remarks": tables.remarks(rows, levels),
        "silent_images": int((~levels[-1].predictions.any(axis=1)).sum()),
        "bare_images": int((~levels[-1].targets.any(axis=1)).sum()),
        "best": make_cards(evaluation, loaded, levels[-1], best, failures),
        "worst": make_cards(evaluation, loaded, levels[-1], worst, failures),
        "scenes": scene_facts(evaluation, loaded, failures),
        "failures": failures,
        "page_data": {"curves": curves},
    }
    write_page(path, "labels.html", content)
    return failures


def _level_rows(evaluation: Evaluation, intervals: Mapping[str, Interval]) -> list[tuple[str, list[Any]]]:
    """Every metric with its value on each level, finest first, and its interval."""
    metrics = evaluation.metrics
    rows: list[tuple[str, list[Any]]] = []
    for name in metrics.by_level():
        cells: list[Any] = []
        for level in reversed(metrics.levels):
            full = metric_name(level, name, metrics.levels)
            if name == "threshold" and level in metrics.label_thresholds:
                cells.append({"text": "per label"})
            else:
                cells.append({"value": metrics[full], **interval_facts(intervals, full)} if full in metrics else None)
        rows.append((name, cells))
    return rows


def _describe(measured: Measured) -> _Level:
    positives, names = measured.targets.sum(axis=0), measured.level.label_names

    def words(label: np.intp) -> str:
        return f"{names[label]} ({positives[label]:,})"

    return _Level(
        measured.level.name, len(names), float(measured.targets.sum(axis=1).mean()),
        words(positives.argmin()), words(positives.argmax()),
    )  # fmt: skip


def _train_counts(recipe: Recipe, labels: LabelSpace) -> Sequence[Sequence[int]] | None:
    """Training images of every label of every level; None where the data is not here, or has other labels by now."""
    try:
        check_labels(recipe, labels)
        known = split_labels(open_records(recipe.data, "train"))
    except (HlcliError, OSError):
        return None
    targets = np.zeros((len(known), labels.num_labels), dtype=np.bool_)
    for row, (_, present) in enumerate(known):
        targets[row, list(present)] = True
    return [level.sum(axis=0).tolist() for level in lift_targets(targets, labels.parents)]
