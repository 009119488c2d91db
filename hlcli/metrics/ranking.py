"""Where the positives of a label stand when its images are sorted by score: all that average precision needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hlcli.metrics.arguments import Flags, Floats

CHUNK_ELEMENTS = 2**22


class _Ranking(NamedTuple):
    """One label's images in descending order of score; equal scores stay in image order.

    Args:
        scores: [N] in descending order.
        positions: [P] places of the positives in that order, ascending from 0.
    """

    scores: NDArray[np.float64]
    positions: NDArray[np.intp]

    def precisions(self, *, merge_ties: bool) -> NDArray[np.float64]:
        """Precision [P] of the list that ends with the k-th positive, k = 1…P.

        With `merge_ties` every list goes on to the last image of the same score, as if all images of one score
        were returned together; then nothing depends on the order of the images.
        """
        if not merge_ties:
            return np.arange(1, len(self.positions) + 1) / (self.positions + 1)
        ends = np.append(np.flatnonzero(self.scores[1:] != self.scores[:-1]), len(self.scores) - 1)
        ends = ends[np.searchsorted(ends, self.positions)]  # [P], last place of each positive's score
        return np.searchsorted(self.positions, ends, side="right") / (ends + 1)


def rankings(scores: Floats, targets: Flags) -> Iterator[_Ranking]:
    """The ranking of every label of scores [N, L], in label order; a few labels are held in memory at a time."""
    num_images, num_labels = scores.shape
    step = max(1, CHUNK_ELEMENTS // num_images)
    for start in range(0, num_labels, step):
        chunk = slice(start, start + step)
        score_rows = np.ascontiguousarray(scores[:, chunk].T, dtype=np.float64)  # [chunk, N]
        target_rows = np.ascontiguousarray(targets[:, chunk].T)  # [chunk, N]
        for row, flags in zip(score_rows, target_rows, strict=True):
            order = descending_order(row)
            yield _Ranking(row[order], np.flatnonzero(flags[order]))


def descending_order(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices [N] that sort the scores [N] in descending order, equal ones in their given order.

    The same as `np.argsort(-scores, kind="stable")`, several times faster: a float64 keeps its order when its bits
    are read as an integer, and the lowest of these bits make room for the index. Sorting such keys needs no
    indirection. Float32 scores have those bits free; where full float64 scores differ only in them and come out
    in the wrong order, the slow way is taken.
    """
    bits = (0.0 - scores).view(np.int64)  # 0.0 - x and not -x: one zero only
    low = np.int64((1 << (len(scores) - 1).bit_length()) - 1)
    keys = bits ^ ((bits >> 63) & np.iinfo(np.int64).max)  # negative floats count backwards
    keys &= ~low
    keys |= np.arange(len(scores))
    keys.sort()
    keys &= low
    ranked = scores[keys]
    if (ranked[1:] > ranked[:-1]).any():
        return np.argsort(0.0 - scores, kind="stable")
    return keys
