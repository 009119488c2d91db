"""Thresholds with the highest F1, against trying all of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlcli.metrics.multilabel import above_threshold, f1_scores
from hlcli.metrics.threshold_tuning import tune_label_thresholds, tune_shared_threshold

from .samples import sample


def f1_at(scores, targets, thresholds, by):
    return getattr(f1_scores(above_threshold(scores, tuple(thresholds)), targets), by.removeprefix("F1_"))


def all_places(scores):
    """A threshold below each score, and one above all."""
    values = np.unique(scores)
    return [values[0] / 2, *((values[1:] + values[:-1]) / 2), (1 + values[-1]) / 2]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["F1_micro", "F1_macro"]), st.sampled_from([None, 5]))
def test_thresholds_per_label_are_the_best_of_all(seed, by, steps):
    scores, targets = sample(seed, images=8, labels=3, steps=steps)
    scores = np.clip(scores, 0.01, 0.98)
    found = tune_label_thresholds(scores, targets, 0.5, by=by, min_examples=0)
    best = max(
        f1_at(scores, targets, thresholds, by)
        for thresholds in product(*(all_places(scores[:, label]) for label in range(3)))
    )
    assert f1_at(scores, targets, found, by) == pytest.approx(best)
    assert all(0 < threshold < 1 for threshold in found)


@pytest.mark.parametrize("by", ["F1_micro", "F1_macro", "F1_samples"])
def test_a_shared_threshold_is_the_best_of_its_grid(by):
    scores, targets = sample(3)
    found = tune_shared_threshold(scores, targets, by=by)
    grid = np.arange(1, 200) / 200
    values = [f1_at(scores, targets, (threshold,) * 7, by) for threshold in grid]
    assert f1_at(scores, targets, (found,) * 7, by) == pytest.approx(max(values))


@pytest.mark.parametrize("by", ["F1_micro", "F1_macro"])
def test_labels_with_few_positives_keep_the_shared_threshold(by):
    scores, targets = sample(4, images=60)
    targets[:, 2] = False
    targets[:4, 2] = True
    found = tune_label_thresholds(scores, targets, 0.37, by=by, min_examples=10)
    assert found[2] == 0.37
    assert 0.37 not in found[:2]


def test_tuning_looks_at_no_ignored_decision():
    scores, targets = sample(5, images=60)
    ignore = np.zeros_like(targets)
    ignore[40:] = True
    found = tune_label_thresholds(scores, targets, 0.5, ignore=ignore, min_examples=3)
    assert found == tune_label_thresholds(scores[:40], targets[:40], 0.5, min_examples=3)


def test_a_score_at_the_shared_threshold_is_not_predicted():
    scores, targets = np.array([[0.5], [0.3]]), np.array([[True], [False]])
    assert tune_label_thresholds(scores, targets, 0.5, min_examples=0) == (0.4,)


def test_scores_that_are_all_equal_can_only_be_taken_or_left():
    scores, targets = np.full((6, 2), 0.4), np.eye(6, 2, dtype=bool)
    assert tune_label_thresholds(scores, targets, 0.5, min_examples=0) == (0.2, 0.2)
    assert tune_label_thresholds(scores, targets & False, 0.5, min_examples=0) == (0.5, 0.5)
    with pytest.raises(ValueError, match="F1_micro or F1_macro, but got 'F1_samples'"):
        tune_label_thresholds(scores, targets, 0.5, by="F1_samples")
    with pytest.raises(ValueError, match="one of F1_micro, F1_macro, F1_samples, but got 'mAP'"):
        tune_shared_threshold(scores, targets, by="mAP")
