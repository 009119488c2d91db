"""How evenly images spread over scenes (SALGL, ICCV 2023)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def scene_entropy(scene_probs: ArrayLike) -> float:
    """Entropy of the scenes that images belong to, in nats: -sum q ln q over scenes, q = n / sum n + 1e-8.

    n counts the images whose most probable scene it is; of equal ones the first. All images in one scene give 0,
    even ones ln S.

    Args:
        scene_probs: [N, S].

    Raises:
        ValueError: when it is no matrix with at least one row.
    """
    probs = np.asarray(scene_probs)
    if probs.ndim != 2 or not len(probs):
        raise ValueError(f"Expected argument `scene_probs` to have shape [N, S], but got {list(probs.shape)}")
    counts = np.bincount(probs.argmax(axis=1), minlength=probs.shape[1])
    shares = counts / counts.sum() + 1e-8
    return float(-(shares * np.log(shares)).sum())
