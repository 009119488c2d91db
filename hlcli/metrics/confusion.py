"""Which labels a model takes for which: with several labels per image there is no confusion matrix, but this."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hlcli.metrics.arguments import as_flags

_ROWS_AT_A_TIME = 4096


def swapped_labels(predictions: ArrayLike, targets: ArrayLike) -> NDArray[np.int64]:
    """How often label j was predicted falsely in an image in which label i was missed, [L, L] with i first.

    An image with several missed and several false labels counts for every pair of them. The diagonal is 0.

    Args:
        predictions: [N, L], 0 or 1.
        targets: [N, L], 0 or 1.
    """
    predicted = as_flags(predictions, "predictions")
    actual = as_flags(targets, "targets", predicted.shape)
    missed, false = actual & ~predicted, predicted & ~actual
    counts = np.zeros((predicted.shape[1], predicted.shape[1]), dtype=np.int64)
    concerned = np.flatnonzero(missed.any(axis=1) & false.any(axis=1))
    for start in range(0, len(concerned), _ROWS_AT_A_TIME):
        rows = concerned[start : start + _ROWS_AT_A_TIME]  # so few that float32 counts exactly
        counts += (missed[rows].T.astype(np.float32) @ false[rows].astype(np.float32)).astype(np.int64)
    return counts
