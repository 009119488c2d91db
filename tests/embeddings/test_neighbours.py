"""Nearest neighbours by cosine, against loops over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlcli.embeddings import neighbours
from hlcli.embeddings.neighbours import nearest_neighbours, unit_vectors


def by_hand(vectors: np.ndarray, count: int) -> list[list[int]]:
    unit = unit_vectors(vectors)
    found = []
    for row, vector in enumerate(unit):
        others = [other for other in range(len(unit)) if other != row]
        found.append(sorted(others, key=lambda other: (-float(vector @ unit[other]), other))[:count])
    return found


@given(st.integers(2, 40), st.integers(1, 9), st.integers(1, 50), st.integers(0, 99))
def test_neighbours_are_those_of_all_pairs(size: int, dim: int, count: int, seed: int):
    vectors = np.random.default_rng(seed).normal(size=(size, dim)) + 0.1
    found = nearest_neighbours(vectors, count)
    assert found.numbers.shape == found.cosine.shape == (size, min(count, size - 1))
    unit = unit_vectors(vectors)
    expected = by_hand(vectors, count)
    for row in range(size):
        cosines = [float(unit[row] @ unit[other]) for other in expected[row]]
        np.testing.assert_allclose(found.cosine[row], cosines, atol=1e-12)
        assert row not in found.numbers[row]
        assert len(set(found.numbers[row].tolist())) == found.numbers.shape[1]
    if dim > 1:  # on a line all cosines are 1 or -1
        assert found.numbers.tolist() == expected


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    vectors = np.random.default_rng(0).normal(size=(23, 4))
    whole = nearest_neighbours(vectors, 6)
    monkeypatch.setattr(neighbours, "_ROWS_AT_ONCE", 5)
    parts = nearest_neighbours(vectors, 6)
    np.testing.assert_array_equal(whole.numbers, parts.numbers)
    np.testing.assert_allclose(whole.cosine, parts.cosine, atol=1e-12)


def test_equal_vectors_come_in_their_order_and_empty_ones_are_like_nothing():
    found = nearest_neighbours(np.array([[1.0, 0], [2, 0], [0, 0], [3, 0]]), 3)
    assert found.numbers.tolist() == [[1, 3, 2], [0, 3, 2], [0, 1, 3], [0, 1, 2]]
    many = nearest_neighbours(np.eye(3)[np.arange(90) % 3], 29)  # so many that sorting may mix them up
    assert many.numbers[0].tolist() == list(range(3, 90, 3))
    assert many.numbers[4].tolist() == [1, *range(7, 90, 3)]
    np.testing.assert_allclose(found.cosine[2], 0)
    np.testing.assert_allclose(found.cosine[0], [1, 1, 0])
