"""What networks answer, whatever their method: logits of levels, probabilities of scenes; and the scores of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hlcli.metrics.calibration_maps import CalibrationMap
from hlcli.metrics.hierarchy import consistent_scores, lift_scores

if TYPE_CHECKING:
    from hlcli.data.labels import LabelSpace


def level_logits(output: NamedTuple) -> tuple[Tensor, ...]:
    """Logits of every level a network scores, coarse → fine."""
    return getattr(output, "level_logits", None) or (output.logits,)  # type: ignore[attr-defined]


def scene_probs_of(output: NamedTuple) -> Tensor | None:
    """Probability of every scene, [B, S], from a network that tells scenes."""
    return getattr(output, "scene_probs", None)


def level_scores(
    output: NamedTuple,
    labels: LabelSpace,
    *,
    consistent: bool,
    calibration: CalibrationMap | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[np.ndarray]:
    """Scores of every level, coarse → fine, each [B, L of the level]; levels a network lacks follow from the finest. An
    image some of whose logits are not finite has no scores: all of them are NaN.

    Args:
        output: what the network answers.
        labels: the label space.
        consistent: no label scores above its parent.
        calibration: how raw scores become calibrated ones.
        dtype: of raw scores; double precision tells very high ones apart, which are equal in an evaluation.
    """
    is_known = np.all([logits.isfinite().all(dim=1).cpu().numpy() for logits in level_logits(output)], axis=0)
    levels = [logits.to(dtype).sigmoid().cpu().numpy() for logits in level_logits(output)]
    for scores in levels:
        scores[~is_known] = 0.0
    if len(levels) < len(labels.levels):
        levels = lift_scores(levels[-1], labels.parents)
    levels = levels if calibration is None else calibration.apply(levels)
    levels = consistent_scores(levels, labels.parents) if consistent else levels
    return levels if is_known.all() else [np.where(is_known[:, None], scores, np.nan) for scores in levels]
