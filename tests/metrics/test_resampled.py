from __future__ import annotations

import numpy as np
import pytest

from hlcli.data.labels import LabelSpace
from hlcli.metrics import resampled
from hlcli.metrics.bootstrap import bootstrap
from hlcli.metrics.hierarchy import lift_scores, lift_targets
from hlcli.metrics.multilabel import EmptyLabels, Interpolation
from hlcli.metrics.resampled import level_measure
from hlcli.metrics.summary import MetricOptions, measure_levels, summarise

TREE = LabelSpace.from_parents([["a", "b"], ["c", "d", "e", "f", "g"]], [[0, 0, 1, 1, 1]])


@pytest.mark.parametrize("chunk", [1, 2**22])
@pytest.mark.parametrize("interpolation", ["interpolated", "plain", "eleven_point"])
@pytest.mark.parametrize("empty", ["skip", "zero"])
def test_a_draw_is_measured_as_if_its_images_were_listed(
    interpolation: Interpolation, empty: EmptyLabels, chunk: int, monkeypatch: pytest.MonkeyPatch
):
    """With ties and left-out labels, and one that has no image at all."""
    monkeypatch.setattr(resampled, "CHUNK_ELEMENTS", chunk)
    generator = np.random.default_rng(3)
    scores = np.round(generator.random((25, 5)), 1)
    targets = generator.random((25, 5)) < [0.4, 0.3, 0, 0.25, 0.5]
    ignore = generator.random((25, 5)) < 0.1
    options = MetricOptions(interpolation, empty, undefined_as_one=empty == "zero")

    def everything(rows: np.ndarray) -> dict[str, float]:
        known = targets[rows] & ~ignore[rows]
        return dict(
            summarise(
                lift_scores(scores[rows], TREE.parents), lift_targets(known, TREE.parents), TREE, options,
                thresholds=[0.6, 0.5], ignore=ignore[rows],
            )
        )  # fmt: skip

    levels = measure_levels(
        lift_scores(scores, TREE.parents), lift_targets(targets & ~ignore, TREE.parents), TREE, options,
        thresholds=[0.6, 0.5], ignore=ignore,
    )  # fmt: skip
    measure = level_measure(levels)
    draws = [np.sort(generator.integers(25, size=25)) for _ in range(60)]
    there = (targets & ~ignore).any(axis=0)
    kept = [rows for rows in draws if ((targets & ~ignore)[rows].any(axis=0) == there).all()]
    assert len(kept) > 10
    for rows in (np.arange(25), *kept):
        expected, found = everything(rows), measure(rows)
        assert {"mAP", "F1_macro", "coarse/mAP", "coarse/OF1"} <= set(found)
        assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("empty", ["skip", "zero"])
def test_means_over_labels_do_without_those_of_which_no_image_was_drawn(empty: EmptyLabels):
    """Three labels: found, missed but drawn rarely, and never there."""
    targets = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=bool)
    scores = np.array([[0.9, 0.2, 0.1], [0.8, 0.3, 0.2], [0.7, 0.1, 0.3]])
    space = LabelSpace.flat(["a", "b", "c"])
    measure = level_measure(measure_levels([scores], [targets], space, MetricOptions(empty_labels=empty),
                                           thresholds=[0.5]))  # fmt: skip
    whole, without = measure(np.arange(3)), measure(np.array([0, 1, 1]))
    assert whole["F1_macro"] == pytest.approx(1 / 3)
    assert without["F1_macro"] == pytest.approx(2 / 3)  # of the two labels that are there the first stands for both
    assert without["CR"] == pytest.approx(2 / 3)
    assert without["mAP"] == pytest.approx(1 if empty == "skip" else 2 / 3)
    assert without["F1_micro"] == 1


def test_the_interval_of_a_mean_over_rare_labels_holds_the_value():
    generator = np.random.default_rng(0)
    targets = generator.random((200, 300)) < 0.03
    scores = np.where(targets, 0.9, 0.1) * (generator.random((200, 300)) < 0.8)
    levels = measure_levels([scores], [targets], LabelSpace.flat([str(n) for n in range(300)]), MetricOptions(),
                            thresholds=[0.5])  # fmt: skip
    found = bootstrap(level_measure(levels), 200, resamples=100)
    for name in ("mAP", "F1_macro", "CR"):
        assert found[name].low <= found[name].value <= found[name].high


def test_the_plan_fits_sets_without_any_positive():
    scores = np.array([[0.2, 0.8], [0.6, 0.1]])
    space = LabelSpace.flat(["a", "b"])
    levels = measure_levels([scores], [np.zeros((2, 2), dtype=bool)], space, MetricOptions(), thresholds=[0.5])
    found = level_measure(levels)(np.arange(2))
    assert np.isnan(found["mAP"])
    assert found["F1_micro"] == found["F1_macro"] == found["CR"] == 0
