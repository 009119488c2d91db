"""How sure a metric is: intervals and tests by drawing images again, with replacement.

A split is one sample of the images that there are; drawn anew from itself, it shows by how much a number moves that
was measured on so many images. The percentile interval is that of Efron & Tibshirani, "An Introduction to the
Bootstrap" (1993), chapter 13. Two models are compared on the same draws, because what is hard for one is often hard
for the other too (Koehn, "Statistical Significance Tests for Machine Translation Evaluation", 2004); the p value is
that of Davison & Hinkley, "Bootstrap Methods and their Application" (1997), chapter 4. It says nothing of what
another seed of the training would give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Measure = Callable[[np.ndarray], Mapping[str, float]]
"""Numbers by name of the images whose row numbers [N] it is given, ascending, some of them several times."""


class Interval(NamedTuple):
    """A number as measured on all rows, with the interval it would mostly be in; NaN where nothing can be said."""

    value: float
    low: float
    high: float


class _Difference(NamedTuple):
    """The second model's number less the first one's, its interval, and the two-sided p value of there being none."""

    value: float
    low: float
    high: float
    p_value: float


def bootstrap(
    measure: _Measure,
    num_rows: int,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of numbers that are measured on rows.

    A resample on which a number is NaN is left out; where all are, the interval is NaN.

    Args:
        measure: gets row numbers [N] int64, ascending, and answers numbers by name, always the same names.
        num_rows: N.
        resamples: how often rows are drawn; 1000 are enough for an interval of 95 %.
        confidence: share of the resamples that lies inside.
        seed: of the draws; the same seed and N draw the same rows, whatever is measured.

    Raises:
        ValueError: for arguments that cannot be meant.
    """
    found = measure(_all_rows(num_rows))
    drawn = resample(measure, num_rows, resamples=resamples, seed=seed)
    return {name: interval(float(value), drawn[name], confidence=confidence) for name, value in found.items()}


def resample(
    measure: _Measure, num_rows: int, *, resamples: int = 1000, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """What is measured on each of R draws of the rows: arrays [R] by name.

    Args:
        measure: see `bootstrap`.
        num_rows: how many rows there are, and are drawn.
        resamples: R.
        seed: of the draws; the same seed and number of rows draw the same rows.

    Raises:
        ValueError: when there is no row, or nothing is drawn.
    """
    if num_rows < 1 or resamples < 1:
        raise ValueError(f"Expected at least one row and one resample, but got {num_rows} and {resamples}")
    generator = np.random.default_rng(seed)
    found: dict[str, NDArray[np.float64]] = {}
    for draw in range(resamples):
        rows = np.sort(generator.integers(num_rows, size=num_rows))  # in image order, as metrics with ties know it
        for name, value in measure(rows).items():
            found.setdefault(name, np.full(resamples, np.nan))[draw] = value
    return found


def interval(value: float, drawn: NDArray[np.float64], *, confidence: float = 0.95) -> Interval:
    """The percentile interval of a number from what R resamples gave, [R]; NaN among them is left out.

    Raises:
        ValueError: when the confidence is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"Expected argument `confidence` to be between 0 and 1, but got {confidence}")
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def difference(
    first: float,
    second: float,
    first_drawn: NDArray[np.float64],
    second_drawn: NDArray[np.float64],
    *,
    confidence: float = 0.95,
) -> _Difference:
    """By how much two numbers differ, from what the same R draws of rows gave for both, [R] each.

    p is twice the share of the resampled differences on the less frequent side of 0 (those that are 0 are on both),
    counting one more on either side than was seen: with R draws none is below 2 / (R + 1), and none above 1.

    Args:
        first: the number of the model that is compared with, on all rows.
        second: the other model's.
        first_drawn: the first model's numbers of the resamples.
        second_drawn: the other's, of the same draws.
        confidence: share of the differences inside the interval.

    Raises:
        ValueError: when the confidence is not between 0 and 1.
    """
    drawn = second_drawn - first_drawn
    value, low, high = interval(second - first, drawn, confidence=confidence)
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return _Difference(value, low, high, float("nan"))
    rarer = min(int(np.count_nonzero(known <= 0)), int(np.count_nonzero(known >= 0)))
    return _Difference(value, low, high, min(1.0, 2 * (rarer + 1) / (len(known) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of several comparisons, raised so that the chance of any false alarm stays what one of them says.

    The step-down procedure of Holm, "A simple sequentially rejective multiple test procedure" (1979): of m values the
    smallest is multiplied by m, the next by m - 1 …, none becomes smaller than the one before it, none exceeds 1. It
    holds whatever the comparisons have to do with each other. NaN is no comparison and stays.
    """
    values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted = values.copy()
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return [float(value) for value in adjusted]


def _all_rows(num_rows: int) -> NDArray[np.int64]:
    if num_rows < 1:
        raise ValueError(f"Expected argument `num_rows` to be at least 1, but got {num_rows}")
    return np.arange(num_rows, dtype=np.int64)
