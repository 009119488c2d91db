"""The summary of an evaluation: names, protocols, policies, text and JSON."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest

from hlcli.data.labels import LabelSpace
from hlcli.metrics import summary
from hlcli.metrics.hierarchy import hierarchical_f1, lift_scores, lift_targets, orphan_share
from hlcli.metrics.multilabel import average_precision, f1_scores, precision_recall, tune_threshold
from hlcli.metrics.results import as_gain
from hlcli.metrics.summary import MetricOptions, metric_names, summarise

PARENTS = ((1, 0, 1), (2, 0, 1, 1, 0))
TREE = LabelSpace.from_parents(
    [["c0", "c1"], ["m0", "m1", "m2"], ["f0", "f1", "f2", "f3", "f4"]], PARENTS, {"easy": (0, 1), "hard": (4,)}
)
MULTILABEL = ["mAP", "F1_micro", "F1_macro", "F1_samples", "CP", "CR", "CF1", "OP", "OR", "OF1"]
TOP3 = [f"{name}_top3" for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")]


def scores_and_targets(seed, images=40):
    """Scores of every level that disagree a little with the tree, and targets that agree."""
    rng = np.random.default_rng(seed)
    fine = rng.random((images, 5)) < 0.3
    targets = lift_targets(fine, PARENTS)
    return [np.clip(0.6 * rng.random(t.shape) + 0.4 * t, 0, 1) for t in targets], targets


def test_names_and_their_order():
    metrics = summarise(*scores_and_targets(0), TREE)
    above = [f"{level}/{name}" for level in ("middle", "coarse") for name in [*MULTILABEL, "threshold"]]
    tree = [f"hierarchy/{name}" for name in ("precision", "recall", "F1", "orphans")]
    assert list(metrics) == [*MULTILABEL, *TOP3, "threshold", *above, *tree, "subset/easy", "subset/hard"]


def test_one_level_has_plain_names_only():
    scores, targets = scores_and_targets(1)
    metrics = summarise(scores[-1:], targets[-1:], LabelSpace.flat("abcde"))
    assert list(metrics) == [*MULTILABEL, *TOP3, "threshold"]


def test_every_level_is_measured_at_its_own_threshold():
    scores, targets = scores_and_targets(2)
    metrics = summarise(scores, targets, TREE)
    for prefix, s, t in zip(("coarse/", "middle/", ""), scores, targets, strict=True):
        threshold = tune_threshold(s, t)
        f1 = f1_scores(s > threshold, t)
        assert metrics[f"{prefix}threshold"] == threshold
        assert metrics[f"{prefix}mAP"] == pytest.approx(average_precision(s, t).mean())
        assert (metrics[f"{prefix}F1_macro"], metrics[f"{prefix}F1_samples"]) == (f1.macro, f1.samples)
        assert tuple(metrics[f"{prefix}{name}"] for name in MULTILABEL[4:]) == precision_recall(s > threshold, t)


def test_thresholds_of_one_split_serve_another():
    val, test = scores_and_targets(3), scores_and_targets(4)
    thresholds = summarise(*val, TREE).thresholds
    metrics = summarise(*test, TREE, thresholds=thresholds)
    assert metrics.thresholds == thresholds
    assert metrics["F1_macro"] == f1_scores(test[0][-1] > thresholds[-1], test[1][-1]).macro
    assert metrics["F1_macro"] <= summarise(*test, TREE)["F1_macro"]


def test_top3_counts_the_three_best_labels_above_the_threshold():
    scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.1]])
    metrics = summarise([scores], [np.array([[1, 1, 1, 1, 0]])], LabelSpace.flat("abcde"), thresholds=[0.75])
    assert (metrics["OR"], metrics["OR_top3"]) == (0.5, 0.5)
    metrics = summarise([scores], [np.array([[1, 1, 1, 1, 0]])], LabelSpace.flat("abcde"), thresholds=[0.5])
    assert (metrics["OR"], metrics["OR_top3"]) == (1.0, 0.75)


def test_tree_measures_use_the_predictions_of_all_levels():
    scores, targets = scores_and_targets(5)
    metrics = summarise(scores, targets, TREE, thresholds=[0.5, 0.5, 0.5])
    predictions = [level > 0.5 for level in scores]
    tree = tuple(metrics[f"hierarchy/{name}"] for name in ("precision", "recall", "F1"))
    assert tree == hierarchical_f1(predictions, targets, PARENTS)
    assert metrics["hierarchy/orphans"] == orphan_share(predictions, PARENTS) > 0


def test_consistent_decoding_leaves_no_orphans_at_one_threshold():
    scores, targets = scores_and_targets(6)
    metrics = summarise(scores, targets, TREE, thresholds=[0.5, 0.5, 0.5], options=MetricOptions(consistent=True))
    assert metrics["hierarchy/orphans"] == 0
    assert metrics["coarse/mAP"] == summarise(scores, targets, TREE)["coarse/mAP"]


def test_subsets_are_means_of_label_f1():
    metrics = summarise(*scores_and_targets(7), TREE)
    f1 = {row.name: row.F1 for row in metrics.labels}
    assert metrics["subset/easy"] == pytest.approx((f1["f0"] + f1["f1"]) / 2)
    assert metrics["subset/hard"] == f1["f4"]


def test_label_rows_follow_the_label_space():
    scores, targets = scores_and_targets(8)
    rows = summarise(scores, targets, TREE).labels
    assert [(row.level, row.name) for row in rows] == [
        (level.name, name) for level in TREE.levels for name in level.label_names
    ]
    assert [row.positives for row in rows[-5:]] == targets[-1].sum(axis=0).tolist()
    np.testing.assert_allclose([row.AP for row in rows[-5:]], average_precision(scores[-1], targets[-1]))


@pytest.mark.parametrize(("policy", "expected"), [("skip", 1.0), ("zero", 0.8), ("nan", math.nan)])
def test_labels_without_positives_follow_the_policy_and_are_named(policy, expected):
    targets = np.random.default_rng(9).random((20, 5)) < 0.5
    targets[:, 2] = False
    metrics = summarise(
        [np.where(targets, 0.9, 0.1)], [targets], LabelSpace.flat("abcde"), options=MetricOptions(empty_labels=policy)
    )
    assert metrics["mAP"] == pytest.approx(expected, nan_ok=True)
    assert metrics["F1_macro"] == pytest.approx(0.8)
    assert (metrics.num_images, metrics.empty_labels) == (20, 1)
    assert "1 of 5 labels have no positives" in str(metrics)
    assert json.loads(json.dumps(metrics.to_json(), allow_nan=False))["mAP"] == (
        None if policy == "nan" else pytest.approx(expected)
    )
    assert metrics.labels_to_json()[2]["AP"] == (0.0 if policy == "zero" else None)
    json.dumps(metrics.labels_to_json(), allow_nan=False)


def test_ignored_images_count_neither_as_hits_nor_as_errors():
    scores, targets = scores_and_targets(10)
    scores, targets = scores[-1:], targets[-1:]
    ignore = np.zeros_like(targets[0])
    ignore[:10] = True
    flat = LabelSpace.flat("abcde")
    some = summarise(scores, targets, flat, ignore=ignore)
    rest = summarise([scores[0][10:]], [targets[0][10:]], flat)
    for name in rest:
        if name != "F1_samples":  # an image without any counted label is still an image
            assert some[name] == pytest.approx(rest[name]), name


def test_average_precision_can_be_chosen():
    scores, targets = scores_and_targets(11)
    metrics = summarise(scores, targets, TREE, options=MetricOptions(average_precision="eleven_point"))
    expected = average_precision(scores[-1], targets[-1], interpolation="eleven_point").mean()
    assert metrics["mAP"] == pytest.approx(expected)


def test_scores_without_level_heads_can_be_lifted():
    scores, targets = scores_and_targets(12)
    metrics = summarise(lift_scores(scores[-1], PARENTS), targets, TREE, thresholds=[0.5] * 3)
    assert metrics["hierarchy/orphans"] == 0


def test_metrics_are_a_mapping_that_travels_and_does_not_change():
    metrics = summarise(*scores_and_targets(13), TREE)
    again = pickle.loads(pickle.dumps(metrics))
    assert again == metrics == metrics.to_json()
    assert again.labels == metrics.labels
    with pytest.raises(TypeError):
        metrics["mAP"] = 1.0
    with pytest.raises(AttributeError):
        metrics.num_images = 1
    with pytest.raises(KeyError):
        metrics["accuracy"]


def test_metrics_print_as_a_table_of_levels():
    metrics = summarise(*scores_and_targets(14), TREE)
    lines = str(metrics).splitlines()
    assert lines[0].split() == ["coarse", "middle", "fine"]
    assert lines[1].split() == ["mAP", *(f"{metrics[name]:.4f}" for name in ("coarse/mAP", "middle/mAP", "mAP"))]
    assert f"{metrics['hierarchy/F1']:.4f}" in next(line for line in lines if line.startswith("hierarchy/F1"))
    assert lines[-1] == "40 images; every label has positives."
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, t: (s[1:], t), "scores and targets of 3 levels, but got 2 and 3"),
        (lambda s, t: ([s[0], s[1], s[1]], t), r"`level_scores\[2\]` to have shape \[40, 5\], but got \[40, 3\]"),
        (lambda s, t: (s, [t[0], t[1], t[2][1:]]), r"`level_targets\[2\]` to have shape \[40, 5\], but got \[39, 5\]"),
    ],
)
def test_levels_that_do_not_fit_the_label_space_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        summarise(*change(*scores_and_targets(15)), TREE)


def test_one_threshold_per_level_is_needed():
    with pytest.raises(ValueError, match="`thresholds` to hold 3 numbers, but got 1"):
        summarise(*scores_and_targets(16), TREE, thresholds=[0.5])


def test_undefined_precision_and_recall_count_as_one_where_asked():
    """Label 1 is never predicted, as in the programs of SALGL and SGRE: its precision is 1 there, 0 otherwise."""
    scores = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.1], [0.2, 0.3]]
    targets = [[1, 0], [0, 1], [0, 0], [1, 0]]
    papers = summarise(
        [scores], [targets], LabelSpace.flat("ab"), thresholds=[0.5], options=MetricOptions(undefined_as_one=True)
    )
    ours = summarise([scores], [targets], LabelSpace.flat("ab"), thresholds=[0.5])
    assert [papers[name] for name in ("CP", "CR", "CF1")] == pytest.approx([0.75, 0.25, 0.375])
    assert [ours[name] for name in ("CP", "CR", "CF1")] == pytest.approx([0.25, 0.25, 0.25])
    assert [papers[name] for name in ("OP", "OR", "OF1")] == [ours[name] for name in ("OP", "OR", "OF1")]
    assert papers["OF1"] == pytest.approx(0.4)
    assert [row.precision for row in papers.labels] == [0.5, 1.0]
    assert [row.precision for row in ours.labels] == [0.5, 0.0]
    assert [row.recall for row in papers.labels] == [row.recall for row in ours.labels] == [0.5, 0.0]


def test_a_label_that_is_never_among_the_three_best_has_precision_one_where_asked():
    scores, targets = [[0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.7, 0.1]], [[1, 1, 0, 1], [1, 0, 0, 0]]
    given = {"thresholds": [0.5], "labels": LabelSpace.flat("abcd")}
    papers = summarise([scores], [targets], options=MetricOptions(undefined_as_one=True), **given)
    ours = summarise([scores], [targets], **given)
    assert papers["CP"] == ours["CP"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)  # d is predicted, but as the fourth
    assert papers["CP_top3"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert ours["CP_top3"] == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert papers["CR_top3"] == pytest.approx((1 + 1 + 1 + 0) / 4)  # c has no positives
    assert ours["CR_top3"] == pytest.approx((1 + 1 + 0 + 0) / 4)


def test_an_ignored_label_takes_one_of_the_three_places():
    scores, targets = [[0.9, 0.8, 0.7, 0.6]], [[1, 1, 1, 1]]
    ignore = [[1, 0, 0, 0]]
    metrics = summarise([scores], [targets], LabelSpace.flat("abcd"), thresholds=[0.5], ignore=ignore)
    assert metrics["OR"] == 1.0
    assert metrics["OR_top3"] == pytest.approx(2 / 3)  # b and c; d is fourth although a does not count


def test_a_score_at_the_threshold_is_predicted_where_asked():
    scores, targets = np.array([[0.5, 0.5], [0.4, 0.6]], dtype=np.float32), [[1, 0], [0, 1]]
    strict = summarise([scores], [targets], LabelSpace.flat("ab"), thresholds=[0.5])
    inclusive = summarise(
        [scores], [targets], LabelSpace.flat("ab"), thresholds=[0.5], options=MetricOptions(at_threshold=True)
    )
    assert (strict["OP"], strict["OR"]) == (1.0, 0.5)
    assert (inclusive["OP"], inclusive["OR"]) == (pytest.approx(2 / 3), 1.0)


def test_tuning_predicts_at_the_threshold_where_the_measures_do():
    targets = np.array([[1, 0], [0, 1], [1, 1]])
    scores = np.where(targets, 0.5, 0.3)
    strict, inclusive = (
        summarise([scores], [targets], LabelSpace.flat("ab"), options=MetricOptions(at_threshold=flag))
        for flag in (False, True)
    )
    assert strict["threshold"] == pytest.approx(0.3)
    assert inclusive["threshold"] == pytest.approx(0.35)
    assert strict["F1_macro"] == inclusive["F1_macro"] == 1.0


def test_scene_probabilities_add_the_entropy_of_the_scenes_images_belong_to():
    scores, targets = scores_and_targets(3, images=6)
    probs = np.array(
        [[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.1, 0.7, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8], [0, 0.1, 0.9]]
    )
    assert summarise(scores, targets, TREE, scene_probs=probs)["scene/entropy"] == pytest.approx(math.log(3), abs=1e-6)
    assert "scene/entropy" not in summarise(scores, targets, TREE)


@pytest.mark.parametrize("labels", [TREE, LabelSpace.flat("ab"), LabelSpace.flat("a")])
def test_names_of_metrics_are_known_before_anything_is_measured(labels):
    sizes = labels.level_sizes
    scores = [np.random.default_rng(depth).random((5, size)) for depth, size in enumerate(sizes)]
    targets = lift_targets(scores[-1] > 0.5, labels.parents)
    for probs in (None, np.full((5, 2), 0.5)):
        metrics = summarise(scores, targets, labels, scene_probs=probs)
        assert metric_names(labels, tells_scenes=probs is not None) == list(metrics)


@pytest.mark.parametrize("name", ["loss", "hierarchy/orphans"])
def test_of_few_metrics_less_is_better(name):
    assert as_gain(name, 0.2) > as_gain(name, 0.3)
    assert as_gain(name, as_gain(name, 0.2)) == 0.2


@pytest.mark.parametrize("name", ["mAP", "coarse/CF1", "hierarchy/F1", "subset/loss of sight", "BLEU-4"])
def test_of_most_metrics_more_is_better(name):
    assert as_gain(name, 0.3) == 0.3


def test_a_metric_is_a_function_and_its_line(monkeypatch):
    """What a table names is measured on every level, or once, and stands under its names in the summary."""
    monkeypatch.setattr(summary, "PER_LEVEL", (*summary.PER_LEVEL, lambda level: {"labels": len(level.level)}))
    monkeypatch.setattr(summary, "OVER_LEVELS", (*summary.OVER_LEVELS, lambda all: {"all/levels": len(all.levels)}))
    metrics = summarise(*scores_and_targets(18), TREE)
    assert (metrics["labels"], metrics["middle/labels"], metrics["coarse/labels"], metrics["all/levels"]) == (
        5,
        3,
        2,
        3,
    )
