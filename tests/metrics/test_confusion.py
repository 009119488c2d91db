from __future__ import annotations

import numpy as np
import pytest

from hlcli.metrics import confusion
from hlcli.metrics.confusion import swapped_labels


def test_pairs_by_hand():
    """First image: label 0 missed, 1 and 2 false. Second: 0 missed alone. Third: all right."""
    targets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    predictions = np.array([[0, 1, 1], [0, 1, 0], [0, 0, 1]])
    assert swapped_labels(predictions, targets).tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_counts_are_those_of_a_plain_loop(step: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(confusion, "_ROWS_AT_A_TIME", step)
    generator = np.random.default_rng(0)
    predictions, targets = generator.random((2, 50, 6)) < 0.4
    expected = np.zeros((6, 6), dtype=int)
    for predicted, actual in zip(predictions, targets, strict=True):
        for missed in np.flatnonzero(actual & ~predicted):
            expected[missed, np.flatnonzero(predicted & ~actual)] += 1
    np.testing.assert_array_equal(swapped_labels(predictions, targets), expected)
    assert np.trace(expected) == 0
