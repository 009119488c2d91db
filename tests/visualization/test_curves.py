"""Curves: the right numbers in the right colours, readable for short and long runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from hlcli.visualization.curves import best_evaluation, curves_figure, level_names, running_mean
from hlcli.visualization.style import level_colours

from .figure_text import assert_readable, texts

LEVELS = ("coarse", "middle", "fine")


def evaluation(epoch: int, weights: str, value: float | None, levels: tuple[str, ...] = LEVELS) -> dict:
    metrics: dict[str, float | None] = {"loss": 2.0 - (value or 0)}
    for depth, level in reversed(list(enumerate(levels))):
        prefix = "" if level == "fine" else f"{level}/"
        shifted = None if value is None else value - 0.05 * depth
        metrics |= {f"{prefix}mAP": shifted, f"{prefix}F1_samples": shifted, f"{prefix}threshold": 0.5}
    metrics |= {"hierarchy/F1": value, "subset/easy": value}
    return {"event": "evaluation", "epoch": epoch, "step": 10 * epoch, "split": "val", "weights": weights,
            "metrics": metrics}  # fmt: skip


def run_events(epochs: int, *, with_ema: bool = True, steps_per_epoch: int = 5) -> list[dict]:
    events: list[dict] = []
    for epoch in range(1, epochs + 1):
        for step in range((epoch - 1) * steps_per_epoch + 1, epoch * steps_per_epoch + 1):
            metrics = {"loss": 4 / step, "hard_first": 3 / step, "fine": 1 / step, "lr": 1e-4 / step}
            events.append({"event": "step", "epoch": epoch, "step": step, "split": "train", "weights": "regular",
                           "metrics": metrics})  # fmt: skip
        events.append(evaluation(epoch, "regular", 1 - 1 / (epoch + 1)))
        if with_ema:
            events.append(evaluation(epoch, "ema", 1 - 1 / (epoch + 2)))
    return events


def axes_titled(figure, title: str):
    return next(axes for axes in figure.axes if axes.get_title(loc="left") == title)


def test_panels_follow_the_metric_that_selects():
    titles = [axes.get_title(loc="left") for axes in curves_figure(run_events(3), select_by="coarse/CF1").figure.axes]
    assert titles == ["training loss", "learning rate", "CF1 on val", "mAP on val", "F1_samples on val", "loss on val"]
    titles = [axes.get_title(loc="left") for axes in curves_figure(run_events(3), select_by="mAP").figure.axes]
    assert titles == ["training loss", "learning rate", "mAP on val", "F1_samples on val", "loss on val"]


@pytest.mark.parametrize(("epochs", "with_ema"), [(1, True), (1, False), (7, True), (100, True)])
def test_texts_are_readable_in_short_and_long_runs(epochs: int, with_ema: bool):
    figure = curves_figure(run_events(epochs, with_ema=with_ema), select_by="coarse/mAP", title="runs/a $x^ b")
    assert_readable(figure)
    assert "averaged weights (EMA)" in texts(figure) or not with_ema


@pytest.mark.parametrize("epochs", [0, 3])
def test_the_legend_of_many_terms_covers_no_other_text(epochs: int):
    events = run_events(epochs) or run_events(1)[:5]
    for event in events:
        if event["event"] == "step":
            terms = ("loss", "classification", "sample_entropy", "batch_entropy", "lr")
            event["metrics"] = dict.fromkeys(terms, 1 / event["step"])
    figure = curves_figure(events, title="runs/coco-salgl")
    assert_readable(figure)
    assert "batch_entropy" in texts(figure)


def test_lines_show_the_levels_numbers_in_the_levels_colours():
    axes = axes_titled(curves_figure(run_events(4)), "mAP on val")
    colours = level_colours(LEVELS)
    expected = {(colours[level], style) for level in LEVELS for style in ("-", "--")}
    lines = [line for line in axes.lines if len(line.get_xdata()) == 4]
    assert {(line.get_color(), line.get_linestyle()) for line in lines} == expected
    fine_ema = next(line for line in lines if (line.get_color(), line.get_linestyle()) == (colours["fine"], "-"))
    np.testing.assert_allclose(fine_ema.get_ydata(), [1 - 1 / (e + 2) - 0.1 for e in (1, 2, 3, 4)])


def test_one_kind_of_weights_needs_no_dashes():
    axes = axes_titled(curves_figure(run_events(4, with_ema=False)), "mAP on val")
    assert {line.get_linestyle() for line in axes.lines if len(line.get_xdata()) == 4} == {"-"}


def test_best_epoch_is_marked_where_training_chose_it():
    events = [evaluation(1, "regular", 0.5), evaluation(2, "regular", 0.7), evaluation(2, "ema", 0.7),
              evaluation(3, "regular", 0.6)]  # fmt: skip
    best = best_evaluation(events, "mAP")
    assert best is not None
    assert (best.epoch, best.weights) == (2, "regular")
    assert best.value == pytest.approx(0.6)
    assert best_evaluation(events, "loss") == (2, "regular", 1.3)
    figure = curves_figure(events)
    ring = axes_titled(figure, "mAP on val").lines[-1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, best.value)
    assert any("best mAP: 0.6000 in epoch 2, regular weights" in text for text in texts(figure))


def test_levels_are_read_from_the_metrics():
    assert level_names([evaluation(1, "ema", 0.5)]) == LEVELS
    assert level_names([evaluation(1, "ema", 0.5, ("level1", "level2", "level3", "fine"))]) == (
        "level1", "level2", "level3", "fine",
    )  # fmt: skip
    assert level_names([evaluation(1, "ema", 0.5, ("fine",))]) == ("fine",)


def test_metric_of_the_whole_tree_and_of_a_subset_can_select():
    for name in ("hierarchy/F1", "subset/easy"):
        figure = curves_figure(run_events(2), select_by=name)
        assert axes_titled(figure, f"{name} on val").lines


def test_what_is_not_a_number_leaves_a_gap():
    events = [evaluation(1, "regular", None), evaluation(2, "regular", 0.5)]
    axes = axes_titled(curves_figure(events), "mAP on val")
    values = axes.lines[0].get_ydata()
    assert math.isnan(values[0])
    assert not math.isnan(values[1])


def test_run_without_an_evaluation_shows_its_steps():
    figure = curves_figure([event for event in run_events(1) if event["event"] == "step"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["training loss", "learning rate"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [4 / step for step in range(1, 6)])


def test_long_runs_are_smoothed_over_faint_raw_values():
    axes = curves_figure(run_events(100)).axes[0]
    raw, smooth = axes.lines[:2]
    assert (raw.get_alpha(), smooth.get_alpha()) == (0.25, None)
    assert to_hex(raw.get_color()) == to_hex(smooth.get_color())
    assert len(raw.get_ydata()) == len(smooth.get_ydata()) == 500


def test_running_mean_of_a_small_case():
    np.testing.assert_allclose(running_mean(np.array([1.0, 2.0, 6.0, 0.0]), 1), [1.5, 3.0, 8 / 3, 3.0])


def test_the_loss_and_the_tree_have_the_colour_of_no_level():
    figure = curves_figure(run_events(3), select_by="hierarchy/F1")
    for title in ("loss on val", "hierarchy/F1 on val"):
        lines = [line for line in axes_titled(figure, title).lines if len(line.get_xdata()) == 3]
        assert len(lines) == 2
        assert not {line.get_color() for line in lines} & set(level_colours(LEVELS).values())


def test_curves_of_captions_have_their_metrics_and_no_levels():
    events = [{"event": "step", "epoch": 1, "step": step, "split": "train", "weights": "regular",
               "metrics": {"loss": 4 / step, "cross_entropy": 4 / step, "lr": 0.1}} for step in (1, 2)]  # fmt: skip
    events.append({"event": "evaluation", "epoch": 1, "step": 2, "split": "val", "weights": "regular",
                   "metrics": {"loss": 2.0, "BLEU-4": 0.1, "CIDEr": 0.3}})  # fmt: skip
    figure = curves_figure(events, select_by="CIDEr")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["training loss", "learning rate", "CIDEr on val", "BLEU-4 on val", "loss on val"]
    assert "fine" not in texts(figure)
    assert len(figure.axes[0].lines) == 1
