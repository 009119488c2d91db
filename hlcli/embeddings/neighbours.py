"""Which vectors are nearest to each other by their cosine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_ROWS_AT_ONCE = 512


class Neighbours(NamedTuple):
    """The nearest others of every vector, nearest first: their numbers and cosines, [n, k] each."""

    numbers: np.ndarray
    cosine: np.ndarray


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Vectors [n, D] divided by their lengths, float64; one of length 0 stays as it is."""
    given = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(given, axis=1, keepdims=True)
    return given / np.where(lengths > 0, lengths, 1)


def nearest_neighbours(vectors: np.ndarray, count: int) -> Neighbours:
    """For every vector [n, D] the `count` others, or all if there are fewer, with the greatest cosines.

    A vector is never its own neighbour. Of equal cosines the first one comes first.
    """
    unit = unit_vectors(vectors)
    kept = min(count, len(unit) - 1)
    numbers = np.empty((len(unit), kept), dtype=np.int64)
    cosine = np.empty((len(unit), kept))
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        block = unit[start : start + _ROWS_AT_ONCE] @ unit.T  # [rows, n]
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf
        order = np.argsort(-block, axis=1, kind="stable")[:, :kept]
        numbers[start : start + len(block)] = order
        cosine[start : start + len(block)] = np.take_along_axis(block, order, axis=1).clip(-1, 1)
    return Neighbours(numbers, cosine)
