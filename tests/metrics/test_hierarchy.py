"""Hierarchical metrics and consistent scores, against hand-made trees and slow loops over label sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlcli.metrics.hierarchy import (
    consistent_scores,
    hierarchical_f1,
    lift_ignored,
    lift_scores,
    lift_targets,
    orphan_share,
    with_ancestors,
)

# animals (cat, dog), vehicles (car); one level above: things
TWO_LEVELS = ((0, 0, 1),)
THREE_LEVELS = ((1, 0, 1), (2, 0, 1, 1, 0))  # 2, 3 and 5 labels; children of one parent are not side by side


def random_levels(seed, parents, images=12, share=0.3):
    rng = np.random.default_rng(seed)
    sizes = [max(parents[0]) + 1, *(len(index) for index in parents)]
    return [rng.random((images, size)) < share for size in sizes]


def label_set(levels, image, parents):
    """The labels of an image with all their ancestors, as (level, label) pairs."""
    found = set()
    for depth, level in enumerate(levels):
        for label in np.flatnonzero(level[image]):
            found.add((depth, int(label)))
            for above in range(depth - 1, -1, -1):
                label = parents[above][label]
                found.add((above, int(label)))
    return found


def test_wrong_label_under_the_right_parent_is_half_a_success():
    targets = [np.array([[1, 0]]), np.array([[1, 0, 0]])]  # animals: cat
    sibling = [np.array([[1, 0]]), np.array([[0, 1, 0]])]  # animals: dog
    stranger = [np.array([[0, 1]]), np.array([[0, 0, 1]])]  # vehicles: car
    assert hierarchical_f1(targets, targets, TWO_LEVELS) == (1, 1, 1)
    assert hierarchical_f1(sibling, targets, TWO_LEVELS) == (0.5, 0.5, 0.5)
    assert hierarchical_f1(stranger, targets, TWO_LEVELS) == (0, 0, 0)


def test_missing_ancestors_are_added_before_counting():
    targets = [np.array([[1, 0]]), np.array([[1, 0, 0]])]
    only_fine = [np.array([[0, 0]]), np.array([[1, 0, 0]])]
    only_coarse = [np.array([[1, 0]]), np.array([[0, 0, 0]])]
    assert hierarchical_f1(only_fine, targets, TWO_LEVELS) == (1, 1, 1)
    assert hierarchical_f1(only_coarse, targets, TWO_LEVELS) == pytest.approx((1, 0.5, 2 / 3))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([TWO_LEVELS, THREE_LEVELS]), st.floats(0, 0.6))
def test_hierarchical_f1_equals_counting_of_sets(seed, parents, share):
    predictions, targets = random_levels(seed, parents, share=share), random_levels(seed + 1, parents)
    predicted = [label_set(predictions, image, parents) for image in range(12)]
    actual = [label_set(targets, image, parents) for image in range(12)]
    hits = sum(len(p & a) for p, a in zip(predicted, actual, strict=True))
    precision = hits / max(1, sum(map(len, predicted)))
    recall = hits / max(1, sum(map(len, actual)))
    f1 = 2 * precision * recall / (precision + recall) if hits else 0
    assert hierarchical_f1(predictions, targets, parents) == pytest.approx((precision, recall, f1))


def test_orphans_are_predictions_without_their_direct_parent():
    coarse = np.array([[1, 0], [0, 0]])
    fine = np.array([[1, 0, 1], [0, 1, 0]])  # cat has its parent, car and dog have none
    assert orphan_share([coarse, fine], TWO_LEVELS) == pytest.approx(2 / 3)
    assert orphan_share([coarse, np.zeros((2, 3))], TWO_LEVELS) == 0
    assert orphan_share([np.ones((2, 3))], ()) == 0


def test_label_sets_with_ancestors_have_no_orphans():
    levels = random_levels(3, THREE_LEVELS)
    assert orphan_share(levels, THREE_LEVELS) > 0
    assert orphan_share(with_ancestors(levels, THREE_LEVELS), THREE_LEVELS) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_consistent_scores_never_exceed_a_parent(seed):
    rng = np.random.default_rng(seed)
    scores = [rng.random((6, size)) for size in (2, 3, 5)]
    capped = consistent_scores(scores, THREE_LEVELS)
    np.testing.assert_array_equal(capped[0], scores[0])
    for child in range(5):
        parent = THREE_LEVELS[1][child]
        grandparent = THREE_LEVELS[0][parent]
        lowest = np.minimum(np.minimum(scores[2][:, child], scores[1][:, parent]), scores[0][:, grandparent])
        np.testing.assert_array_equal(capped[2][:, child], lowest)
    assert orphan_share([level > 0.5 for level in capped], THREE_LEVELS) == 0


def test_lifted_scores_are_those_of_the_best_child():
    fine = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]], dtype=np.float32)
    coarse, middle, same = lift_scores(fine, THREE_LEVELS)
    np.testing.assert_array_equal(middle, np.array([[0.5, 0.4, 0.1]], dtype=np.float32))
    np.testing.assert_array_equal(coarse, np.array([[0.4, 0.5]], dtype=np.float32))
    assert same is fine
    assert coarse.dtype == np.float32


def test_lifted_targets_are_true_when_a_child_is():
    fine = np.array([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 0]])
    coarse, middle, _ = lift_targets(fine, THREE_LEVELS)
    assert middle.tolist() == [[True, False, False], [False, False, False], [False, True, True]]
    assert coarse.tolist() == [[False, True], [False, False], [True, True]]
    assert with_ancestors([coarse & False, middle & False, fine == 1], THREE_LEVELS)[0].tolist() == coarse.tolist()


def test_intentonomy_groups_lift_as_published():
    """Fine → middle → coarse of the 28 intents: `work I like` alone is a good job, and financial success."""
    middle_of = (9, 12, 8, 4, 5, 1, 5, 4, 4, 4, 11, 3, 13, 2, 6, 7, 7, 10, 14, 4, 5, 5, 8, 8, 0, 10, 14, 0)
    coarse_of = (0, 0, 1, 1, 2, 2, 3, 4, 4, 4, 5, 6, 7, 8, 8)
    coarse, middle, _ = lift_targets(np.eye(28), (coarse_of, middle_of))
    assert middle.sum(axis=0).tolist() == [2, 1, 1, 1, 5, 4, 1, 2, 3, 1, 2, 1, 1, 1, 2]
    assert coarse.sum(axis=0).tolist() == [3, 2, 9, 1, 6, 2, 1, 1, 3]
    assert (np.flatnonzero(middle[27]).item(), np.flatnonzero(coarse[27]).item()) == (0, 0)


@pytest.mark.parametrize(
    ("shapes", "parents", "message"),
    [
        ([(1, 2), (1, 3)], (), "`parents` to hold 1 lists, but got 0"),
        ([(1, 2), (2, 3)], TWO_LEVELS, r"the same number of images, but got \[1, 2\]"),
        ([(1, 2), (1, 4)], TWO_LEVELS, r"`parents\[0\]` to hold 4 indices, but got 3"),
        ([(1, 3), (1, 3)], TWO_LEVELS, r"`parents\[0\]` to use every index in 0\.\.2, but got \[0, 0, 1\]"),
    ],
)
def test_levels_that_do_not_fit_the_tree_are_refused(shapes, parents, message):
    levels = [np.zeros(shape) for shape in shapes]
    with pytest.raises(ValueError, match=message):
        orphan_share(levels, parents)
    with pytest.raises(ValueError, match=message):
        consistent_scores(levels, parents)
    with pytest.raises(ValueError, match=message):
        hierarchical_f1(levels, levels, parents)


def test_predictions_and_targets_of_different_images_are_refused():
    levels, others = random_levels(0, TWO_LEVELS, images=3), random_levels(0, TWO_LEVELS, images=4)
    with pytest.raises(ValueError, match="to have the same shapes"):
        hierarchical_f1(levels, others, TWO_LEVELS)
    with pytest.raises(ValueError, match=r"`parents\[0\]` to use every index"):
        lift_scores(np.zeros((1, 2)), ((0, 2),))


def test_parent_of_ignored_children_is_ignored_unless_another_child_is_on():
    parents = ((0, 0, 1, 1),)
    targets = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1]], dtype=bool)
    ignore = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=bool)
    coarse, fine = lift_ignored(targets, ignore, parents)
    assert coarse.tolist() == [[True, False], [False, False], [True, False]]
    assert fine.tolist() == ignore.tolist()
