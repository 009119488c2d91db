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


def greatest_of_rows(cosines: np.ndarray, count: int, first_row: int = 0) -> Neighbours:
    """For rows of all cosines of a set [n, n] the `count` others, or all if there are fewer, with the greatest ones.

    Nothing is its own neighbour. Of equal cosines the first one comes first.

    Args:
        cosines: some rows [rows, n].
        count: so many neighbours.
        first_row: where these rows begin.
    """
    others, rows = cosines.copy(), np.arange(len(cosines))
    others[rows, first_row + rows] = -np.inf
    order = np.argsort(-others, axis=1, kind="stable")[:, : min(count, others.shape[1] - 1)]
    return Neighbours(order, np.take_along_axis(others, order, axis=1))


def nearest_neighbours(vectors: np.ndarray, count: int) -> Neighbours:
    """For every vector [n, D] the `count` others, or all if there are fewer, with the greatest cosines."""
    unit = unit_vectors(vectors)
    kept = min(count, len(unit) - 1)
    numbers = np.empty((len(unit), kept), dtype=np.int64)
    cosine = np.empty((len(unit), kept))
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        found = greatest_of_rows(unit[rows] @ unit.T, count, start)
        numbers[rows], cosine[rows] = found.numbers, found.cosine.clip(-1, 1)
    return Neighbours(numbers, cosine)
