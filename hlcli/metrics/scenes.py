"""What SALGL's scenes are like: how evenly images spread over them, and which labels and pairs each of them holds.

Counts [S, L, L] are those of label pairs in every scene; the diagonal says how often a label itself was seen. They may
be NumPy arrays or torch tensors on the CPU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_WORD_SCALE = 200
_COUNT_EPS = 1e-8


def scene_entropy(scene_probs: ArrayLike) -> float:
    """Entropy of the scenes that images belong to, in nats; see `distribution_entropy`.

    An image belongs to its most probable scene; of equal ones to the first.

    Args:
        scene_probs: [N, S].

    Raises:
        ValueError: when it is no matrix with at least one row.
    """
    scene_probs = np.asarray(scene_probs)
    if scene_probs.ndim != 2 or not len(scene_probs):
        raise ValueError(f"Expected argument `scene_probs` to have shape [N, S], but got {list(scene_probs.shape)}")
    return distribution_entropy(np.bincount(scene_probs.argmax(axis=1), minlength=scene_probs.shape[1]))


def distribution_entropy(counts: ArrayLike) -> float:
    """Entropy of images per scene, counts [S], in nats: -sum q ln q, q = n / sum n + 1e-8.

    All images in one scene give 0, even ones ln S.

    Raises:
        ValueError: when nothing was counted.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    if numbers.ndim != 1 or numbers.sum() <= 0:
        raise ValueError(f"Expected argument `counts` to hold images per scene, but got {numbers.tolist()}")
    shares = numbers / numbers.sum() + 1e-8
    return float(-(shares * np.log(shares)).sum())


def scene_label_shares(counts: ArrayLike, scale: int = _WORD_SCALE) -> NDArray[np.int64]:
    """Word sizes for a cloud per scene, whole numbers [S, L] from 0 to `scale`.

    The share of a label's images that fall into a scene, so that rare labels are drawn as large as frequent ones;
    0 for a label that was never seen.

    Args:
        counts: [S, L, L].
        scale: size of a label that belongs to one scene alone.
    """
    seen = _pair_counts(counts).diagonal(axis1=1, axis2=2)  # [S, L]
    total = seen.sum(axis=0)
    shares = np.divide(seen, total, out=np.zeros_like(seen), where=total > 0)
    return (shares * scale).astype(np.int64)  # cut off, not rounded


def heat_map(counts: ArrayLike) -> NDArray[np.float64]:
    """P(j | i) of every scene, [S, L, L], with an empty diagonal; the row of a label never seen is 0.

    Always so, whatever graph the model makes of its counts.

    Args:
        counts: [S, L, L].
    """
    pairs = _pair_counts(counts)
    adjacency = pairs / (pairs.diagonal(axis1=1, axis2=2)[:, :, None] + _COUNT_EPS)
    adjacency[:, np.arange(adjacency.shape[1]), np.arange(adjacency.shape[1])] = 0
    return adjacency


def _pair_counts(counts: ArrayLike) -> NDArray[np.float64]:
    pairs = np.asarray(counts, dtype=np.float64)
    if pairs.ndim != 3 or pairs.shape[1] != pairs.shape[2]:
        raise ValueError(f"Expected argument `counts` to have shape [S, L, L], but got {list(pairs.shape)}")
    return pairs
