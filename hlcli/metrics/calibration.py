"""Whether scores are probabilities: of all labels that get 0.8, four in five should be there.

Every pair of an image and a label is one decision; scores [N, L] are pooled. For one label alone give its column
[N, 1]. Definitions: Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"
(2015); Guo et al., "On Calibration of Modern Neural Networks" (2017), whose bins are used here; Brier, "Verification
of Forecasts Expressed in Terms of Probability" (1950).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hlcli.metrics.arguments import as_flags, as_scores

_SMALLEST = 1e-12
"""Distance from 0 and 1 that a probability keeps in a logarithm."""


class _ReliabilityBin(NamedTuple):
    """Decisions with scores in (low, high], the first bin with 0 too; the means are NaN where there are none."""

    low: float
    high: float
    count: int  # type: ignore[assignment]  # a name that tuples have too
    mean_score: float
    fraction_positive: float


def expected_calibration_error(
    scores: ArrayLike, targets: ArrayLike, *, bins: int = 15, ignore: ArrayLike | None = None
) -> float:
    """Mean distance of score and truth: Σ_b n_b / n · |share of positives in bin b − mean score in bin b|.

    0 is best; NaN where all is ignored. Bins are equally wide. A score of 1 for all that is there and 0 for the rest
    gives 0, and so does the share of positives for everything: it is no measure of how well labels are told apart.

    Args:
        scores: [N, L] floats in 0..1.
        targets: [N, L], 0 or 1.
        bins: how many.
        ignore: [N, L], 1 where an image is left out for a label.

    Raises:
        ValueError: for shapes that do not fit, scores outside 0..1, or no bin.
    """
    found = reliability(scores, targets, bins=bins, ignore=ignore)
    total = sum(row.count for row in found)
    if not total:
        return float("nan")
    return sum(row.count * abs(row.fraction_positive - row.mean_score) for row in found if row.count) / total


def reliability(
    scores: ArrayLike, targets: ArrayLike, *, bins: int = 15, ignore: ArrayLike | None = None
) -> list[_ReliabilityBin]:
    """The bins of a reliability diagram, from low to high, empty ones too.

    Args:
        scores: [N, L] floats in 0..1.
        targets: [N, L], 0 or 1.
        bins: how many, equally wide.
        ignore: [N, L], 1 where an image is left out for a label.

    Raises:
        ValueError: for shapes that do not fit, scores outside 0..1, or no bin.
    """
    if bins < 1:
        raise ValueError(f"Expected argument `bins` to be at least 1, but got {bins}")
    probabilities, actual = _decisions(scores, targets, ignore)
    edges = np.linspace(0, 1, bins + 1)
    numbers = np.searchsorted(edges[1:-1], probabilities)  # the left side: a score on an edge is in the bin below
    counts = np.bincount(numbers, minlength=bins)
    sums = np.bincount(numbers, weights=probabilities, minlength=bins)
    positives = np.bincount(numbers, weights=actual, minlength=bins)
    with np.errstate(invalid="ignore"):
        columns = (edges[:-1], edges[1:], counts, sums / counts, positives / counts)
    return [_ReliabilityBin(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def negative_log_likelihood(scores: ArrayLike, targets: ArrayLike, *, ignore: ArrayLike | None = None) -> float:
    """Mean of −y log s − (1 − y) log(1 − s), in nats, over all decisions; NaN where all is ignored.

    Scores are kept 10⁻¹² away from 0 and 1.

    Args:
        scores: [N, L] floats in 0..1.
        targets: [N, L], 0 or 1.
        ignore: [N, L], 1 where an image is left out for a label.

    Raises:
        ValueError: for shapes that do not fit, or scores outside 0..1.
    """
    probabilities, actual = _decisions(scores, targets, ignore)
    of_truth = np.where(actual, probabilities, 1 - probabilities)
    return _mean(-np.log(np.maximum(of_truth, _SMALLEST)))


def brier_score(scores: ArrayLike, targets: ArrayLike, *, ignore: ArrayLike | None = None) -> float:
    """Mean of (s − y)² over all decisions: 0 is best; NaN where all is ignored.

    Args:
        scores: [N, L] floats in 0..1.
        targets: [N, L], 0 or 1.
        ignore: [N, L], 1 where an image is left out for a label.

    Raises:
        ValueError: for shapes that do not fit, or scores outside 0..1.
    """
    probabilities, actual = _decisions(scores, targets, ignore)
    return _mean((probabilities - actual) ** 2)


def _decisions(
    scores: ArrayLike, targets: ArrayLike, ignore: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and targets of all decisions that count, flat."""
    checked = as_scores(scores)
    if checked.min() < 0 or checked.max() > 1:
        raise ValueError(
            f"Expected argument `scores` to hold numbers in 0..1, but got {checked.min():g} to {checked.max():g}"
        )
    actual = as_flags(targets, "targets", checked.shape)
    if ignore is None:
        return checked.ravel().astype(np.float64), actual.ravel()
    counts = ~as_flags(ignore, "ignore", checked.shape)
    return checked[counts].astype(np.float64), actual[counts]


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
