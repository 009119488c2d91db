"""How a run went: losses and learning rate over steps, metrics over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from hlcli.metrics.results import as_gain
from hlcli.visualization.style import (
    FAINT,
    INK,
    TEXT_POINTS,
    TITLE_POINTS,
    draw_heading,
    heading_height,
    level_colours,
    level_markers,
    make_plain,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Event = Mapping[str, Any]

METRICS = ("mAP", "F1_samples", "CIDEr", "BLEU-4")
"""What is drawn of labels and of captions, where it was measured."""

_TERM_COLOURS = ("#CC79A7", "#E69F00", "#56B4E9", "#666666")  # none of them stands for one of three levels
_TERM_LINES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (1.5, 1)))
_LINES: Mapping[str, Literal["--", "-"]] = {"regular": "--", "ema": "-"}
_WEIGHTS = {"regular": "regular weights", "ema": "averaged weights (EMA)"}
_LEGEND_POINTS = 12.0  # height of the row between a title and its axes
_MOST_MARKERS = 30
_MOST_RAW_POINTS = 150


class _Best(NamedTuple):
    """The evaluation with the best value of the metric that selects."""

    epoch: int
    weights: str
    value: float


def curves_figure(
    events: Sequence[Event], *, select_by: str = "mAP", metrics: Sequence[str] = METRICS, title: str = ""
) -> Figure:
    """Losses and learning rate over steps above, one panel per metric over epochs below.

    Colours tell the levels apart, lines the regular (dashed) from the averaged weights; the best epoch is marked.

    Args:
        events: the lines of `metrics.jsonl`.
        select_by: the metric that chooses the best model, e.g. `mAP` or `coarse/CF1`.
        metrics: what is drawn besides it and the loss, if any evaluation has it.
        title: whose run it is.
    """
    steps = [event for event in events if event["event"] == "step"]
    evaluations = [event for event in events if event["event"] == "evaluation"]
    levels = level_names(evaluations)
    measured = {_plain_name(name, levels) for event in evaluations for name in event["metrics"]}
    known = [name for name in (*metrics, "loss") if name in measured]
    panels = list(dict.fromkeys([_plain_name(select_by, levels), *known])) if evaluations else []
    figure = new_figure(max(3.1 * len(panels), 8.0), 6.2 if panels else 3.3, padding_inches=0.08)
    rows = figure.add_gridspec(2 if panels else 1, 1, hspace=0.06)
    upper = rows[0].subgridspec(1, 2, width_ratios=(2, 1))
    _draw_losses(figure.add_subplot(upper[0]), steps)
    _draw_learning_rate(figure.add_subplot(upper[1]), steps)
    best = best_evaluation(evaluations, select_by)
    if panels:
        lower = rows[1].subgridspec(1, len(panels))
        for column, name in enumerate(panels):
            axes = figure.add_subplot(lower[column])
            _draw_metric(axes, evaluations, name, levels)
            _mark_best(axes, best, select_by if name == _plain_name(select_by, levels) else None)
        _draw_legend(figure, evaluations, levels)
    notes = []
    if best is not None:
        kind = _WEIGHTS.get(best.weights, best.weights)
        notes.append(f"best {select_by}: {best.value:.4f} in epoch {best.epoch}, {kind}")
    draw_heading(figure, f"{title}: how training went" if title else "How training went", notes)
    _leave_room(figure, heading_height(len(notes)))
    return figure


def _leave_room(figure: Figure, inches: float) -> None:
    """Keep the axes below the heading."""
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, 0, 1, 1 - inches / figure.get_figheight()))


def level_names(evaluations: Sequence[Event]) -> tuple[str, ...]:
    """The levels that were measured, coarse → fine; each has a threshold, the finest one under its plain name."""
    names = dict.fromkeys(name for event in evaluations for name in event["metrics"])
    above = [name.removesuffix("/threshold") for name in names if name.endswith("/threshold")]
    return (*reversed(above), "fine")


def best_evaluation(evaluations: Sequence[Event], select_by: str) -> _Best | None:
    """The first evaluation with the best value, as training chooses it; None where the metric is absent."""
    known = [event for event in evaluations if event["metrics"].get(select_by) is not None]
    if not known:
        return None
    event = max(known, key=lambda event: as_gain(select_by, event["metrics"][select_by]))
    return _Best(event["epoch"], event["weights"], event["metrics"][select_by])


def loss_names(steps: Sequence[Event]) -> list[str]:
    """The loss and its terms, as steps tell them; a loss of one term is that term."""
    names = list(dict.fromkeys(name for event in steps for name in event["metrics"] if name != "lr"))
    return names[:1] if len(names) == 2 else names


def is_of_levels(metric: str, evaluations: Sequence[Event]) -> bool:
    """Whether the plain name of a metric is that of the finest level: not of the loss, `hierarchy/F1` or captions."""
    return _has_levels(evaluations) and metric != "loss" and "/" not in metric


def _has_levels(evaluations: Sequence[Event]) -> bool:
    """Whether labels were measured, not captions."""
    return any("threshold" in event["metrics"] for event in evaluations)


def _plain_name(metric: str, levels: Sequence[str]) -> str:
    """`coarse/mAP` → `mAP`; what belongs to no level keeps its name."""
    level, _, name = metric.partition("/")
    return name if name and level in levels else metric


def _draw_losses(axes: Axes, steps: Sequence[Event]) -> None:
    """The sum in black, its terms in colours; long runs as running means over faint raw values."""
    make_plain(axes)
    names = loss_names(steps)
    terms = [name for name in names if name != "loss"]
    colours = {"loss": INK} | {name: _TERM_COLOURS[i % len(_TERM_COLOURS)] for i, name in enumerate(terms)}
    smallest, largest = np.inf, 0.0
    for name in names:
        known = [event for event in steps if event["metrics"].get(name) is not None]
        x, y = (np.array(values) for values in _points(known, "step", name))
        label = "sum of the terms" if name == "loss" and len(terms) > 1 else name
        line = "-" if name == "loss" else _TERM_LINES[terms.index(name) % len(_TERM_LINES)]
        _draw_line(axes, x, y, label, colours[name], line)
        smallest, largest = min(smallest, y.min()), max(largest, y.max())
    if smallest > 0 and largest / smallest > 100:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0.0, smallest) if names else None)
    _name_axes(axes, "training loss", "step", room=_LEGEND_POINTS)
    if names:
        legend = axes.legend(
            frameon=False, fontsize=TEXT_POINTS, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(names),
            handlelength=2.2, columnspacing=1.0, borderpad=0.2, borderaxespad=0,
        )  # fmt: skip
        legend.set_in_layout(False)  # the title above holds its place; axes need not shrink for its width


def _draw_line(axes: Axes, x: np.ndarray, y: np.ndarray, label: str, colour: str, line: Any) -> None:
    style: dict[str, Any] = {"color": colour, "linestyle": line, "linewidth": 1.4, "label": label}
    if len(x) <= _MOST_RAW_POINTS:
        axes.plot(x, y, marker="." if len(x) <= _MOST_MARKERS else None, **style)
        return
    axes.plot(x, y, color=colour, linewidth=0.5, alpha=0.25)
    axes.plot(x, running_mean(y, len(y) // 50), **style)


def running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean of each value and up to `reach` neighbours on each side."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(len(values))
    first, last = (index - reach).clip(0), (index + reach + 1).clip(max=len(values))
    return (sums[last] - sums[first]) / (last - first)


def _draw_learning_rate(axes: Axes, steps: Sequence[Event]) -> None:
    make_plain(axes)
    known = [event for event in steps if "lr" in event["metrics"]]
    axes.plot(*_points(known, "step", "lr"), color=INK, linewidth=1.4, marker="." if len(known) == 1 else None)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:g}")
    _name_axes(axes, "learning rate", "step")


def _draw_metric(axes: Axes, evaluations: Sequence[Event], name: str, levels: tuple[str, ...]) -> None:
    """A metric of every level that has it, for each kind of weights; what is of no level in black."""
    make_plain(axes)
    colours, markers = level_colours(levels), level_markers(levels)
    if not is_of_levels(name, evaluations):
        levels, colours, markers = levels[-1:], {levels[-1]: INK}, {levels[-1]: "o"}
    epochs = {event["epoch"] for event in evaluations}
    every = -(-len(epochs) // _MOST_MARKERS)
    for level in levels:
        key = name if level == levels[-1] else f"{level}/{name}"
        for weights, line in _lines(evaluations).items():
            known = [event for event in evaluations if event["weights"] == weights and key in event["metrics"]]
            face = "white" if line == "--" else colours[level]
            axes.plot(*_points(known, "epoch", key), color=colours[level], linestyle=line, linewidth=1.4,
                      marker=markers[level], markersize=3.8, markevery=every, markerfacecolor=face)  # fmt: skip
    if len(epochs) == 1:
        axes.set_xlim(min(epochs) - 0.6, max(epochs) + 0.6)
    _name_axes(axes, f"{name} on {evaluations[-1]['split']}", "epoch")


def _mark_best(axes: Axes, best: _Best | None, metric: str | None) -> None:
    """A dotted line at the best epoch, and a ring where the metric was read."""
    if best is None:
        return
    axes.axvline(best.epoch, color=FAINT, linestyle=":", linewidth=1.2, zorder=1)
    if metric is not None:
        axes.plot([best.epoch], [best.value], "o", markersize=10, markerfacecolor="none", markeredgecolor=INK)


def _draw_legend(figure: Figure, evaluations: Sequence[Event], levels: tuple[str, ...]) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=colour, linewidth=4, marker=level_markers(levels)[level], markersize=7, label=level)
        for level, colour in level_colours(levels).items()
        if _has_levels(evaluations)
    ]
    entries += [
        Line2D([], [], color=INK, linestyle=line, marker="o", markersize=3.8,
               markerfacecolor="white" if line == "--" else INK, label=_WEIGHTS[weights])
        for weights, line in _lines(evaluations).items()
    ]  # fmt: skip
    entries.append(Line2D([], [], color=FAINT, linestyle=":", label="best epoch"))
    figure.legend(
        handles=entries, loc="outside lower center", ncols=len(entries), frameon=False, fontsize=TEXT_POINTS,
        handlelength=2.5,
    )  # fmt: skip


def _lines(evaluations: Sequence[Event]) -> Mapping[str, Literal["--", "-"]]:
    """Line style per kind of weights; dashes only where there are two kinds."""
    return _LINES if any(event["weights"] == "ema" for event in evaluations) else {"regular": "-"}


def _points(events: Sequence[Event], axis: str, metric: str) -> tuple[list[float], list[float]]:
    """Places and values; what is not a number leaves a gap."""
    values = [event["metrics"][metric] for event in events]
    return [event[axis] for event in events], [float("nan") if value is None else value for value in values]


def _name_axes(axes: Axes, title: str, x_name: str, *, room: float = 0.0) -> None:
    """Title, with so many points of room for a legend below it, and the name of the x axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
    axes.set_title(title, fontsize=TITLE_POINTS, color=INK, loc="left", pad=6 + room, parse_math=False)
    axes.set_xlabel(x_name, fontsize=TEXT_POINTS, color=INK)
