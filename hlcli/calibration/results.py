"""What calibrating a model gave: the model, its thresholds, and how much better its scores are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.metrics.calibration_maps import CalibrationMap
from hlcli.metrics.multilabel import LevelThreshold
from hlcli.models.folder import LoadedModel


class CalibrationScores(NamedTuple):
    """What calibration did to a level of a split: before, with raw scores and the former thresholds, and after.

    Args:
        split: the one that it was fitted on, or test.
        level: name of the level.
        ECE: expected calibration error of all decisions, 15 bins.
        NLL: their mean negative log likelihood, in nats.
        Brier: their mean squared error.
        F1: the metric that thresholds are tuned for.
    """

    split: str
    level: str
    ECE: tuple[float, float]
    NLL: tuple[float, float]
    Brier: tuple[float, float]
    F1: tuple[float, float]


class Calibration(NamedTuple):
    """A calibrated model, and what that changed.

    Args:
        model: with its calibration and thresholds, ready for use.
        map: how raw scores become calibrated ones.
        thresholds: coarse → fine, a number per level or one per label; None where there were none, and are none.
        by: the F1 that they were tuned for.
        split: what all was fitted on.
        scores: by split and level; those of a split that was not fitted on are the honest ones.
        shared: names of labels with too few examples for a slope, intercept or threshold of their own, by level.
        folder: the model folder that was written; None where nothing was.
    """

    model: LoadedModel
    map: CalibrationMap
    thresholds: tuple[LevelThreshold, ...] | None
    by: str
    split: str
    scores: tuple[CalibrationScores, ...]
    shared: dict[str, tuple[str, ...]]
    folder: Path | None

    def to_json(self) -> dict[str, Any]:
        """What was found as one JSON-ready document, with None for what is not a number."""
        rows = [
            {
                name: [_known(number) for number in value] if isinstance(value, tuple) else value
                for name, value in row._asdict().items()
            }
            for row in self.scores
        ]
        return {
            "method": self.map.method,
            "split": self.split,
            "by": self.by,
            "scores": rows,
            "shared": {level: list(names) for level, names in self.shared.items()},
        }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
