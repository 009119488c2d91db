"""F1, thresholds, precision and recall against scikit-learn and against slow loops written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from hlcli.metrics.multilabel import (
    THRESHOLDS,
    above_threshold,
    average_precision,
    f1_curve,
    f1_scores,
    label_precision_recall,
    precision_recall,
    subset_means,
    top_k_predictions,
    tune_threshold,
)

from .samples import sample


def slow_f1(predictions, targets):
    """F1 of two sets given as booleans."""
    both = sum(p and t for p, t in zip(predictions, targets, strict=True))
    total = sum(map(bool, predictions)) + sum(map(bool, targets))
    return 2 * both / total if total else 0.0


def test_one_image_and_one_label_are_enough():
    assert average_precision(np.array([[0.2]]), np.array([[1]])).tolist() == [1.0]
    assert f1_scores(np.array([[True]]), np.array([[1.0]]))[:3] == (1.0, 1.0, 1.0)


def test_average_precision_in_small_chunks_is_the_same(monkeypatch):
    scores, targets = sample(6, 30, 11)
    whole, curve = average_precision(scores, targets), f1_curve(scores, targets)
    monkeypatch.setattr("hlcli.metrics.ranking.CHUNK_ELEMENTS", 70)
    monkeypatch.setattr("hlcli.metrics.multilabel.CHUNK_ELEMENTS", 70)
    np.testing.assert_array_equal(average_precision(scores, targets), whole)
    for part, expected in zip(f1_curve(scores, targets), curve, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_f1_equals_scikit_learn():
    scores, targets = sample(7)
    predictions = scores > 0.6
    predictions[:, 0] = targets[:, 1] = False  # never predicted, never true
    predictions[0] = targets[0] = False
    result = f1_scores(predictions, targets)
    for value, average in zip(result, ("micro", "macro", "samples", None), strict=True):
        np.testing.assert_allclose(value, sk.f1_score(targets, predictions, average=average, zero_division=0))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 6), st.floats(0, 1), st.floats(0, 1))
def test_f1_equals_the_definition(seed, images, labels, share, cut):
    scores, targets = sample(seed, images, labels, share=share)
    predictions = scores > cut
    result = f1_scores(predictions, targets)
    assert result.micro == pytest.approx(slow_f1(predictions.ravel(), targets.ravel()))
    assert result.macro == pytest.approx(
        np.mean([slow_f1(p, t) for p, t in zip(predictions.T, targets.T, strict=True)])
    )
    assert result.samples == pytest.approx(np.mean([slow_f1(p, t) for p, t in zip(predictions, targets, strict=True)]))


@pytest.mark.parametrize(("inclusive", "is_predicted"), [(False, np.greater), (True, np.greater_equal)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_f1_curve_is_f1_at_every_threshold(dtype, inclusive, is_predicted):
    scores, targets = sample(8, 50, 5, steps=20, dtype=dtype)  # scores fall on the thresholds
    curve = f1_curve(scores, targets, inclusive=inclusive)
    for index, threshold in enumerate(THRESHOLDS):
        point = f1_scores(is_predicted(scores.astype(np.float64), threshold), targets)
        for values, expected in zip(curve, point, strict=True):
            np.testing.assert_array_equal(values[index], expected)


def test_f1_curve_counts_more_labels_than_fit_a_byte():
    scores, targets = sample(9, 4, 600, share=0.9)
    curve = f1_curve(scores, targets, [0.0, 0.5])
    assert curve.samples[1] == pytest.approx(f1_scores(scores > 0.5, targets).samples)


def test_f1_curve_leaves_ignored_images_out():
    scores, targets = sample(10, 30, 4)
    ignore = np.random.default_rng(10).random(scores.shape) < 0.3
    curve = f1_curve(scores, targets, [0.4], ignore=ignore)
    expected = [slow_f1(scores[kept, j] > 0.4, targets[kept, j]) for j, kept in enumerate(~ignore.T)]
    np.testing.assert_allclose(curve.per_label[0], expected)


def test_tuned_threshold_is_the_first_with_the_highest_macro_f1():
    scores, targets = sample(11)
    macro = [sk.f1_score(targets, scores > t, average="macro", zero_division=0) for t in THRESHOLDS]
    assert tune_threshold(scores, targets) == THRESHOLDS[int(np.argmax(macro))]
    separated = np.where(targets, 0.9, 0.1)
    assert tune_threshold(separated, targets) == THRESHOLDS[1]  # 0.1 is not above 0.1
    assert tune_threshold(separated, targets, [0.5, 0.3, 0.7]) == 0.5
    assert tune_threshold(separated, targets, [0.1, 0.9]) == 0.1
    assert tune_threshold(separated, targets, [0.1, 0.9], inclusive=True) == 0.9


def test_a_score_on_the_threshold_is_not_above_it():
    assert above_threshold(np.array([[0.5, 0.51]]), 0.5).tolist() == [[False, True]]
    nearest = np.array([[0.1]], dtype=np.float32)  # a little more than 0.1
    assert above_threshold(nearest, 0.1).item() is True
    assert above_threshold(np.array([[0.7]], dtype=np.float32), 0.7).item() is False  # a little less than 0.7
    assert above_threshold(np.array([[0.5, 0.49]]), 0.5, inclusive=True).tolist() == [[True, False]]
    assert above_threshold(np.array([[0.7]], dtype=np.float32), 0.7, inclusive=True).item() is False
    with pytest.raises(ValueError, match="`threshold` to be finite"):
        above_threshold(np.array([[0.5]]), math.inf, inclusive=True)


def test_precision_and_recall_equal_scikit_learn():
    scores, targets = sample(12)
    predictions = scores > 0.5
    result = precision_recall(predictions, targets)
    for value, average, score in [
        (result.CP, "macro", sk.precision_score),
        (result.CR, "macro", sk.recall_score),
        (result.OP, "micro", sk.precision_score),
        (result.OR, "micro", sk.recall_score),
        (result.OF1, "micro", sk.f1_score),
    ]:
        assert value == pytest.approx(score(targets, predictions, average=average, zero_division=0))
    cp, cr, cf1 = result[:3]
    assert cf1 == pytest.approx(2 * cp * cr / (cp + cr))


def test_precision_of_a_label_that_is_never_predicted_is_what_was_asked_for():
    targets = np.array([[1, 0, 1], [1, 0, 0]])
    predictions = np.array([[1, 1, 0], [0, 0, 0]])
    zeros, ones = (
        label_precision_recall(predictions, targets),
        label_precision_recall(predictions, targets, undefined=1),
    )
    assert zeros.precision.tolist() == [1, 0, 0]
    assert zeros.recall.tolist() == [0.5, 0, 0]
    assert ones.precision.tolist() == [1, 0, 1]
    assert ones.recall.tolist() == [0.5, 1, 0]
    assert precision_recall(predictions, targets, undefined=1)[:2] == pytest.approx((2 / 3, 1.5 / 3))
    assert precision_recall(np.zeros_like(targets), targets) == (0, 0, 0, 0, 0, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([2, None]))
def test_top_k_keeps_the_k_best_labels_of_each_image(seed, k, steps):
    scores, _ = sample(seed, 8, 5, steps=steps)
    expected = np.zeros_like(scores, dtype=bool)
    for row, best in enumerate(np.argsort(-scores, axis=1, kind="stable")[:, :k]):
        expected[row, best] = True
    np.testing.assert_array_equal(top_k_predictions(scores, k), expected)
    np.testing.assert_array_equal(top_k_predictions(scores, k, threshold=0.5), expected & (scores > 0.5))


def test_subset_means_are_means_of_the_members():
    assert subset_means([0.0, 0.5, 1.0], {"a": (0, 1), "b": (2,)}) == {"a": 0.25, "b": 1.0}
    assert math.isnan(subset_means([0.5], {"nobody": ()})["nobody"])


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        (np.zeros(3), np.zeros(3), r"`scores` to have shape \[images, labels\], but got \[3\]"),
        (np.zeros((0, 3)), np.zeros((0, 3)), r"but got \[0, 3\]"),
        (np.zeros((2, 3)), np.zeros((3, 2)), r"`targets` to have shape \[2, 3\], but got \[3, 2\]"),
        (np.zeros((2, 3), dtype=int), np.zeros((2, 3)), "`scores` to hold floats, but got int64"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), "`scores` to be finite, but got 6 of 6 values that are not"),
        (np.zeros((2, 3)), np.full((2, 3), -1), "`targets` to hold only 0 and 1, but got -1"),
        (np.zeros((2, 3)), np.full((2, 3), 0.3), r"`targets` to hold only 0 and 1, but got 0\.3"),
    ],
)
def test_wrong_arguments_are_named(scores, targets, message):
    for function in (average_precision, f1_curve, tune_threshold):
        with pytest.raises(ValueError, match=message):
            function(scores, targets)


def test_wrong_choices_are_named():
    scores, targets = sample(13, 4, 2)
    with pytest.raises(ValueError, match="`interpolation` to be one of interpolated, plain, eleven_point, but got 'x'"):
        average_precision(scores, targets, interpolation="x")
    with pytest.raises(ValueError, match="`empty` to be one of skip, zero, nan, but got 'x'"):
        average_precision(scores, targets, empty="x")
    with pytest.raises(ValueError, match="`k` to be at least 1, but got 0"):
        top_k_predictions(scores, 0)
    with pytest.raises(ValueError, match="`thresholds` to hold at least one number"):
        f1_curve(scores, targets, [])
    with pytest.raises(ValueError, match="`threshold` to be finite, but got nan"):
        above_threshold(scores, math.nan)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_f1_does_not_depend_on_the_order_of_images(seed):
    scores, targets = sample(seed, 50, 3, steps=4)
    order = np.random.default_rng(seed).permutation(50)
    before, after = f1_scores(scores > 0.5, targets), f1_scores(scores[order] > 0.5, targets[order])
    assert after[:3] == pytest.approx(before[:3])
