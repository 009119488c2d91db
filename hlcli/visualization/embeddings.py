"""Vectors as points of a plane, coloured by what they belong to, with their names where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlcli.visualization.name_places import place_names
from hlcli.visualization.style import (
    EDGE,
    FAINT,
    INK,
    LEVEL_COLOURS,
    LEVEL_MARKERS,
    LINE,
    POINTS_PER_INCH,
    TEXT_POINTS,
    add_axes,
    draw_heading,
    heading_height,
    new_figure,
    shorten,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All in inches.
_SMALLEST_SIDE, _LARGEST_SIDE = 5.5, 13.0
_LEGEND, _ROW, _GAP = 1.9, 0.2, 0.2
_WIDEST_NAME = 1.8
_AXIS_NAME = 0.25
_TO_NAME = 0.07
_NAME_HEIGHT = 1.3 * TEXT_POINTS / POINTS_PER_INCH


class PointGroup(NamedTuple):
    """Points of one colour and shape.

    Args:
        name: for the legend.
        style: number of its colour and shape; None for the grey of all others.
        members: numbers of its points.
    """

    name: str
    style: int | None
    members: np.ndarray


def group_points(labels: Sequence[int | None], label_names: Sequence[str]) -> list[PointGroup]:
    """A group per label, as many as there are colours; the rarer ones and points without a label are the last, grey.

    Args:
        labels: of every point.
        label_names: of the whole level; of so few that all have a colour, each always has the same one.
    """
    given = np.array([-1 if label is None else label for label in labels])
    counts = np.bincount(given[given >= 0], minlength=len(label_names))
    order = np.argsort(-counts, kind="stable") if len(label_names) > len(LEVEL_COLOURS) else np.arange(len(counts))
    shown = sorted(int(label) for label in order[: len(LEVEL_COLOURS)])
    groups = [
        PointGroup(label_names[label], style, np.flatnonzero(given == label))
        for style, label in enumerate(shown)
        if counts[label]
    ]
    rest = np.flatnonzero(~np.isin(given, shown))
    name = "other labels" if (given[rest] >= 0).all() else "others, or no label"
    return [*groups, PointGroup(name, None, rest)] if len(rest) else groups


def points_figure(
    title: str,
    notes: Sequence[str],
    points: np.ndarray,
    groups: Sequence[PointGroup],
    *,
    names: Sequence[str] = (),
    axis_names: Sequence[str] = (),
) -> Figure:
    """Points in a square, both directions in one scale; a legend beside it if there are several groups.

    Args:
        title: what one sees.
        notes: how to read it.
        points: [n, 2].
        groups: every point is in one.
        names: of the points, written as far as there is room; none at all, or n.
        axis_names: of the two directions, where they mean something.
    """
    side = min(_LARGEST_SIDE, max(_SMALLEST_SIDE, 2.5 + 0.55 * len(names) ** 0.5))
    legend = _GAP + _LEGEND if len(groups) > 1 else 0.0
    left = EDGE + _AXIS_NAME * bool(axis_names)
    places = _in_inches(points, side)
    texts = [shorten(name, _WIDEST_NAME) for name in names]
    corners = place_names(places, [text_width(text) for text in texts], _NAME_HEIGHT, (side, side), _TO_NAME)
    left_out = corners.count(None)
    lines = [*notes, *[f"{left_out:,} of {len(names):,} names have no room."] * bool(left_out)]
    top = heading_height(len(lines))
    figure = new_figure(left + side + legend + EDGE, top + side + EDGE + _AXIS_NAME * bool(axis_names))
    axes = add_axes(figure, left, top, side, side, xlim=(0, side), ylim=(0, side))  # one unit is an inch, upwards
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(LINE)
    for axis, name in zip((axes.xaxis, axes.yaxis), axis_names, strict=False):
        axis.set_label_text(shorten(name, side), fontsize=TEXT_POINTS, color=FAINT)
    for group in groups:
        _draw_points(axes, places[group.members], group.style, len(points))
    _write_names(axes, texts, corners)
    if len(groups) > 1:
        _draw_legend(add_axes(figure, left + side + _GAP, top, _LEGEND, _ROW * len(groups)), groups)
    draw_heading(figure, title, lines)
    return figure


def _in_inches(points: np.ndarray, side: float) -> np.ndarray:
    """Points [n, 2] in a square of that side, a little away from its edges."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max()) or 1.0
    inner = 0.88 * side
    return (points - (low + high) / 2) / extent * inner + side / 2


def _draw_points(axes: Axes, places: np.ndarray, style: int | None, total: int) -> None:
    """Those of one group; many points are smaller."""
    area = min(40.0, max(9.0, 9000 / total))  # square points, as matplotlib counts them
    if style is None:
        axes.scatter(places[:, 0], places[:, 1], s=0.4 * area, c=FAINT, marker="o", alpha=0.6, linewidths=0, zorder=1)
        return
    axes.scatter(places[:, 0], places[:, 1], s=area, c=LEVEL_COLOURS[style], marker=LEVEL_MARKERS[style], alpha=0.85,
                 linewidths=0.4, edgecolors="white", zorder=2)  # fmt: skip


def _write_names(axes: Axes, texts: Sequence[str], corners: Sequence[tuple[float, float] | None]) -> None:
    """Write the names that have room."""
    for text, corner in zip(texts, corners, strict=True):
        if corner is not None:
            left, bottom = corner
            axes.text(left, bottom + _NAME_HEIGHT / 2, text, fontsize=TEXT_POINTS, color=INK, va="center_baseline",
                      parse_math=False, zorder=3)  # fmt: skip


def _draw_legend(axes: Axes, groups: Sequence[PointGroup]) -> None:
    """Colour, shape, name and number of points of every group."""
    axes.set(xlim=(0, _LEGEND), ylim=(len(groups), 0))
    axes.set_axis_off()
    for row, group in enumerate(groups):
        _draw_points(axes, np.array([[0.08, row + 0.5]]), group.style, 1)
        count = f" ({len(group.members):,})"
        text = shorten(group.name, _LEGEND - 0.2 - text_width(count)) + count
        axes.text(0.2, row + 0.5, text, fontsize=TEXT_POINTS, color=INK, va="center_baseline", parse_math=False)
