from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hlcli.data.datasets.assignment import best_assignment


@st.composite
def worths(draw: st.DrawFn) -> np.ndarray:
    num_rows = draw(st.integers(0, 4))
    num_columns = draw(st.integers(num_rows, 6))
    return draw(arrays(np.float64, (num_rows, num_columns), elements=st.integers(-3, 9).map(float)))


@given(worths())
@settings(max_examples=150, deadline=None)
def test_no_other_pairing_is_worth_more(worth):
    rows, columns = range(len(worth)), best_assignment(worth)
    assert len(set(columns)) == len(rows)
    best = max(
        sum(worth[row, column] for row, column in zip(rows, chosen, strict=True))
        for chosen in permutations(range(worth.shape[1]), len(rows))
    )
    assert sum(worth[row, column] for row, column in zip(rows, columns, strict=True)) == best


def test_hidden_pairs_are_found_among_many():
    rng = np.random.default_rng(0)
    hidden = rng.permutation(700)[:300]
    worth = rng.random((300, 700)) * 0.9
    worth[np.arange(300), hidden] += 0.9
    assert best_assignment(worth) == hidden.tolist()


def test_rows_without_a_column_of_their_own_are_refused():
    with pytest.raises(ValueError, match=r"got the shape \[3, 2\]"):
        best_assignment(np.zeros((3, 2)))
