"""Temperature and Platt's scaling, against scikit-learn and on labels that are hard to fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from hlcli.metrics.calibration import expected_calibration_error, negative_log_likelihood
from hlcli.metrics.calibration_fit import fit_calibration
from hlcli.metrics.calibration_maps import CalibrationMap, LevelMap, logit
from hlcli.metrics.multilabel import above_threshold, average_precision


def skewed(seed, images=400, labels=4, slope=0.5, intercept=-1.0):
    """Scores that are too sure and too high, with truth drawn from what they should be."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (images, labels))
    targets = rng.random((images, labels)) < 1 / (1 + np.exp(-(slope * logits + intercept)))
    return (1 / (1 + np.exp(-logits))).astype(np.float32), targets


def by_scikit_learn(scores, targets, *, intercept):
    """Each decision twice, as a positive and as a negative, with Platt's soft targets as weights."""
    x, positives = logit(scores)[:, None], targets.sum()
    soft = np.where(targets, (positives + 1) / (positives + 2), 1 / (len(targets) - positives + 2))
    model = LogisticRegression(C=np.inf, fit_intercept=intercept, tol=1e-12, max_iter=1000)
    truth = np.concatenate([np.ones(len(x)), np.zeros(len(x))])
    model.fit(np.concatenate([x, x]), truth, sample_weight=np.concatenate([soft, 1 - soft]))
    return model.coef_[0, 0], float(np.ravel(model.intercept_)[0])


@pytest.mark.parametrize("seed", range(3))
def test_fits_equal_scikit_learn(seed):
    scores, targets = skewed(seed)
    level = fit_calibration("temperature", [scores], [targets], [None]).map.levels[0]
    expected, _ = by_scikit_learn(scores.ravel(), targets.ravel(), intercept=False)
    assert level.slopes == pytest.approx((expected,), rel=1e-4)
    assert level.intercepts == (0.0,)
    level = fit_calibration("platt", [scores], [targets], [None]).map.levels[0]
    for label in range(4):
        expected = by_scikit_learn(scores[:, label], targets[:, label], intercept=True)
        assert (level.slopes[label], level.intercepts[label]) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_what_was_skewed_is_straightened():
    scores, targets = skewed(0, images=4000)
    found = {method: fit_calibration(method, [scores], [targets], [None]).map for method in ("temperature", "platt")}
    assert np.array(found["platt"].levels[0].slopes) == pytest.approx(0.5, abs=0.06)
    assert np.array(found["platt"].levels[0].intercepts) == pytest.approx(-1.0, abs=0.15)
    fresh, truth = skewed(1, images=4000)
    errors = [negative_log_likelihood(fresh, truth)]
    errors += [negative_log_likelihood(found[method].apply([fresh])[0], truth) for method in ("temperature", "platt")]
    assert errors == sorted(errors, reverse=True)
    assert expected_calibration_error(found["platt"].apply([fresh])[0], truth) < 0.02


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["temperature", "platt"]), st.floats(0.3, 5))
def test_no_label_changes_the_order_of_its_images(seed, method, spread):
    """Average precision stays the same to the last digit, with ties and very sure scores too."""
    rng = np.random.default_rng(seed)
    logits = np.round(rng.normal(0, spread, (60, 3)), int(rng.integers(1, 6)))
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    targets = rng.random((60, 3)) < rng.random((60, 3))
    found = fit_calibration(method, [scores], [targets], [None], min_examples=3).map
    calibrated = found.apply([scores])[0]
    np.testing.assert_array_equal(average_precision(calibrated, targets), average_precision(scores, targets))
    assert all(0.05 <= slope <= 20 for slope in found.levels[0].slopes)
    if method == "temperature":
        before = negative_log_likelihood(scores, targets)
        assert negative_log_likelihood(calibrated, targets) <= before + 0.02  # Platt's targets move it a little


def test_separable_and_contrary_labels_end_finite():
    """One label's scores tell all images apart, one's tell them the wrong way round, one's say nothing."""
    rng = np.random.default_rng(0)
    targets = rng.random((100, 3)) < 0.4
    logits = np.where(targets, 4.0, -4.0) + rng.normal(0, 0.1, (100, 3))
    logits[:, 1] *= -1
    logits[:, 2] = 0.7
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    level = fit_calibration("platt", [scores], [targets], [None]).map.levels[0]
    assert np.isfinite([*level.slopes, *level.intercepts]).all()
    assert level.slopes[0] < 3
    assert level.slopes[1] == 0.05  # as flat as is allowed: a negative slope would turn the images round
    assert level.apply(scores)[:, 2].mean() == pytest.approx(targets[:, 2].mean(), abs=0.02)
    certain = fit_calibration("temperature", [scores[:, :1]], [targets[:, :1]], [None]).map.levels[0]
    assert certain.slopes[0] < 3


def test_scores_of_0_and_1_are_no_obstacle():
    scores = np.array([[0.0], [1.0], [0.5], [np.float32(1 - 2**-24)], [np.float32(1e-45)]], dtype=np.float32)
    targets = np.array([[0], [1], [1], [0], [0]], dtype=bool)
    level = fit_calibration("temperature", [scores], [targets], [None]).map.levels[0]
    found = level.apply(scores)[:, 0]
    assert list(np.argsort(found)) == [0, 4, 2, 3, 1]
    assert len(set(found.tolist())) == 5


