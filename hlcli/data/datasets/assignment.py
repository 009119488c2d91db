"""The best way to pair rows with columns, each used once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def best_assignment(worth: np.ndarray) -> list[int]:
    """The column of every row, no column twice, such that the pairs' worth is largest in total.

    The Hungarian method: rows come in one by one, each along the cheapest chain of re-assignments, which potentials of
    rows and columns keep cheap to find. Time grows with R² C, memory with R C.

    Args:
        worth: of each pair [R, C], with R <= C.

    Raises:
        ValueError: when there are fewer columns than rows.
    """
    import numpy as np

    num_rows, num_columns = worth.shape
    if num_rows > num_columns:
        raise ValueError(f"worth must have as many columns as rows or more, got the shape {list(worth.shape)}.")
    cost = -np.asarray(worth, dtype=np.float64)
    row_potential, column_potential = np.zeros(num_rows), np.zeros(num_columns)
    row_of = np.full(num_columns, -1)
    for new_row in range(num_rows):
        distance, came_from = np.full(num_columns, np.inf), np.full(num_columns, -1)  # of the cheapest chain [C]
        is_done = np.zeros(num_columns, dtype=bool)
        row, column, length = new_row, -1, 0.0
        while row >= 0:  # a column without a row ends the chain
            through_row = length + cost[row] - row_potential[row] - column_potential
            is_shorter = ~is_done & (through_row < distance)
            distance[is_shorter], came_from[is_shorter] = through_row[is_shorter], column
            column = int(np.argmin(np.where(is_done, np.inf, distance)))
            length, row = distance[column], int(row_of[column])
            is_done[column] = True
        gains = length - distance[is_done]
        row_potential[new_row] += length
        is_old = is_done & (row_of >= 0)
        row_potential[row_of[is_old]] += length - distance[is_old]
        column_potential[is_done] -= gains
        while column >= 0:
            before = int(came_from[column])
            row_of[column] = row_of[before] if before >= 0 else new_row
            column = before
    column_of = np.empty(num_rows, dtype=np.int64)
    column_of[row_of[row_of >= 0]] = np.flatnonzero(row_of >= 0)
    return column_of.tolist()
