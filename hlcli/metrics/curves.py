"""Precision at every recall: the curves whose area average precision is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hlcli.metrics.arguments import without_ignored
from hlcli.metrics.ranking import rankings


def precision_recall_curves(
    scores: ArrayLike, targets: ArrayLike, recalls: ArrayLike, *, ignore: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Interpolated precision of each label at R recalls, [L, R]: the highest at that recall or a higher one.

    Images of equal score enter the list together, so that the order of the images does not matter. A label without
    positives has NaN. For one curve of all decisions give scores and targets as one column.

    Args:
        scores: [N, L] floats.
        targets: [N, L], 0 or 1.
        recalls: R numbers in 0..1.
        ignore: [N, L], 1 where an image is left out for a label.
    """
    checked, flags = without_ignored(scores, targets, ignore)
    wanted = np.asarray(recalls, dtype=np.float64)
    result = np.full((checked.shape[1], len(wanted)), np.nan)
    for label, ranking in enumerate(rankings(checked, flags)):
        precisions = ranking.precisions(merge_ties=True)  # [P]
        if len(precisions):
            envelope = np.maximum.accumulate(precisions[::-1])[::-1]
            first = np.ceil(wanted * len(envelope) - 1e-9).astype(int)  # smallest k with k / P at the recall or above
            result[label] = envelope[np.maximum(first, 1) - 1]
    return result