def test_labels_with_few_examples_share_what_is_found_for_their_level():
    scores, targets = skewed(0, images=80)
    targets[:, 2] = False
    targets[:3, 2] = True
    found = fit_calibration("platt", [scores], [targets], [None], min_examples=10)
    assert found.shared == ((2,),)
    flat = scores.reshape(-1, 1), targets.reshape(-1, 1)
    pooled = fit_calibration("platt", [flat[0]], [flat[1]], [None]).map.levels[0]
    assert found.map.levels[0].slopes[2] == pytest.approx(pooled.slopes[0])
    assert found.map.levels[0].intercepts[2] == pytest.approx(pooled.intercepts[0])
    assert found.map.levels[0].slopes[1] != found.map.levels[0].slopes[2]
    few_negatives = targets.copy()
    few_negatives[:, 2] = ~targets[:, 2]
    assert fit_calibration("platt", [scores], [few_negatives], [None], min_examples=10).shared == ((2,),)


def test_soft_targets_are_platts():
    """One positive at a logit of 1 and one negative at -1: targets 2/3 and 1/3, which a slope of ln 2 meets."""
    scores = 1 / (1 + np.exp(-np.array([[1.0], [-1.0]])))
    level = fit_calibration("temperature", [scores], [np.array([[True], [False]])], [None]).map.levels[0]
    assert level.slopes == pytest.approx((np.log(2),), rel=1e-6)
    scores, targets = np.full((5, 1), scores[0, 0]), np.array([[True], [True], [True], [True], [False]])
    level = fit_calibration("temperature", [scores], [targets], [None]).map.levels[0]
    share = (4 * 5 / 6 + 1 / 3) / 5
    assert level.slopes == pytest.approx((np.log(share / (1 - share)),), rel=1e-6)


def test_as_many_examples_as_are_asked_for_are_enough_and_ignored_ones_are_none():
    scores, targets = skewed(0, images=40, labels=3)
    targets[:, 0] = np.arange(40) < 10
    targets[:, 1] = np.arange(40) >= 10
    targets[:, 2] = np.arange(40) < 20
    assert fit_calibration("platt", [scores], [targets], [None], min_examples=10).shared == ((),)
    assert fit_calibration("platt", [scores], [targets], [None], min_examples=11).shared == ((0, 1),)
    ignore = np.zeros_like(targets)
    ignore[:1, 0] = True  # nine positives are left,
    ignore[9:10, 1] = True  # nine negatives,
    ignore[:10, 2] = True  # ten of both
    assert fit_calibration("platt", [scores], [targets], [ignore], min_examples=10).shared == ((0, 1),)


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_ignored_decisions_count_nowhere(method):
    scores, targets = skewed(0, images=200, labels=1)
    ignore = np.zeros_like(targets)
    ignore[::3] = True
    kept = ~ignore[:, 0]
    found = fit_calibration(method, [scores], [targets], [ignore]).map
    assert found == fit_calibration(method, [scores[kept]], [targets[kept]], [None]).map
    nothing = fit_calibration(method, [scores], [targets], [np.ones_like(targets)]).map.levels[0]
    assert (nothing.slopes, nothing.intercepts) == ((1.0,), (0.0,))


def test_levels_are_calibrated_by_themselves():
    first, second = skewed(0), skewed(1, labels=2, slope=2.0)
    found = fit_calibration("temperature", [first[0], second[0]], [first[1], second[1]], [None, None]).map
    assert [level.slopes[0] for level in found.levels] == pytest.approx(
        [fit_calibration("temperature", [s], [t], [None]).map.levels[0].slopes[0] for s, t in (first, second)]
    )


def test_none_changes_nothing():
    scores, targets = skewed(0)
    found = fit_calibration("none", [scores], [targets], [None]).map
    assert found.apply([scores])[0] is scores


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_moved_thresholds_keep_what_is_predicted_and_find_back(seed, threshold):
    rng = np.random.default_rng(seed)
    scores = rng.random((50, 3)).astype(np.float32)
    one = LevelMap((float(rng.uniform(0.2, 4)),), (float(rng.normal()),))
    each = LevelMap(tuple(rng.uniform(0.2, 4, 3).tolist()), tuple(rng.normal(size=3).tolist()))
    for level in (one, each):
        moved = level.move(threshold)
        assert isinstance(moved, tuple) == (level is each)
        before, after = above_threshold(scores, threshold), above_threshold(level.apply(scores), moved)
        near = np.abs(scores - threshold) < 1e-9
        assert ((before == after) | near).all()
        assert np.array(level.inverse().move(moved)) == pytest.approx(threshold)


def test_maps_come_back_from_json():
    scores, targets = skewed(0)
    found = fit_calibration("platt", [scores], [targets], [None]).map
    told = json.loads(json.dumps(found.to_json()))
    assert CalibrationMap.from_json(told, [4]) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "by 'magic' is not known"),
        ({"levels": []}, "has not one map for each of 1 levels"),
        ({"levels": [{"slopes": [1.0, 2.0], "intercepts": [0.0, 0.0]}]}, "2 slopes and 2 intercepts for 4 labels"),
        ({"levels": [{"slopes": [1.0], "intercepts": []}]}, "1 slopes and 0 intercepts"),
        ({"levels": [{"slopes": [-1.0], "intercepts": [0.0]}]}, "which is not positive"),
        ({"levels": [{"slopes": [1e999], "intercepts": [0.0]}]}, "no finite numbers"),
        ({"levels": [{"slopes": ["1"], "intercepts": [0.0]}]}, "no finite numbers"),
    ],
)
def test_maps_that_mean_nothing_are_refused(change, message):
    told = {"method": "temperature", "levels": [{"slopes": [1.0], "intercepts": [0.0]}], **change}
    with pytest.raises(ValueError, match=message):
        CalibrationMap.from_json(told, [4])
