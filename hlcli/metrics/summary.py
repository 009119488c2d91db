"""Everything that is measured in one evaluation, under the names that logs, tables and recipes use.

A metric is a function and its line in one of two tables: `PER_LEVEL` or `OVER_LEVELS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hlcli.metrics import multilabel
from hlcli.metrics.arguments import Flags, Floats, as_flags, as_scores
from hlcli.metrics.hierarchy import consistent_scores, hierarchical_f1, lift_ignored, orphan_share
from hlcli.metrics.multilabel import EmptyLabels, Interpolation, LevelThreshold
from hlcli.metrics.results import LabelRow, Metrics, metric_name
from hlcli.metrics.scenes import scene_entropy

if TYPE_CHECKING:
    from hlcli.data.labels import LabelSpace, Level

_TOP_K = 3


class MetricOptions(NamedTuple):
    """Where papers differ in what a metric is.

    Args:
        average_precision: which definition.
        empty_labels: what average precision does with labels without positives.
        consistent: first lower the scores of children that are above their parent.
        undefined_as_one: precision of a label that is never predicted, and recall of one without positives: 1
            instead of 0, in its row and in CP, CR and CF1.
        at_threshold: a score that equals the threshold counts as predicted, in tuning too.
    """

    average_precision: Interpolation = "interpolated"
    empty_labels: EmptyLabels = "skip"
    consistent: bool = False
    undefined_as_one: bool = False
    at_threshold: bool = False


class Measured(NamedTuple):
    """One level: what metrics are made of. N images, L labels of the level."""

    level: Level
    scores: Floats  # [N, L]
    targets: Flags  # [N, L], without ignored ones
    predictions: Flags  # [N, L], without ignored ones
    ignore: Flags | None  # [N, L]
    thresholds: tuple[float, ...]  # [L]
    average_precision: Floats  # [L]
    f1: multilabel.F1
    options: MetricOptions

    @property
    def threshold(self) -> float:
        """The threshold of all labels; NaN where they have different ones."""
        return self.thresholds[0] if len(set(self.thresholds)) == 1 else float("nan")


class _Whole(NamedTuple):
    """All levels together."""

    levels: Sequence[Measured]  # coarse → fine
    labels: LabelSpace
    scene_probs: ArrayLike | None  # [N, S]


def _mean_average_precision(level: Measured) -> dict[str, float]:
    return {"mAP": multilabel.mean_average_precision(level.average_precision, level.options.empty_labels)}


def _f1_means(level: Measured) -> dict[str, float]:
    return {"F1_micro": level.f1.micro, "F1_macro": level.f1.macro, "F1_samples": level.f1.samples}


def _precision_recall(level: Measured) -> dict[str, float]:
    undefined = float(level.options.undefined_as_one)
    return multilabel.precision_recall(level.predictions, level.targets, undefined=undefined)._asdict()


def _at_top_k(level: Measured) -> dict[str, float]:
    if len(level.level) <= _TOP_K:
        return {}
    top = level._replace(predictions=multilabel.top_k_predictions(level.scores, _TOP_K) & level.predictions)
    return {f"{name}_top{_TOP_K}": value for name, value in _precision_recall(top).items()}


def _threshold(level: Measured) -> dict[str, float]:
    return {"threshold": level.threshold}


def _tree(whole: _Whole) -> dict[str, float]:
    if len(whole.levels) == 1:
        return {}
    predictions = [level.predictions for level in whole.levels]
    tree = hierarchical_f1(predictions, [level.targets for level in whole.levels], whole.labels.parents)
    numbers = {f"hierarchy/{name}": value for name, value in tree._asdict().items()}
    return numbers | {"hierarchy/orphans": orphan_share(predictions, whole.labels.parents)}


def _subsets(whole: _Whole) -> dict[str, float]:
    means = multilabel.subset_means(whole.levels[-1].f1.per_label.tolist(), whole.labels.subsets)
    return {f"subset/{name}": value for name, value in means.items()}


def _scenes(whole: _Whole) -> dict[str, float]:
    return {} if whole.scene_probs is None else {"scene/entropy": scene_entropy(whole.scene_probs)}


PER_LEVEL: tuple[Callable[[Measured], Mapping[str, float]], ...] = (
    _mean_average_precision,
    _f1_means,
    _precision_recall,
    _at_top_k,
    _threshold,
)
"""What is measured on every level, in the order of tables; the finest level has the plain names."""

OVER_LEVELS: tuple[Callable[[_Whole], Mapping[str, float]], ...] = (_tree, _subsets, _scenes)
"""What is measured once, of all levels or of the finest alone; names say what they concern: `hierarchy/F1`."""


def summarise(
    level_scores: Sequence[ArrayLike],
    level_targets: Sequence[ArrayLike],
    labels: LabelSpace,
    options: MetricOptions | None = None,
    *,
    thresholds: Sequence[LevelThreshold] | None = None,
    ignore: ArrayLike | None = None,
    scene_probs: ArrayLike | None = None,
) -> Metrics:
    """Measure everything.

    Args:
        level_scores: coarse → fine, [N, L_level] in 0..1.
        level_targets: the same shapes, 0 or 1.
        labels: the label space: names, tree, subsets.
        options: which definitions.
        thresholds: coarse → fine, a number per level or one per label; None tunes each level's on these very scores.
        ignore: [N, L] of the finest level, 1 where an image is left out for a label; a parent is left out
            where one of its children is and none is true.
        scene_probs: [N, S], adds `scene/entropy`.
    """
    options = options or MetricOptions()
    levels = measure_levels(level_scores, level_targets, labels, options, thresholds=thresholds, ignore=ignore)
    rows = tuple(row for level in levels for row in _label_rows(level))
    return Metrics(
        numbers=_name_all(_Whole(levels, labels, scene_probs)),
        labels=rows,
        levels=tuple(level.name for level in labels.levels),
        num_images=len(levels[0].scores),
        empty_labels=sum(row.positives == 0 for row in rows),
        empty_policy=options.empty_labels,
        label_thresholds={level.level.name: level.thresholds for level in levels if math.isnan(level.threshold)},
    )


def metric_names(labels: LabelSpace, *, tells_scenes: bool) -> list[str]:
    """Names of all that `summarise` measures of these labels, in its order, known before anything is measured.

    Args:
        labels: the label space.
        tells_scenes: whether there will be `scene_probs`.
    """
    empty = [np.zeros((1, size)) for size in labels.level_sizes]
    scenes = np.ones((1, 1)) if tells_scenes else None
    return list(summarise(empty, empty, labels, thresholds=[0.5] * len(empty), scene_probs=scenes))


def measure_levels(
    level_scores: Sequence[ArrayLike],
    level_targets: Sequence[ArrayLike],
    labels: LabelSpace,
    options: MetricOptions,
    *,
    thresholds: Sequence[LevelThreshold] | None = None,
    ignore: ArrayLike | None = None,
) -> list[Measured]:
    """What `summarise` makes metrics of, coarse → fine; arguments as there."""
    scores, targets = _as_levels(level_scores, level_targets, labels)
    if thresholds is not None and len(thresholds) != len(scores):
        raise ValueError(f"Expected argument `thresholds` to hold {len(scores)} numbers, but got {len(thresholds)}")
    if options.consistent:
        scores = consistent_scores(scores, labels.parents)
    ignored: Sequence[Flags | None] = [None] * len(scores)
    if ignore is not None:
        ignored = lift_ignored(targets[-1], as_flags(ignore, "ignore", scores[-1].shape), labels.parents)
    chosen = [None] * len(scores) if thresholds is None else thresholds
    return [_measure(*level, options) for level in zip(labels.levels, scores, targets, chosen, ignored, strict=True)]


def _measure(
    level: Level,
    scores: Floats,
    targets: Flags,
    threshold: LevelThreshold | None,
    ignore: Flags | None,
    options: MetricOptions,
) -> Measured:
    """What all metrics of a level are made of; no threshold: the one that is best for these scores."""
    inclusive = options.at_threshold
    if threshold is None:
        threshold = multilabel.tune_threshold(scores, targets, ignore=ignore, inclusive=inclusive)
    counted = np.True_ if ignore is None else ~ignore
    targets = targets & counted
    predictions = multilabel.above_threshold(scores, threshold, inclusive=inclusive) & counted
    ap = multilabel.average_precision(
        scores, targets, ignore=ignore, interpolation=options.average_precision, empty=options.empty_labels
    )
    f1 = multilabel.f1_scores(predictions, targets)
    each = threshold if isinstance(threshold, tuple) else (float(threshold),) * len(level)
    return Measured(level, scores, targets, predictions, ignore, each, ap, f1, options)


def _label_rows(measured: Measured) -> list[LabelRow]:
    """One row per label of a level."""
    precision, recall = multilabel.label_precision_recall(
        measured.predictions, measured.targets, undefined=float(measured.options.undefined_as_one)
    )
    columns = (measured.targets.sum(axis=0), measured.average_precision, measured.f1.per_label, precision, recall)
    values = (*(column.tolist() for column in columns), measured.thresholds)
    return [
        LabelRow(measured.level.name, name, *row)
        for name, *row in zip(measured.level.label_names, *values, strict=True)
    ]


def _name_all(whole: _Whole) -> dict[str, float]:
    """All numbers under their full names: finest level, levels above from the finest up, then what concerns all."""
    names = [level.name for level in whole.labels.levels]
    numbers = {
        metric_name(name, metric, names): value
        for name, level in zip(reversed(names), reversed(whole.levels), strict=True)
        for measure in PER_LEVEL
        for metric, value in measure(level).items()
    }
    for measure_all in OVER_LEVELS:
        numbers |= measure_all(whole)
    return numbers


def _as_levels(
    level_scores: Sequence[ArrayLike], level_targets: Sequence[ArrayLike], labels: LabelSpace
) -> tuple[list[Floats], list[Flags]]:
    """Checked scores and targets of all levels."""
    sizes = labels.level_sizes
    if not len(level_scores) == len(level_targets) == len(sizes):
        raise ValueError(
            f"Expected scores and targets of {len(sizes)} levels, but got {len(level_scores)} and {len(level_targets)}"
        )
    scores = [as_scores(level, f"level_scores[{depth}]") for depth, level in enumerate(level_scores)]
    for depth, (level, size) in enumerate(zip(scores, sizes, strict=True)):
        if level.shape != (len(scores[0]), size):
            raise ValueError(
                f"Expected `level_scores[{depth}]` to have shape {[len(scores[0]), size]}, but got {list(level.shape)}"
            )
    targets = [
        as_flags(level, f"level_targets[{depth}]", scores[depth].shape) for depth, level in enumerate(level_targets)
    ]
    return scores, targets
