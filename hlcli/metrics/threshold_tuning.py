"""Thresholds with the highest F1: one for all labels of a level, or one per label.

Per label every place between two scores is tried. F1_macro is the mean of the labels' F1, so each label is tuned by
itself. F1_micro is a fraction of sums over labels; Dinkelbach's method ("On nonlinear fractional programming", 1967)
finds its maximum: for a guess F each label takes the threshold with the largest 2·TP − F·predicted, which gives the
next guess, until it stays.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hlcli.metrics.arguments import Flags, Floats, check_choice, without_ignored
from hlcli.metrics.multilabel import f1_curve
from hlcli.metrics.ranking import descending_order

TunedMetric = Literal["F1_micro", "F1_macro", "F1_samples"]

_GRID = tuple(np.linspace(0.005, 0.995, 199).tolist())


def tune_shared_threshold(
    scores: ArrayLike,
    targets: ArrayLike,
    *,
    by: TunedMetric = "F1_macro",
    ignore: ArrayLike | None = None,
    inclusive: bool = False,
) -> float:
    """The threshold of 0.005, 0.01, …, 0.995 that is best for all labels together; the first of several.

    Args:
        scores: [N, L] in 0..1.
        targets: [N, L], 0 or 1.
        by: which F1.
        ignore: [N, L], 1 where an image is left out for a label.
        inclusive: a score that equals the threshold is predicted too.
    """
    check_choice("by", by, TunedMetric)
    curve = f1_curve(scores, targets, _GRID, ignore=ignore, inclusive=inclusive)
    return _GRID[int(getattr(curve, by.removeprefix("F1_")).argmax())]


def tune_label_thresholds(
    scores: ArrayLike,
    targets: ArrayLike,
    shared: float,
    *,
    by: Literal["F1_micro", "F1_macro"] = "F1_macro",
    ignore: ArrayLike | None = None,
    min_examples: int = 10,
) -> tuple[float, ...]:
    """The best threshold of every label.

    Args:
        scores: [N, L] in 0..1.
        targets: [N, L], 0 or 1.
        shared: the threshold of labels with fewer than `min_examples` positives.
        by: which F1.
        ignore: [N, L], 1 where an image is left out for a label.
        min_examples: so few positives say too little.

    Raises:
        ValueError: for another metric.
    """
    if by not in ("F1_micro", "F1_macro"):
        raise ValueError(f"Expected argument `by` to be F1_micro or F1_macro, but got {by!r}")
    checked, flags = without_ignored(scores, targets, ignore)
    curves = [_cuts(checked[:, label], flags[:, label], shared) for label in range(checked.shape[1])]
    curves = [cuts.fixed() if cuts.positives < min_examples else cuts for cuts in curves]
    chosen = [int(np.argmax(2 * cuts.hits / np.maximum(1, cuts.predicted + cuts.positives))) for cuts in curves]
    while by == "F1_micro":
        hits, predicted, positives = (
            sum(int(numbers) for numbers in column)
            for column in zip(
                *(
                    (cuts.hits[place], cuts.predicted[place], cuts.positives)
                    for cuts, place in zip(curves, chosen, strict=True)
                ),
                strict=True,
            )
        )
        guess = 2 * hits / max(1, predicted + positives)
        better = [int(np.argmax(2 * cuts.hits - guess * cuts.predicted)) for cuts in curves]
        if better == chosen or guess == 0:
            break
        chosen = better
    return tuple(float(cuts.thresholds[place]) for cuts, place in zip(curves, chosen, strict=True))


class _Cuts(NamedTuple):
    """Thresholds [T] of one label, the shared one first, then from high to low; how many images each predicts, and how
    many of these are right."""

    thresholds: NDArray[np.float64]
    predicted: NDArray[np.int64]
    hits: NDArray[np.int64]
    positives: int

    def fixed(self) -> _Cuts:
        """The shared threshold alone."""
        return _Cuts(self.thresholds[:1], self.predicted[:1], self.hits[:1], self.positives)


def _cuts(scores: Floats, targets: Flags, shared: float) -> _Cuts:
    exact = scores.astype(np.float64)
    order = descending_order(exact)
    order = order[np.isfinite(exact[order])]  # ignored images come last, with scores below all
    ranked = np.concatenate([[1.0], exact[order], [0.0]])  # with what is above all images and below
    hits = np.concatenate([[0], np.cumsum(targets[order])])
    above = np.flatnonzero(ranked[1:] < ranked[:-1])  # number of images above each gap
    middles = (ranked[above] + ranked[above + 1]) / 2
    middles = np.where(middles < ranked[above], middles, ranked[above + 1])  # neighbours have nothing between them
    above, middles = above[(middles > 0) & (middles < 1)], middles[(middles > 0) & (middles < 1)]
    by_shared = exact > shared
    return _Cuts(
        np.concatenate([[shared], middles]),
        np.concatenate([[np.count_nonzero(by_shared)], above]),
        np.concatenate([[np.count_nonzero(by_shared & targets)], hits[above]]),
        int(np.count_nonzero(targets)),
    )
