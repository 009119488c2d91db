"""Multi-label metrics: average precision, F1, thresholds, precision and recall. Pure functions of NumPy arrays.

Scores and targets are [N, L], one row per image and one column per label; results are fractions in 0..1. A label is
predicted where its score is *above* the threshold. Zero denominators give 0 unless a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hlcli.metrics.arguments import Flags, Floats, as_cut, as_cuts, as_flags, as_scores, check_choice, without_ignored
from hlcli.metrics.ranking import CHUNK_ELEMENTS, rankings

THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.05, 0.95, 19).tolist())
"""The thresholds among which `tune_threshold` chooses."""

Interpolation = Literal["interpolated", "plain", "eleven_point"]
EmptyLabels = Literal["skip", "zero", "nan"]

LevelThreshold = float | tuple[float, ...]
"""The threshold of a level: one number for all labels, or one per label."""

_MAX_UINT8 = 255


class F1(NamedTuple):
    """F1 of boolean predictions: pooled, mean over labels, mean over images, and of each label [L]."""

    micro: float
    macro: float
    samples: float
    per_label: NDArray[np.float64]


class _F1Curve(NamedTuple):
    """F1 at T thresholds: three curves [T] and one per label [T, L]."""

    micro: NDArray[np.float64]
    macro: NDArray[np.float64]
    samples: NDArray[np.float64]
    per_label: NDArray[np.float64]


class _LabelPrecisionRecall(NamedTuple):
    """Precision and recall of each label [L]."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


class PrecisionRecall(NamedTuple):
    """Means over labels (C…) and pooled over all decisions (O…); each F1 is made from the two numbers before it."""

    CP: float
    CR: float
    CF1: float
    OP: float
    OR: float
    OF1: float


def average_precision(
    scores: ArrayLike,
    targets: ArrayLike,
    *,
    ignore: ArrayLike | None = None,
    interpolation: Interpolation = "interpolated",
    empty: EmptyLabels = "skip",
    merge_ties: bool = False,
) -> NDArray[np.float64]:
    """Average precision of each label [L].

    With p_k the precision of the list that ends with the k-th of P positives:
    `plain` is Σ p_k / P; `interpolated` (VOC 2010 and later) replaces p_k by max(p_k, p_k+1, …, p_P);
    `eleven_point` (VOC 2007) averages the interpolated precision at recall 0, 0.1, …, 1.

    Args:
        scores: [N, L] floats.
        targets: [N, L], 0 or 1.
        ignore: [N, L], 1 where an image is left out for a label.
        interpolation: which of the three.
        empty: a label without positives gives NaN, or 0 for `zero`.
        merge_ties: images of equal score enter the list together, as in scikit-learn, so that the order of the
            images does not matter; otherwise they enter it one by one in image order, as in the papers' programs.
    """
    checked, flags = without_ignored(scores, targets, ignore)
    check_choice("interpolation", interpolation, Interpolation)
    check_choice("empty", empty, EmptyLabels)
    result = np.full(checked.shape[1], 0.0 if empty == "zero" else np.nan)
    for label, ranking in enumerate(rankings(checked, flags)):
        precisions = ranking.precisions(merge_ties=merge_ties)  # [P]
        if len(precisions):
            result[label] = _area(precisions, interpolation)
    return result


