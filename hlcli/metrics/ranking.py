"""Where the positives of a label stand when its images are sorted by score: all that average precision needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hlcli.metrics.arguments import Flags, Floats

CHUNK_ELEMENTS = 2**22
_CACHED_ROWS = 512


class _Ranking(NamedTuple):
    """One label's images in descending order of score; equal scores stay in image order.

    Args:
        by_image: scores [N] in image order.
        order: [N] images by descending score.
        positions: [P] places of the positives in that order, ascending from 0.
    """

    by_image: NDArray[np.float64]
    order: NDArray[np.int64]
    positions: NDArray[np.intp]

    @property
    def scores(self) -> NDArray[np.float64]:
        """[N] in descending order."""
        return self.by_image[self.order]

    def precisions(self, *, merge_ties: bool) -> NDArray[np.float64]:
        """Precision [P] of the list that ends with the k-th positive, k = 1…P.

        With `merge_ties` every list goes on to the last image of the same score, as if all images of one score
        were returned together; then nothing depends on the order of the images.
        """
        if not merge_ties:
            return np.arange(1, len(self.positions) + 1) / (self.positions + 1)
        scores = self.scores
        ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
        ends = ends[np.searchsorted(ends, self.positions)]  # [P], last place of each positive's score
        return np.searchsorted(self.positions, ends, side="right") / (ends + 1)


def rankings(scores: Floats, targets: Flags) -> Iterator[_Ranking]:
    """The ranking of every label of scores [N, L], in label order; a few labels are held in memory at a time."""
    num_images, num_labels = scores.shape
    step = max(1, CHUNK_ELEMENTS // num_images)
    for start in range(0, num_labels, step):
        chunk = slice(start, start + step)
        score_rows = _transposed(scores[:, chunk], np.float64)  # [chunk, N]
        target_rows = _transposed(targets[:, chunk], np.bool_)  # [chunk, N]
        for row, flags in zip(score_rows, target_rows, strict=True):
            order = descending_order(row)
            yield _Ranking(row, order, np.flatnonzero(flags[order]))


def _transposed(array: NDArray[Any], dtype: type) -> NDArray[Any]:
    """A matrix [N, L] as [L, N], in parts of N that stay in the processor's cache: a third of NumPy's time."""
    result: NDArray[Any] = np.empty(array.shape[::-1], dtype)
    for start in range(0, len(array), _CACHED_ROWS):
        part = slice(start, start + _CACHED_ROWS)
        result[:, part] = array[part].T
    return result


def descending_order(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices [N] that sort the scores [N] in descending order, equal ones in their given order.

    The same as `np.argsort(-scores, kind="stable")`, several times faster: a float64 keeps its order when its bits
    are read as an integer, and the lowest of these bits make room for the index. Sorting such keys needs no
    indirection. Float32 scores have those bits free; where full float64 scores differ only in them and come out
    in the wrong order, the slow way is taken.
    """
    bits = (0.0 - scores).view(np.int64)  # 0.0 - x and not -x: one zero only
    low = np.int64((1 << (len(scores) - 1).bit_length()) - 1)
    has_room = not (bits & low).any()
    keys = bits ^ ((bits >> 63) & np.iinfo(np.int64).max)  # negative floats count backwards
    keys &= ~low
    keys |= np.arange(len(scores))
    keys.sort()
    keys &= low
    if has_room:
        return keys
    ranked = scores[keys]
    if (ranked[1:] > ranked[:-1]).any():
        return np.argsort(0.0 - scores, kind="stable")
    return keys
