"""All metrics of one evaluation, under the names that logs, tables and recipes use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hlcli.metrics import multilabel
from hlcli.metrics.arguments import Flags, Floats, as_flags, as_scores
from hlcli.metrics.hierarchy import consistent_scores, hierarchical_f1, lift_ignored, orphan_share
from hlcli.metrics.multilabel import EmptyLabels, Interpolation
from hlcli.metrics.scenes import scene_entropy

if TYPE_CHECKING:
    from hlcli.data.labels import LabelSpace, Level

TOP_K = 3
EMPTY_POLICY: Mapping[str, str] = {"skip": "left out of mAP", "zero": "counted as 0 in mAP", "nan": "mAP is n/a"}


class LabelRow(NamedTuple):
    """What was measured for one label; `AP` is NaN where it has no positives and is not counted as 0."""

    level: str
    name: str
    positives: int
    AP: float
    F1: float
    precision: float
    recall: float


@dataclass(frozen=True, eq=False)
class Metrics(Mapping[str, float]):
    """Metrics by name, in a fixed order; prints as a table.

    The finest level has plain names (`mAP`, `F1_macro`, `threshold`), others their level in front (`coarse/mAP`);
    `hierarchy/…` concern all levels, `subset/…` are mean F1 over named groups of fine labels.

    Args:
        numbers: name → value, a fraction in 0..1.
        labels: one row per label, level by level, coarse → fine.
        levels: names of the levels, coarse → fine.
        num_images: number of images that were scored.
        empty_labels: number of labels, over all levels, without a positive image.
        empty_policy: what average precision does with them: `skip`, `zero` or `nan`.
    """

    numbers: Mapping[str, float]
    labels: tuple[LabelRow, ...] = field(default=(), repr=False)
    levels: tuple[str, ...] = ("fine",)
    num_images: int = 0
    empty_labels: int = 0
    empty_policy: EmptyLabels = "skip"

    def __getitem__(self, name: str) -> float:
        return self.numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __str__(self) -> str:
        header = ("", *self.levels)
        rows = [header, *((name, *cells) for name, cells in self.by_level().items())]
        rows += [(name, *[""] * (len(self.levels) - 1), cell) for name, cell in self.others().items()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        ]
        return "\n".join([*(line.rstrip() for line in lines), self.note()])

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The thresholds that were used, coarse → fine; those of one split can be given to the next evaluation."""
        return tuple(self.numbers[metric_name(level, "threshold", self.levels)] for level in self.levels)

    def by_level(self) -> dict[str, tuple[str, ...]]:
        """Plain metric name → its values as text, coarse → fine; empty where a level lacks that metric."""
        plain = [name for name in self.numbers if "/" not in name]
        return {
            name: tuple(
                as_text(self.numbers[full]) if (full := metric_name(level, name, self.levels)) in self.numbers else ""
                for level in self.levels
            )
            for name in plain
        }

    def others(self) -> dict[str, str]:
        """The metrics that belong to no level, as text."""
        above = tuple(f"{level}/" for level in self.levels[:-1])
        return {
            name: as_text(value)
            for name, value in self.numbers.items()
            if "/" in name and not name.startswith(above or " ")
        }

    def note(self) -> str:
        """What was measured: images, and labels without positives with what is done about them."""
        images = f"{self.num_images:,} image{'' if self.num_images == 1 else 's'}"
        if not self.empty_labels:
            return f"{images}; every label has positives."
        return (
            f"{images}; {self.empty_labels} of {len(self.labels)} labels have no positives: "
            f"{EMPTY_POLICY[self.empty_policy]}, F1 counts as 0."
        )

    def to_json(self) -> dict[str, float | None]:
        """Name → number, with None for what is not a number."""
        return {name: None if math.isnan(value) else value for name, value in self.numbers.items()}

    def labels_to_json(self) -> list[dict[str, Any]]:
        """The rows of all labels, with None for what is not a number."""
        return [row._asdict() | {"AP": None if math.isnan(row.AP) else row.AP} for row in self.labels]


def metric_name(level: str, name: str, levels: Sequence[str]) -> str:
    """Name under which a level's metric is kept: plain on the last, finest level."""
    return name if level == levels[-1] else f"{level}/{name}"


