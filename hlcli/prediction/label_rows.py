"""What is found in one image: its labels, its scores, its scene, or why it could not be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, SupportsIndex, overload

import numpy as np

from hlcli.data.labels import LabelSpace
from hlcli.metrics.multilabel import LevelThreshold, above_threshold


class PredictedLabel(NamedTuple):
    """A label with its score in [0, 1]."""

    name: str
    level: str
    score: float


@dataclass(frozen=True, eq=False)
class Scene:
    """The most probable scene, and the probabilities [S] of all."""

    index: int
    score: float
    probs: np.ndarray


class Prediction(NamedTuple):
    """Scores of one image, coarse → fine, each [L of the level]; `labels` are those above their thresholds.

    `scene` is None for models that tell no scenes. `label_names` are those of the last level.
    """

    image: str
    labels: tuple[PredictedLabel, ...]
    levels: tuple[np.ndarray, ...]
    scene: Scene | None = None
    label_names: tuple[str, ...] = ()

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The best fine labels with their scores, best first, whatever the thresholds."""
        return [(name, float(self.levels[-1][i])) for i, name in _best(self.levels[-1], self.label_names, count)]

    def to_json(self) -> dict[str, Any]:
        """The line that is written for the image."""
        line: dict[str, Any] = {
            "image": self.image,
            "labels": [{"name": row.name, "level": row.level, "score": round(row.score, 6)} for row in self.labels],
        }
        if self.scene is not None:
            line["scene"] = {"index": self.scene.index, "score": round(self.scene.score, 6)}
        return line


class Predictions(list[Prediction]):
    """Predictions in the order of the images.

    Examples:
        >>> predictions = hlcli.load("runs/shapes").predict(["photos/cat0.jpg", "photos/dog0.jpg"])
        >>> [len(best) for best in predictions.top(3)]
        [3, 3]
    """

    def top(self, count: int = 5) -> list[list[tuple[str, float]]]:
        """The best fine labels of each image with their scores, best first, whatever the thresholds."""
        return [row.top(count) for row in self]

    @overload
    def __getitem__(self, index: SupportsIndex) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Prediction | Predictions:
        return Predictions(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)


def _best(scores: np.ndarray, names: Sequence[str], count: int) -> list[tuple[int, str]]:
    return [(int(i), names[int(i)]) for i in np.argsort(-scores, kind="stable")[:count]]


def make_prediction(
    name: str,
    levels: tuple[np.ndarray, ...],
    labels: LabelSpace,
    thresholds: Sequence[LevelThreshold],
    *,
    top_k: int | None = None,
    scene_probs: np.ndarray | None = None,
) -> Prediction:
    """List the labels above their level's threshold, or the best of each level, best first.

    Args:
        name: of the image.
        levels: scores of every level, coarse → fine, each [L of the level].
        labels: the label space.
        thresholds: one per level, or per label.
        top_k: so many labels of each level, whatever the thresholds.
        scene_probs: probabilities of scenes [S].
    """
    listed = []
    for level, scores, threshold in zip(labels.levels, levels, thresholds, strict=True):
        is_above = above_threshold(scores[None], threshold)[0]
        listed += [
            PredictedLabel(label, level.name, float(scores[i]))
            for i, label in _best(scores, level.label_names, len(level) if top_k is None else top_k)
            if top_k is not None or is_above[i]
        ]
    scene = None if scene_probs is None else make_scene(scene_probs)
    return Prediction(name, tuple(listed), levels, scene, labels.label_names)


def make_scene(scene_probs: np.ndarray) -> Scene:
    """The most probable scene; of equal ones the first."""
    index = int(scene_probs.argmax())
    return Scene(index, float(scene_probs[index]), scene_probs)