def _area(precisions: NDArray[np.float64], interpolation: Interpolation) -> float:
    if interpolation == "plain":
        return float(precisions.mean())
    envelope = np.maximum.accumulate(precisions[::-1])[::-1]
    if interpolation == "interpolated":
        return float(envelope.mean())
    first = -(-np.arange(11) * len(envelope) // 10)  # smallest k with k / P >= 0, 0.1, …, 1
    return float(envelope[np.maximum(first, 1) - 1].mean())


def mean_average_precision(per_label: ArrayLike, empty: EmptyLabels = "skip") -> float:
    """Mean of the average precisions [L], where NaN marks a label without positives.

    Args:
        per_label: what `average_precision` gives.
        empty: such a label is left out (`skip`), counts as 0 (`zero`) or makes the mean NaN (`nan`).
    """
    check_choice("empty", empty, EmptyLabels)
    values = np.asarray(per_label, dtype=np.float64)
    if empty == "zero":
        values = np.nan_to_num(values, nan=0.0)
    elif empty == "skip":
        values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def above_threshold(scores: ArrayLike, threshold: LevelThreshold, *, inclusive: bool = False) -> Flags:
    """Predictions [N, L]: which scores are above the threshold, compared exactly whatever their type.

    The threshold may be one per label, [L]. `inclusive` also takes scores that equal it, as SALGL and SGRE do.
    """
    checked = as_scores(scores)
    if not isinstance(threshold, tuple):
        return checked > as_cut(threshold, checked.dtype, inclusive=inclusive)
    if len(threshold) != checked.shape[1]:
        raise ValueError(f"Expected argument `threshold` to hold {checked.shape[1]} numbers, but got {len(threshold)}")
    return checked > as_cuts(threshold, checked.dtype, inclusive=inclusive)


def top_k_predictions(scores: ArrayLike, k: int, *, threshold: float | None = None) -> Flags:
    """Predictions [N, L]: the k highest scores of each image, of equal ones the first labels.

    Args:
        scores: [N, L].
        k: how many labels an image keeps at most; all of them where it has fewer.
        threshold: also required to be exceeded, unless None.
    """
    if k < 1:
        raise ValueError(f"Expected argument `k` to be at least 1, but got {k}")
    checked = as_scores(scores)
    kept = np.zeros(checked.shape, dtype=np.bool_)
    remaining = checked.copy()
    for _ in range(min(k, checked.shape[1])):
        best = remaining.argmax(axis=1)[:, None]  # [N, 1]
        np.put_along_axis(kept, best, True, axis=1)
        np.put_along_axis(remaining, best, -np.inf, axis=1)
    return kept if threshold is None else kept & above_threshold(checked, threshold)


def f1_scores(predictions: ArrayLike, targets: ArrayLike) -> F1:
    """F1 = 2 |A and B| / (|A| + |B|) of predictions and targets [N, L]: pooled, per label and per image."""
    predicted = as_flags(predictions, "predictions")
    actual = as_flags(targets, "targets", predicted.shape)
    hits = predicted & actual
    sizes = predicted.sum(axis=0) + actual.sum(axis=0)  # [L]
    per_label = ratio(2 * hits.sum(axis=0), sizes)
    per_image = ratio(2 * hits.sum(axis=1), predicted.sum(axis=1) + actual.sum(axis=1))
    micro = ratio(2 * hits.sum(), sizes.sum())
    return F1(float(micro), float(per_label.mean()), float(per_image.mean()), per_label)


def f1_curve(
    scores: ArrayLike,
    targets: ArrayLike,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    ignore: ArrayLike | None = None,
    inclusive: bool = False,
) -> _F1Curve:
    """`f1_scores` at each of T thresholds, in one pass over the scores.

    Args:
        scores: [N, L].
        targets: [N, L], 0 or 1.
        thresholds: T numbers in any order.
        ignore: [N, L], 1 where an image is left out for a label.
        inclusive: a score that equals the threshold is predicted too.
    """
    if not len(thresholds):
        raise ValueError("Expected argument `thresholds` to hold at least one number, but got none")
    checked, flags = without_ignored(scores, targets, ignore)
    counts = _count(checked, flags, [as_cut(float(t), checked.dtype, inclusive=inclusive) for t in thresholds])
    sizes = counts.label_predicted + flags.sum(axis=0)  # [T, L]
    per_label = ratio(2 * counts.label_hits, sizes)
    micro = ratio(2 * counts.label_hits.sum(axis=1), sizes.sum(axis=1))
    true = flags.sum(axis=1, dtype=np.int32)  # [N]
    both = zip(counts.image_hits, counts.image_predicted, strict=True)  # one by one: together they are large
    samples = [ratio(2 * hits.astype(np.int32), predicted + true).mean() for hits, predicted in both]
    return _F1Curve(micro, per_label.mean(axis=1), np.array(samples), per_label)


class _Counts(NamedTuple):
    """Predicted labels, and those of them that are right (hits), at every threshold."""

    label_predicted: NDArray[np.int64]  # [T, L]
    label_hits: NDArray[np.int64]  # [T, L]
    image_predicted: NDArray[np.unsignedinteger]  # [T, N], just wide enough for the number of labels
    image_hits: NDArray[np.unsignedinteger]  # [T, N]


def _count(scores: Floats, targets: Flags, cuts: Sequence[np.floating]) -> _Counts:
    """Count label by label, where all is contiguous; images are counted in bytes, 255 labels at a time."""
    num_images, num_labels = scores.shape
    labels = np.zeros((2, len(cuts), num_labels), dtype=np.int64)
    images = np.zeros((2, len(cuts), num_images), dtype=np.min_scalar_type(num_labels))
    step = min(_MAX_UINT8, max(1, CHUNK_ELEMENTS // num_images))
    for start in range(0, num_labels, step):
        chunk = slice(start, start + step)
        score_rows, target_rows = np.ascontiguousarray(scores[:, chunk].T), np.ascontiguousarray(targets[:, chunk].T)
        chunk_images = np.zeros((2, len(cuts), num_images), dtype=np.uint8)
        mask = np.empty(num_images, dtype=np.bool_)
        for label, (row, actual) in enumerate(zip(score_rows, target_rows, strict=True), start):
            for index, cut in enumerate(cuts):
                np.greater(row, cut, out=mask)
                labels[0, index, label] = np.count_nonzero(mask)
                chunk_images[0, index] += mask.view(np.uint8)
                np.logical_and(mask, actual, out=mask)
                labels[1, index, label] = np.count_nonzero(mask)
                chunk_images[1, index] += mask.view(np.uint8)
        images += chunk_images
    return _Counts(labels[0], labels[1], images[0], images[1])


def tune_threshold(
    scores: ArrayLike,
    targets: ArrayLike,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    ignore: ArrayLike | None = None,
    inclusive: bool = False,
) -> float:
    """The threshold with the highest macro F1, as in `f1_curve`; the first of several."""
    curve = f1_curve(scores, targets, thresholds, ignore=ignore, inclusive=inclusive)
    return float(thresholds[int(curve.macro.argmax())])


def label_precision_recall(
    predictions: ArrayLike, targets: ArrayLike, *, undefined: float = 0.0
) -> _LabelPrecisionRecall:
    """Precision and recall of each label.

    Args:
        predictions: [N, L], 0 or 1.
        targets: [N, L], 0 or 1.
        undefined: precision of a label that is never predicted, and recall of one without positives.
    """
    predicted = as_flags(predictions, "predictions")
    actual = as_flags(targets, "targets", predicted.shape)
    hits = (predicted & actual).sum(axis=0)  # [L]
    precision = ratio(hits, predicted.sum(axis=0), undefined)
    recall = ratio(hits, actual.sum(axis=0), undefined)
    return _LabelPrecisionRecall(precision, recall)


def precision_recall(predictions: ArrayLike, targets: ArrayLike, *, undefined: float = 0.0) -> PrecisionRecall:
    """The six numbers of multi-label papers; CF1 is made from CP and CR, and is not the mean of the labels' F1.

    Args:
        predictions: [N, L], 0 or 1.
        targets: [N, L], 0 or 1.
        undefined: see `label_precision_recall`; the programs of SALGL and SGRE count 1 there. OP and OR are 0
            where nothing is predicted or nothing is true.
    """
    per_label = label_precision_recall(predictions, targets, undefined=undefined)
    predicted, actual = as_flags(predictions, "predictions"), as_flags(targets, "targets")
    hits = np.count_nonzero(predicted & actual)
    cp, cr = float(per_label.precision.mean()), float(per_label.recall.mean())
    op = float(ratio(hits, np.count_nonzero(predicted)))
    or_ = float(ratio(hits, np.count_nonzero(actual)))
    return PrecisionRecall(cp, cr, harmonic_mean(cp, cr), op, or_, harmonic_mean(op, or_))


def harmonic_mean(precision: float, recall: float) -> float:
    """F1 of a precision and a recall; 0 when both are 0."""
    return float(ratio(2 * precision * recall, precision + recall))


def subset_means(per_label: ArrayLike, subsets: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Mean of per-label values [L] over each named subset of labels; NaN for an empty one."""
    values = np.asarray(per_label, dtype=np.float64)
    return {
        name: float(values[list(members)].mean()) if len(members) else float("nan") for name, members in subsets.items()
    }


def ratio(numerator: ArrayLike, denominator: ArrayLike, undefined: float = 0.0) -> NDArray[np.float64]:
    """Numerator / denominator, and `undefined` where the denominator is 0."""
    top, bottom = np.asarray(numerator), np.asarray(denominator)
    return np.divide(top, bottom, out=np.full(bottom.shape, undefined, dtype=np.float64), where=bottom != 0)
