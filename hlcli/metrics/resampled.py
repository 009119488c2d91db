"""Metrics of images that are drawn again, with replacement: what `bootstrap` asks for a thousand times.

Everything is counted and sorted once. A draw is a weight per image, how often it was drawn, so that each draw costs a
few sums; the numbers are those of the drawn images, listed in image order. But for one thing: a rare label of which no
image was drawn is left out of means over labels. Counted as 0, as one that has no image in the split itself, it would
make such means smaller in nearly every draw, and their intervals would not hold the value they belong to. (They still
lean low where most labels have a handful of images: a label whose few hits are not drawn has an F1 of 0.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hlcli.metrics.arguments import Flags
from hlcli.metrics.multilabel import Interpolation, harmonic_mean, mean_average_precision, ratio
from hlcli.metrics.ranking import CHUNK_ELEMENTS, descending_order
from hlcli.metrics.results import metric_name
from hlcli.metrics.summary import Measured

_Numbers = NDArray[np.float64]
_Integers = NDArray[np.signedinteger[Any]]


def level_measure(levels: Sequence[Measured]) -> Callable[[np.ndarray], dict[str, float]]:
    """What `bootstrap` measures: mAP, the F1s and precision and recall of every level, under the names of `Metrics`.

    Args:
        levels: coarse → fine, as measured on all images.
    """
    names = [measured.level.name for measured in levels]
    num_images = len(levels[0].scores)
    prepared = [_Level(measured) for measured in levels]

    def measure(rows: np.ndarray) -> dict[str, float]:
        weights = np.bincount(rows, minlength=num_images)
        return {
            metric_name(name, metric, names): value
            for name, level in zip(names, prepared, strict=True)
            for metric, value in level.measure(weights).items()
        }

    return measure


class _Decisions(NamedTuple):
    """The places of a table [N, L] where something holds: image and label of each."""

    images: NDArray[np.intp]
    labels: NDArray[np.intp]

    def per_label(self, weights: _Integers, num_labels: int) -> _Numbers:
        """How many of each label [L], every image counting as often as it was drawn."""
        return np.bincount(self.labels, weights[self.images], num_labels).astype(np.float64)


class _Level:
    """One level, counted and sorted."""

    def __init__(self, measured: Measured) -> None:
        self.options, self.num_labels = measured.options, len(measured.level)
        predictions, targets = measured.predictions, measured.targets
        self.predicted, self.actual, self.hits = (
            _Decisions(*np.nonzero(flags)) for flags in (predictions, targets, predictions & targets)
        )
        sizes = predictions.sum(axis=1) + targets.sum(axis=1)
        self.image_f1 = ratio(2 * (predictions & targets).sum(axis=1), sizes)  # [N]
        self.is_there = targets.any(axis=0)  # [L]
        self.chunks = _rank(measured)

    def measure(self, weights: _Integers) -> Mapping[str, float]:
        """All metrics, with `weights` [N] of the images."""
        undefined = float(self.options.undefined_as_one)
        predicted, actual, hits = (
            places.per_label(weights, self.num_labels) for places in (self.predicted, self.actual, self.hits)
        )
        is_lost = self.is_there & (actual == 0)
        cp, cr = (self._mean(ratio(hits, count, undefined), is_lost) for count in (predicted, actual))
        op, or_ = float(ratio(hits.sum(), predicted.sum())), float(ratio(hits.sum(), actual.sum()))
        return {
            "mAP": self._mean_average_precision(weights, is_lost),
            "F1_micro": float(ratio(2 * hits.sum(), predicted.sum() + actual.sum())),
            "F1_macro": self._mean(ratio(2 * hits, predicted + actual), is_lost),
            "F1_samples": float((weights * self.image_f1).sum() / weights.sum()),
            "CP": cp,
            "CR": cr,
            "CF1": harmonic_mean(cp, cr),
            "OP": op,
            "OR": or_,
            "OF1": harmonic_mean(op, or_),
        }

    def _mean_average_precision(self, weights: _Integers, is_lost: Flags) -> float:
        kind, small = self.options.average_precision, weights.astype(np.int32)
        per_label = np.concatenate([chunk.average_precisions(small, kind) for chunk in self.chunks])
        empty = self.options.empty_labels
        if empty == "skip":
            return mean_average_precision(per_label, empty)
        return self._mean(np.nan_to_num(per_label) if empty == "zero" else per_label, is_lost)

    def _mean(self, values: _Numbers, is_lost: Flags) -> float:
        """Mean over labels [L]; those that are there stand for the lost ones."""
        if not is_lost.any():
            return float(values.mean())
        drawn = values[self.is_there & ~is_lost]
        if not drawn.size:
            return float("nan")
        return float(drawn.mean() * self.is_there.mean() + values[~self.is_there].sum() / len(values))


class _Ranked(NamedTuple):
    """Some labels with their images from the highest to the lowest score.

    Args:
        order: images of each label, [L, N].
        labels: label, counted from 0, of each positive, ascending, [P].
        places: where in its label's order the positive stands, ascending within the label, [P].
        images: which image it is, [P].
    """

    order: NDArray[np.int32]
    labels: NDArray[np.intp]
    places: NDArray[np.intp]
    images: NDArray[np.int32]

    def average_precisions(self, weights: _Integers, interpolation: Interpolation) -> _Numbers:
        """Average precision [L] of the images that were drawn; NaN for a label without positives."""
        num_labels = len(self.order)
        copies = weights[self.images]  # [P]
        totals = np.bincount(self.labels, copies, num_labels).astype(np.int64)  # [L]
        drawn = np.repeat(np.arange(len(copies)), copies)  # a positive that was drawn twice is listed twice: [D]
        last = np.cumsum(np.take(weights, self.order), axis=1, dtype=np.int32)[self.labels, self.places]
        listed = np.arange(1, len(drawn) + 1)
        later_copies = np.cumsum(copies)[drawn] - listed
        labels = self.labels[drawn]
        found = listed - (np.cumsum(totals) - totals)[labels]
        precisions = found / (last[drawn] - later_copies)
        if interpolation != "plain":
            precisions = _envelope(precisions, labels, num_labels)
        if interpolation == "eleven_point":
            return _at_eleven_recalls(precisions, totals)
        return ratio(np.bincount(labels, precisions, num_labels), totals, float("nan"))


def _envelope(precisions: _Numbers, labels: NDArray[np.intp], num_labels: int) -> _Numbers:
    """The highest precision from each positive of a label on. One running maximum serves all labels: each begins two
    higher than the label behind it."""
    lift = 2.0 * (num_labels - labels)
    return np.maximum.accumulate((precisions + lift)[::-1])[::-1] - lift


def _at_eleven_recalls(envelope: _Numbers, totals: _Integers) -> _Numbers:
    """Mean of the envelope at recall 0, 0.1, …, 1 for each label; `totals` [L] positives."""
    result = np.full(len(totals), np.nan)
    ends = np.cumsum(totals)
    for label in np.flatnonzero(totals):
        own = envelope[ends[label] - totals[label] : ends[label]]
        first = np.maximum(1, -(-np.arange(11) * totals[label] // 10))  # smallest k with k / P >= 0, 0.1, …, 1
        result[label] = own[first - 1].mean()
    return result


def _rank(measured: Measured) -> list[_Ranked]:
    """The ranking of every label, a few labels at a time."""
    num_images, num_labels = measured.scores.shape
    step = max(1, CHUNK_ELEMENTS // num_images)
    return [_rank_some(measured, slice(start, start + step)) for start in range(0, num_labels, step)]


def _rank_some(measured: Measured, chunk: slice) -> _Ranked:
    scores = measured.scores[:, chunk].T.astype(np.float64)  # [L, N]
    if measured.ignore is not None:
        scores[measured.ignore[:, chunk].T] = -np.inf
    order = np.stack([descending_order(row) for row in np.ascontiguousarray(scores)]).astype(np.int32)
    targets: Flags = np.take_along_axis(np.ascontiguousarray(measured.targets[:, chunk].T), order, axis=1)
    labels, places = np.nonzero(targets)
    return _Ranked(order, labels, places, order[labels, places])
