"""Average precision against scikit-learn and against a slow loop written from the definition."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from hlcli.metrics.multilabel import average_precision, mean_average_precision
from hlcli.metrics.ranking import descending_order

from .samples import sample


def slow_average_precision(scores, targets, kind="interpolated"):
    """One label, by the book: precision and recall after every image of the sorted list, points, areas."""
    ranked = sorted(range(len(scores)), key=lambda i: -scores[i])  # sorted() is stable
    positives = sum(bool(t) for t in targets)
    if positives == 0:
        return math.nan
    recalls, precisions, hits = [0.0], [0.0], 0
    for rank, image in enumerate(ranked, start=1):
        hits += bool(targets[image])
        recalls.append(hits / positives)
        precisions.append(hits / rank)
    if kind == "plain":
        return (
            sum(p for p, r, before in zip(precisions[1:], recalls[1:], recalls, strict=False) if r > before) / positives
        )
    recalls.append(1.0)
    precisions.append(0.0)
    if kind == "eleven_point":
        # recall >= j / 10 in whole numbers: 3 of 10 positives are a recall of 0.3, whatever floats make of it
        reached = [
            [p for p, r in zip(precisions, recalls, strict=True) if round(r * positives) * 10 >= j * positives]
            for j in range(11)
        ]
        return sum(max(points) for points in reached) / 11
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    return sum((recalls[i + 1] - recalls[i]) * precisions[i + 1] for i in range(len(recalls) - 1))


@pytest.mark.parametrize("kind", ["interpolated", "plain", "eleven_point"])
@pytest.mark.parametrize("steps", [None, 10], ids=["distinct", "ties"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_average_precision_equals_the_definition(kind, steps, dtype):
    scores, targets = sample(1, steps=steps, dtype=dtype)
    expected = [slow_average_precision(scores[:, j], targets[:, j], kind) for j in range(scores.shape[1])]
    np.testing.assert_allclose(average_precision(scores, targets, interpolation=kind), expected, rtol=0, atol=1e-12)


def test_average_precision_of_a_hand_computed_label():
    scores = np.array([[0.9], [0.8], [0.7], [0.6], [0.5]])
    targets = np.array([[0], [1], [0], [1], [1]])  # precisions at the positives: 1/2, 2/4, 3/5
    assert average_precision(scores, targets, interpolation="plain")[0] == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert average_precision(scores, targets)[0] == pytest.approx(3 / 5)
    assert average_precision(scores, targets, interpolation="eleven_point")[0] == pytest.approx(3 / 5)


@pytest.mark.parametrize("steps", [None, 10], ids=["distinct", "ties"])
def test_plain_average_precision_with_merged_ties_equals_scikit_learn(steps):
    scores, targets = sample(2, steps=steps)
    expected = sk.average_precision_score(targets, scores, average=None)
    result = average_precision(scores, targets, interpolation="plain", merge_ties=True)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 4), st.sampled_from([1, 2, 5, None]))
def test_average_precision_holds_for_any_size_and_any_ties(seed, images, labels, steps):
    scores, targets = sample(seed, images, labels, steps=steps, dtype=np.float32)
    for kind in ("interpolated", "plain", "eleven_point"):
        expected = [slow_average_precision(scores[:, j], targets[:, j], kind) for j in range(labels)]
        np.testing.assert_allclose(average_precision(scores, targets, interpolation=kind), expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["interpolated", "plain", "eleven_point"]))
def test_order_of_images_does_not_matter(seed, kind):
    order = np.random.default_rng(seed).permutation(50)
    scores, targets = sample(seed, 50, 3)
    before = average_precision(scores, targets, interpolation=kind)
    np.testing.assert_array_equal(average_precision(scores[order], targets[order], interpolation=kind), before)
    tied, targets = sample(seed, 50, 3, steps=4)
    before = average_precision(tied, targets, interpolation=kind, merge_ties=True)
    after = average_precision(tied[order], targets[order], interpolation=kind, merge_ties=True)
    np.testing.assert_array_equal(after, before)


def test_tied_images_count_in_their_given_order_unless_merged():
    scores, targets = np.full((4, 1), 0.5), np.array([[1], [1], [0], [0]])
    assert average_precision(scores, targets)[0] == 1.0
    assert average_precision(scores, targets[::-1])[0] == 0.5
    assert average_precision(scores, targets, merge_ties=True)[0] == 0.5


@pytest.mark.parametrize("merge_ties", [False, True])
@pytest.mark.parametrize("kind", ["interpolated", "plain", "eleven_point"])
def test_average_precision_is_one_when_all_images_are_positive(kind, merge_ties):
    scores, _ = sample(3, 9, 2, steps=3)
    result = average_precision(scores, np.ones_like(scores), interpolation=kind, merge_ties=merge_ties)
    np.testing.assert_array_equal(result, [1.0, 1.0])


def test_label_without_positives_follows_the_stated_policy():
    scores, targets = sample(4, 20, 3)
    targets[:, 1] = False
    skipped = average_precision(scores, targets)
    assert np.isnan(skipped).tolist() == [False, True, False]
    assert average_precision(scores, targets, empty="zero")[1] == 0.0
    assert mean_average_precision(skipped) == pytest.approx((skipped[0] + skipped[2]) / 2)
    assert mean_average_precision(skipped, "zero") == pytest.approx((skipped[0] + skipped[2]) / 3)
    assert math.isnan(mean_average_precision(skipped, "nan"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(mean_average_precision([math.nan, math.nan]))


def test_ignored_images_are_left_out_of_their_label_only():
    scores, targets = sample(5, 40, 3, steps=8)
    ignore = np.random.default_rng(5).random(scores.shape) < 0.2
    ignore[:, 2] = False
    for merge_ties in (False, True):
        result = average_precision(scores, targets, ignore=ignore, merge_ties=merge_ties)
        expected = [
            average_precision(scores[kept, j, None], targets[kept, j, None], merge_ties=merge_ties)[0]
            for j, kept in enumerate(~ignore.T)
        ]
        np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("images", [1, 2, 3, 64, 65, 1000])
def test_descending_order_is_a_stable_sort(images, dtype):
    rng = np.random.default_rng(images)
    scores = rng.normal(size=images).astype(dtype).astype(np.float64)
    scores[rng.random(images) < 0.3] = 0.0
    scores[rng.random(images) < 0.2] = -0.0
    scores[rng.random(images) < 0.1] = -np.inf
    np.testing.assert_array_equal(descending_order(scores), np.argsort(-scores, kind="stable"))


def test_scores_that_differ_in_the_last_bit_only_are_told_apart():
    scores = 0.5 + np.arange(100) * np.spacing(0.5)
    np.testing.assert_array_equal(descending_order(scores), np.arange(100)[::-1])
