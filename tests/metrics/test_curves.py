from __future__ import annotations

import numpy as np
from sklearn.metrics import precision_recall_curve

from hlcli.metrics.curves import precision_recall_curves


def test_precision_at_recalls_by_hand():
    """Ranked: true, false, true, true: precisions 1, 2/3, 3/4; the second is raised to what follows."""
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    targets = np.array([[1], [0], [1], [1]])
    found = precision_recall_curves(scores, targets, [0, 1 / 3, 0.5, 2 / 3, 1])
    np.testing.assert_allclose(found, [[1, 1, 0.75, 0.75, 0.75]])


def test_left_out_images_and_labels_without_positives():
    scores = np.array([[0.9, 0.1], [0.8, 0.3], [0.7, 0.2]])
    targets = np.array([[0, 0], [1, 0], [1, 0]])
    ignore = np.array([[1, 0], [0, 0], [0, 0]])
    found = precision_recall_curves(scores, targets, [0.5, 1], ignore=ignore)
    np.testing.assert_allclose(found, [[1, 1], [np.nan, np.nan]])


def test_agrees_with_scikit_learn_where_scores_tie():
    generator = np.random.default_rng(0)
    scores, targets = np.round(generator.random((60, 1)), 1), generator.random((60, 1)) < 0.4
    recalls = np.linspace(0, 1, 21)
    precision, recall, _ = precision_recall_curve(targets[:, 0], scores[:, 0])
    expected = [precision[:-1][recall[:-1] >= value - 1e-9].max() for value in recalls]
    np.testing.assert_allclose(precision_recall_curves(scores, targets, recalls)[0], expected)
