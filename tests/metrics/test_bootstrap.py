"""Intervals and p values by drawing rows again, against hand-computed numbers and the normal approximation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_bootstrap import paired_bootstrap

from hlcli.metrics.bootstrap import bootstrap, difference, holm, interval, resample


def mean_of(values):
    values = np.asarray(values, dtype=np.float64)
    return lambda rows: {"mean": float(values[rows].mean())}


def test_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found = bootstrap(mean_of(values), 400, resamples=4000)["mean"]
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.value == values.mean()
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    narrow = bootstrap(mean_of(values), 400, resamples=4000, confidence=0.5)["mean"]
    assert found.low < narrow.low < narrow.value < narrow.high < found.high


def test_measures_get_as_many_rows_as_there_are_with_replacement():
    seen = []
    found = bootstrap(lambda rows: seen.append(rows) or {"n": len(rows)}, 7, resamples=20)
    assert found == {"n": (7.0, 7.0, 7.0)}
    assert [rows.dtype for rows in seen] == [np.dtype(np.int64)] * 21
    assert seen[0].tolist() == list(range(7))
    assert all(len(rows) == 7 and rows.min() >= 0 and rows.max() < 7 for rows in seen)
    assert all((np.diff(rows) >= 0).all() for rows in seen)  # in image order: metrics with ties depend on it
    assert any(len(set(rows.tolist())) < 7 for rows in seen)


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    values = np.random.default_rng(1).random(50)
    first = bootstrap(mean_of(values), 50, resamples=100, seed=4)
    assert bootstrap(mean_of(values), 50, resamples=100, seed=4) == first
    assert bootstrap(mean_of(values), 50, resamples=100, seed=5) != first


def test_resamples_without_a_number_are_left_out():
    """The only row that counts is missing in about a third of the draws."""

    def measure(rows):
        return {"known": 2.0 if 0 in rows else math.nan, "never": math.nan}

    found = bootstrap(measure, 5, resamples=200)
    assert found["known"] == (2.0, 2.0, 2.0)
    assert all(math.isnan(number) for number in found["never"])
    pair = paired_bootstrap(measure, measure, 5, resamples=200)
    assert pair["known"] == (0.0, 0.0, 0.0, 1.0)
    assert math.isnan(pair["never"].p_value)


def test_percentiles_and_p_value_by_hand():
    first, second = np.zeros(4), np.array([1.0, 2.0, 3.0, -1.0])
    assert interval(0.5, second, confidence=0.5) == (0.5, 0.5, 2.25)
    found = difference(0.0, 1.5, first, second, confidence=0.5)
    assert found == (1.5, 0.5, 2.25, pytest.approx(2 * (1 + 1) / 5))  # one of four on the other side, and one more
    assert difference(0.0, 1.5, first, np.ones(4)).p_value == pytest.approx(2 * 1 / 5)


def test_a_better_model_is_told_from_an_equal_one():
    """Both fail on the same hard rows, so that the paired interval is much narrower than either one's own."""
    rng = np.random.default_rng(2)
    hardness = rng.random(300)
    first, second = hardness, hardness + 0.05 * rng.random(300)
    found = paired_bootstrap(mean_of(first), mean_of(second), 300, resamples=500)["mean"]
    alone = bootstrap(mean_of(first), 300, resamples=500)["mean"]
    assert found.value == pytest.approx(second.mean() - first.mean())
    assert 0 < found.low < found.value < found.high
    assert found.p_value == pytest.approx(2 / 501)
    assert found.high - found.low < (alone.high - alone.low) / 5
    same = paired_bootstrap(mean_of(first), mean_of(first), 300, resamples=500)["mean"]
    assert same == (0.0, 0.0, 0.0, 1.0)


def test_false_alarms_are_as_rare_as_promised():
    """Two models that differ by chance alone are told apart at 5 % in about one of twenty experiments."""
    rng = np.random.default_rng(3)
    alarms = 0
    for seed in range(200):
        first, second = rng.random(60), rng.random(60)
        found = paired_bootstrap(mean_of(first), mean_of(second), 60, resamples=200, seed=seed)["mean"]
        alarms += found.p_value <= 0.05
    assert 2 <= alarms <= 22


def test_holm_by_hand():
    """The smallest of four is multiplied by 4, the next by 3, …; none falls below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02, math.nan, 0.5])[::2] == pytest.approx([0.04, 0.5])
    assert math.isnan(holm([0.02, math.nan, 0.5])[1])
    assert holm([]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_nor_changes_their_order(p_values):
    adjusted = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    limits = [min(1.0, value * len(p_values) + 1e-12) for value in p_values]
    assert all(after <= limit for limit, after in zip(limits, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.asarray(adjusted)[order]) >= 0).all() if p_values else adjusted == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.integers(0, 99), st.floats(-3, 3))
def test_intervals_stay_inside_what_was_measured_and_move_with_it(values, seed, shift):
    found = bootstrap(mean_of(values), len(values), resamples=40, seed=seed)["mean"]
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    moved = bootstrap(mean_of(np.asarray(values) + shift), len(values), resamples=40, seed=seed)["mean"]
    assert moved == pytest.approx([number + shift for number in found], abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap(mean_of([1.0]), 0), "`num_rows` to be at least 1"),
        (lambda: resample(mean_of([1.0]), 1, resamples=0), "one resample, but got 1 and 0"),
        (lambda: bootstrap(mean_of([1.0]), 1, resamples=3, confidence=95), "`confidence` to be between 0 and 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
