"""What is won and lost, and the tables that say so, of a comparison made by hand."""

from __future__ import annotations

import pytest

from hlcli.comparison.results import Comparison, ItemScores, MetricDifference

SCORES = [(0.5, 0.6, 0.1), (0.5, 0.9, 0.2), (0.5, 0.5, 0.3), (0.5, 0.4, 0.9), (0.5, 0.1, 0.8)]
"""Average precision of labels a to e by three models."""


@pytest.fixture
def found() -> Comparison:
    items = [ItemScores("fine", name, 3, scores, scores) for name, scores in zip("abcde", SCORES, strict=True)]
    differences = [MetricDifference(model, "mAP", 0.1 * model, 0.0, 0.2, 0.5, 0.6) for model in (1, 2)]
    return Comparison(
        models=("one", "two", "three"), split="test", num_images=9, values={"mAP": (0.5, 0.6, 0.7)},
        differences=tuple(differences), items=tuple(items), recipes={}, resamples=10, confidence=0.95,
    )  # fmt: skip


def test_a_label_is_won_by_the_model_that_has_more_than_the_first(found: Comparison):
    assert [item.name for item in found.wins(1)] == ["b", "a"]
    assert [item.name for item in found.losses(1)] == ["e", "d"]
    assert [item.name for item in found.wins(2)] == ["d", "e"]
    assert [item.name for item in found.losses(2)] == ["a", "b", "c"]


def test_labels_stand_from_the_largest_gain_to_the_largest_loss_with_their_models_scores(found: Comparison):
    second, third = (table for table in found.tables() if table.title == "labels furthest apart")
    assert second.rows == (
        ("b", "3", "0.5000", "0.9000", "+0.4000"), ("a", "3", "0.5000", "0.6000", "+0.1000"),
        ("d", "3", "0.5000", "0.4000", "-0.1000"), ("e", "3", "0.5000", "0.1000", "-0.4000"),
    )  # fmt: skip
    assert third.head == ("labels", "positives", "AP A", "AP C", "difference")
    assert [(row[0], row[3]) for row in third.rows] == [
        ("d", "0.9000"), ("e", "0.8000"), ("c", "0.3000"), ("b", "0.2000"), ("a", "0.1000"),
    ]  # fmt: skip
    assert third.note == "AP: C is better than A for 2 of 5 labels, worse for 3."
