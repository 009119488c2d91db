"""Finding the calibration of scores by maximum likelihood.

The loss is the mean negative log likelihood of all decisions, a convex function of slope and intercept; Newton's method
with halved steps finds its minimum (Lin, Lin & Weng, "A note on Platt's probabilistic outputs for support vector
machines", 2007). Targets are Platt's: (P + 1) / (P + 2) for a positive and 1 / (M + 2) for a negative, of P and M that
there are, so that a label whose scores tell all images apart still gets finite numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hlcli.metrics.arguments import Flags, Floats
from hlcli.metrics.calibration_maps import IDENTITY, CalibrationMap, CalibrationMethod, LevelMap, logit, sigmoid

_Numbers = NDArray[np.float64]

_SLOPES = 0.05, 20.0
"""Slopes stay between these: positive, so that the order of images stays, and finite."""
_MOST_STEPS = 100
_FLAT = 1e-10
"""Gradient of the mean loss at which it counts as lowest."""


class _FittedMap(NamedTuple):
    """What was found.

    Args:
        map: slopes and intercepts.
        shared: by level, the labels that had too few positives or negatives for numbers of their own.
    """

    map: CalibrationMap
    shared: tuple[tuple[int, ...], ...]


def fit_calibration(
    method: CalibrationMethod,
    level_scores: Sequence[Floats],
    level_targets: Sequence[Flags],
    level_ignore: Sequence[Flags | None],
    *,
    min_examples: int = 10,
) -> _FittedMap:
    """Calibrate every level by itself.

    Args:
        method: `temperature` finds one slope per level; `platt` slope and intercept for every label; `none` nothing.
        level_scores: raw scores, coarse → fine, [N, L_level] in 0..1.
        level_targets: the same shapes.
        level_ignore: the same shapes, true where an image is left out for a label; or None.
        min_examples: a label with fewer positives, or fewer negatives, gets slope and intercept of its whole level.
    """
    fitted = []
    for scores, targets, ignore in zip(level_scores, level_targets, level_ignore, strict=True):
        counts = np.ones_like(targets) if ignore is None else ~ignore
        if method == "platt":
            fitted.append(_fit_platt(logit(scores), targets, counts, min_examples))
        elif method == "temperature":
            fitted.append((LevelMap(*_fit(logit(scores)[counts], targets[counts], with_intercept=False)), ()))
        else:
            fitted.append((IDENTITY, ()))
    return _FittedMap(CalibrationMap(method, tuple(level for level, _ in fitted)), tuple(rare for _, rare in fitted))


def _fit_platt(logits: _Numbers, targets: Flags, counts: Flags, min_examples: int) -> tuple[LevelMap, tuple[int, ...]]:
    """Slope and intercept of every label, and the labels that share those of all."""
    positives = (targets & counts).sum(axis=0)
    negatives = (~targets & counts).sum(axis=0)
    is_rare = (positives < min_examples) | (negatives < min_examples)
    common = _fit(logits[counts], targets[counts], with_intercept=True) if is_rare.any() else None
    slopes: list[float] = []
    intercepts: list[float] = []
    for label, rare in enumerate(is_rare):
        kept = counts[:, label]
        own = common if rare else _fit(logits[kept, label], targets[kept, label], with_intercept=True)
        assert own is not None
        slopes += own[0]
        intercepts += own[1]
    return LevelMap(tuple(slopes), tuple(intercepts)), tuple(np.flatnonzero(is_rare).tolist())


def _fit(x: _Numbers, targets: Flags, *, with_intercept: bool) -> tuple[tuple[float], tuple[float]]:
    """Slope and intercept of decisions with logits `x` [M]; no decision leaves them as they are."""
    if not len(x):
        return IDENTITY.slopes[:1], IDENTITY.intercepts[:1]  # type: ignore[return-value]
    positives = int(np.count_nonzero(targets))
    soft = np.where(targets, (positives + 1) / (positives + 2), 1 / (len(x) - positives + 2))
    free = np.array([True, with_intercept])
    found = _newton(x, soft, np.array([1.0, 0.0]), free)
    if not _SLOPES[0] <= found[0] <= _SLOPES[1]:  # the loss is convex: the best allowed slope is the nearest
        found[0] = np.clip(found[0], *_SLOPES)
        found = _newton(x, soft, found, np.array([False, with_intercept]))
    return (float(found[0]),), (float(found[1]),)


def _newton(x: _Numbers, soft: _Numbers, start: _Numbers, free: NDArray[np.bool_]) -> _Numbers:
    """Slope and intercept with the lowest loss, of which only those that are `free` move."""
    found, loss = start.copy(), _loss(x, soft, start)
    for _ in range(_MOST_STEPS if free.any() else 0):
        probabilities = sigmoid(found[0] * x + found[1])
        errors, curvature = probabilities - soft, probabilities * (1 - probabilities)
        gradient = np.array([(errors * x).mean(), errors.mean()])[free]
        if np.abs(gradient).max() < _FLAT:
            break
        mixed = (curvature * x).mean()
        hessian = np.array([[(curvature * x * x).mean(), mixed], [mixed, curvature.mean()]])[np.ix_(free, free)]
        step = np.zeros(2)
        step[free] = np.linalg.solve(hessian + 1e-12 * np.eye(len(hessian)), gradient)
        for _ in range(40):
            tried = found - step
            lower = _loss(x, soft, tried)
            if lower < loss:
                found, loss = tried, lower
                break
            step /= 2
        else:
            break  # as low as numbers of this precision go
    return found


def _loss(x: _Numbers, soft: _Numbers, found: _Numbers) -> float:
    z = found[0] * x + found[1]
    return float((np.logaddexp(0.0, z) - soft * z).mean())
