"""How raw scores become calibrated ones: a straight line over logits, for all labels of a level or for each by itself.

score' = sigmoid(slope · logit(score) + intercept). With temperature T the slope is 1/T and the intercept 0 (Guo et al.,
"On Calibration of Modern Neural Networks", 2017); Platt's scaling has both ("Probabilistic Outputs for Support Vector
Machines", 1999). Slopes are positive: no label changes the order of its images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

CalibrationMethod = Literal["none", "temperature", "platt"]


class LevelMap(NamedTuple):
    """The map of a level: one slope and one intercept for all of its labels, or as many as labels."""

    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]

    def apply(self, scores: np.ndarray) -> NDArray[np.float64]:
        """Calibrated scores [N, L] of raw ones in 0..1; equal ones stay equal, different float32 ones different."""
        z = logit(scores)
        z *= np.array(self.slopes)
        z += np.array(self.intercepts)
        return sigmoid(z)

    def move(self, threshold: float | Sequence[float]) -> float | tuple[float, ...]:
        """Where a threshold, or one per label, must go so that the same labels stay above it."""
        values = np.broadcast_to(
            np.asarray(threshold, dtype=np.float64), (1, max(len(self.slopes), np.size(threshold)))
        )
        moved = [min(max(float(value), _LEAST), _MOST) for value in self.apply(values)[0]]
        return moved[0] if isinstance(threshold, float) and len(self.slopes) == 1 else tuple(moved)

    def inverse(self) -> LevelMap:
        """The way back to raw scores."""
        slopes = tuple(1 / slope for slope in self.slopes)
        pairs = zip(self.slopes, self.intercepts, strict=True)
        return LevelMap(slopes, tuple(-intercept / slope for slope, intercept in pairs))


class CalibrationMap(NamedTuple):
    """The maps of all levels, coarse → fine; `none` leaves all scores as they are."""

    method: CalibrationMethod
    levels: tuple[LevelMap, ...]

    def apply(self, level_scores: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Calibrated scores of every level, [N, L of the level]: float64, or those given where nothing is changed."""
        if self.method == "none":
            return list(level_scores)
        return [level.apply(scores) for level, scores in zip(self.levels, level_scores, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready form, read back by `from_json`."""
        rows = [{"slopes": list(level.slopes), "intercepts": list(level.intercepts)} for level in self.levels]
        return {"method": self.method, "levels": rows}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], level_sizes: Sequence[int]) -> CalibrationMap:
        """Read what `to_json` wrote, for levels of so many labels.

        Raises:
            ValueError, KeyError, TypeError: when it was written for something else.
        """
        method, rows = value["method"], value["levels"]
        if method not in get_args(CalibrationMethod):
            raise ValueError(f"calibration by {method!r} is not known")
        if not isinstance(rows, list) or len(rows) != len(level_sizes):
            raise ValueError(f"calibration has not one map for each of {len(level_sizes)} levels")
        levels = []
        for row, size in zip(rows, level_sizes, strict=True):
            slopes, intercepts = row["slopes"], row["intercepts"]
            if len(slopes) not in (1, size) or len(intercepts) != len(slopes):
                raise ValueError(
                    f"calibration has {len(slopes)} slopes and {len(intercepts)} intercepts for {size} labels"
                )
            if not all(type(number) in (int, float) and abs(number) < _TOO_MUCH for number in (*slopes, *intercepts)):
                raise ValueError("calibration has slopes or intercepts that are no finite numbers")
            if min(slopes) <= 0:
                raise ValueError(f"calibration has a slope of {min(slopes)}, which is not positive")
            levels.append(LevelMap(tuple(map(float, slopes)), tuple(map(float, intercepts))))
        return cls(method, tuple(levels))


IDENTITY = LevelMap((1.0,), (0.0,))
_TOO_MUCH = 1e300
_LEAST, _MOST = 1e-300, 1 - 2.0**-53


def logit(scores: np.ndarray) -> NDArray[np.float64]:
    """log(s / (1 − s)) of scores in 0..1, finite: 0 and 1 are taken as a little inside, still beyond all others."""
    info = np.finfo(scores.dtype)
    exact = scores.astype(np.float64)
    smallest = float(info.smallest_subnormal) / 2 or 1e-320
    return np.log(np.maximum(exact, smallest)) - np.log(np.maximum(1 - exact, float(info.eps) / 4))


def sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(−z)), to a share of small values too."""
    return np.exp(-np.logaddexp(0.0, -z))
