"""Calibration errors, against hand-computed numbers and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from hlcli.metrics.calibration import brier_score, expected_calibration_error, negative_log_likelihood, reliability

from .samples import sample

SCORES = np.array([[0.1, 0.9], [0.2, 0.6], [0.5, 0.7], [0.0, 1.0]])
TARGETS = np.array([[0, 1], [1, 1], [0, 0], [0, 1]])


def test_two_bins_by_hand():
    """0.1, 0.2, 0.5 and 0 are in (0, 0.5], with one positive; 0.9, 0.6, 0.7 and 1 above, with three."""
    low, high = reliability(SCORES, TARGETS, bins=2)
    assert low == (0.0, 0.5, 4, pytest.approx(0.2), 0.25)
    assert high == (0.5, 1.0, 4, pytest.approx(0.8), 0.75)
    assert expected_calibration_error(SCORES, TARGETS, bins=2) == pytest.approx(0.05)
    assert expected_calibration_error(SCORES, TARGETS, bins=1) == pytest.approx(0.0)


def test_empty_bins_are_told_and_count_nothing():
    rows = reliability(np.array([[0.95, 0.92]]), np.array([[1, 0]]), bins=10)
    assert [row.count for row in rows] == [0] * 9 + [2]
    assert [math.isnan(number) for number in rows[0][3:]] == [True, True]
    assert expected_calibration_error(np.array([[0.95, 0.92]]), np.array([[1, 0]]), bins=10) == pytest.approx(0.435)


def test_brier_score_and_log_likelihood_by_hand():
    scores, targets = np.array([[0.75, 0.5]]), np.array([[1, 0]])
    assert brier_score(scores, targets) == pytest.approx((0.25**2 + 0.5**2) / 2)
    assert negative_log_likelihood(scores, targets) == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    certain = negative_log_likelihood(np.array([[0.0]]), np.array([[1]]))
    assert certain == pytest.approx(-math.log(1e-12))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("steps", [None, 20])
@pytest.mark.parametrize("bins", [1, 4, 10, 15])
def test_reliability_equals_scikit_learn(dtype, steps, bins):
    scores, targets = sample(bins, images=200, steps=steps, dtype=dtype)
    rows = [row for row in reliability(scores, targets, bins=bins) if row.count]
    fractions, means = calibration_curve(targets.ravel(), scores.ravel().astype(np.float64), n_bins=bins)
    np.testing.assert_allclose([row.fraction_positive for row in rows], fractions)
    np.testing.assert_allclose([row.mean_score for row in rows], means)


def test_scores_of_probability_equal_scikit_learn():
    scores, targets = sample(5, images=200)
    flat = targets.ravel(), scores.ravel()
    assert brier_score(scores, targets) == pytest.approx(brier_score_loss(*flat))
    inside = np.clip(scores, 1e-6, 1 - 1e-6)
    assert negative_log_likelihood(inside, targets) == pytest.approx(log_loss(targets.ravel(), inside.ravel()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_properties_of_the_calibration_error(seed, bins):
    scores, targets = sample(seed, images=30)
    error = expected_calibration_error(scores, targets, bins=bins)
    gap = abs(scores.mean() - targets.mean())
    assert gap - 1e-12 <= error <= 1  # with one bin it is the gap; more bins can only find more
    rows = reliability(scores, targets, bins=bins)
    assert sum(row.count for row in rows) == scores.size
    assert all(row.low - 1e-12 <= row.mean_score <= row.high + 1e-12 for row in rows if row.count)
    order = np.random.default_rng(seed).permutation(30)
    assert expected_calibration_error(scores[order], targets[order], bins=bins) == pytest.approx(error)
    assert expected_calibration_error(targets.astype(float), targets, bins=bins) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_ignored_decisions_count_nowhere(seed):
    scores, targets = sample(seed, images=20, labels=1)
    ignore = np.zeros((20, 1), dtype=bool)
    ignore[::3] = True
    kept = ~ignore[:, 0]
    for measure in (expected_calibration_error, brier_score, negative_log_likelihood):
        assert measure(scores, targets, ignore=ignore) == pytest.approx(measure(scores[kept], targets[kept]))
        assert math.isnan(measure(scores, targets, ignore=np.ones((20, 1))))


@pytest.mark.parametrize(
    ("scores", "targets", "arguments", "message"),
    [
        ([[1.5]], [[1]], {}, "in 0..1, but got 1.5 to 1.5"),
        ([[-0.5]], [[1]], {}, "in 0..1"),
        ([[0.5]], [[2]], {}, "to hold only 0 and 1"),
        ([[0.5]], [[1, 0]], {}, r"`targets` to have shape \[1, 1\]"),
        ([[0.5]], [[1]], {"bins": 0}, "`bins` to be at least 1"),
        ([[0.5]], [[1]], {"ignore": [[0, 0]]}, "`ignore` to have shape"),
    ],
)
def test_what_cannot_be_meant_is_refused(scores, targets, arguments, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(scores, targets, **arguments)