def as_text(value: float) -> str:
    """A fraction with four digits, or `n/a`."""
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def summarise(
    level_scores: Sequence[ArrayLike],
    level_targets: Sequence[ArrayLike],
    labels: LabelSpace,
    *,
    thresholds: Sequence[float] | None = None,
    ignore: ArrayLike | None = None,
    average_precision: Interpolation = "interpolated",
    empty_labels: EmptyLabels = "skip",
    consistent: bool = False,
    undefined_as_one: bool = False,
    at_threshold: bool = False,
    scene_probs: ArrayLike | None = None,
) -> Metrics:
    """Measure everything.

    Args:
        level_scores: coarse → fine, [N, L_level] in 0..1.
        level_targets: the same shapes, 0 or 1.
        labels: the label space: names, tree, subsets.
        thresholds: one per level, coarse → fine; None tunes each level's on these very scores.
        ignore: [N, L] of the finest level, 1 where an image is left out for a label; a parent is left out
            where one of its children is and none is true.
        average_precision: which definition.
        empty_labels: what average precision does with labels without positives.
        consistent: first lower the scores of children that are above their parent.
        undefined_as_one: precision of a label that is never predicted, and recall of one without positives: 1
            instead of 0, in its row and in CP, CR and CF1.
        at_threshold: a score that equals the threshold counts as predicted, in tuning too.
        scene_probs: [N, S], adds `scene/entropy`.
    """
    scores, targets = _as_levels(level_scores, level_targets, labels)
    if thresholds is not None and len(thresholds) != len(scores):
        raise ValueError(f"Expected argument `thresholds` to hold {len(scores)} numbers, but got {len(thresholds)}")
    if consistent:
        scores = consistent_scores(scores, labels.parents)
    ignored: Sequence[Flags | None] = [None] * len(scores)
    if ignore is not None:
        ignored = lift_ignored(targets[-1], as_flags(ignore, "ignore", scores[-1].shape), labels.parents)
    measured = [
        _measure(
            level,
            level_scores,
            level_targets,
            threshold=None if thresholds is None else thresholds[depth],
            ignore=ignored[depth],
            interpolation=average_precision,
            empty=empty_labels,
            undefined=float(undefined_as_one),
            inclusive=at_threshold,
        )
        for depth, (level, level_scores, level_targets) in enumerate(zip(labels.levels, scores, targets, strict=True))
    ]
    numbers = _name_all(measured, labels)
    if scene_probs is not None:
        numbers["scene/entropy"] = scene_entropy(scene_probs)
    return Metrics(
        numbers=numbers,
        labels=tuple(row for level in measured for row in level.rows),
        levels=tuple(level.name for level in labels.levels),
        num_images=len(scores[0]),
        empty_labels=sum(row.positives == 0 for level in measured for row in level.rows),
        empty_policy=empty_labels,
    )


class _Measured(NamedTuple):
    """One level's metrics, label rows, predictions and targets (without ignored ones)."""

    numbers: dict[str, float]
    rows: list[LabelRow]
    predictions: Flags
    targets: Flags


def _measure(
    level: Level,
    scores: Floats,
    targets: Flags,
    *,
    threshold: float | None,
    ignore: Flags | None,
    interpolation: Interpolation,
    empty: EmptyLabels,
    undefined: float,
    inclusive: bool,
) -> _Measured:
    """Measure one level."""
    if threshold is None:
        threshold = multilabel.tune_threshold(scores, targets, ignore=ignore, inclusive=inclusive)
    counted = np.True_ if ignore is None else ~ignore
    targets = targets & counted
    predictions = multilabel.above_threshold(scores, threshold, inclusive=inclusive) & counted
    ap = multilabel.average_precision(scores, targets, ignore=ignore, interpolation=interpolation, empty=empty)
    f1 = multilabel.f1_scores(predictions, targets)
    numbers = {
        "mAP": multilabel.mean_average_precision(ap, empty),
        "F1_micro": f1.micro,
        "F1_macro": f1.macro,
        "F1_samples": f1.samples,
        **multilabel.precision_recall(predictions, targets, undefined=undefined)._asdict(),
    }
    if len(level) > TOP_K:
        top = multilabel.top_k_predictions(scores, TOP_K) & predictions
        best = multilabel.precision_recall(top, targets, undefined=undefined)
        numbers |= {f"{name}_top{TOP_K}": value for name, value in best._asdict().items()}
    precision, recall = multilabel.label_precision_recall(predictions, targets, undefined=undefined)
    columns = (targets.sum(axis=0), ap, f1.per_label, precision, recall)
    rows = [
        LabelRow(level.name, name, *row)
        for name, *row in zip(level.label_names, *(column.tolist() for column in columns), strict=True)
    ]
    return _Measured(numbers | {"threshold": float(threshold)}, rows, predictions, targets)


def _name_all(measured: Sequence[_Measured], labels: LabelSpace) -> dict[str, float]:
    """All numbers under their full names: finest level, levels above from the finest up, tree, subsets."""
    names = [level.name for level in labels.levels]
    numbers = {
        metric_name(level, name, names): value
        for level, result in zip(reversed(names), reversed(measured), strict=True)
        for name, value in result.numbers.items()
    }
    if len(measured) > 1:
        predictions = [level.predictions for level in measured]
        tree = hierarchical_f1(predictions, [level.targets for level in measured], labels.parents)
        numbers |= {f"hierarchy/{name}": value for name, value in tree._asdict().items()}
        numbers["hierarchy/orphans"] = orphan_share(predictions, labels.parents)
    per_label = [row.F1 for row in measured[-1].rows]
    return numbers | {f"subset/{k}": v for k, v in multilabel.subset_means(per_label, labels.subsets).items()}


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
