"""The label tree, drawn from left (coarse) to right (fine), with the number of images of every label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hlcli.data.labels import LabelSpace
from hlcli.visualization.style import (
    FAINT,
    INK,
    LINE,
    TEXT_POINTS,
    TITLE_POINTS,
    level_colours,
    new_figure,
    shorten,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All in inches.
ROW, MARGIN, HEADER = 0.2, 0.25, 0.75
WIDEST_NAME, BAR, GAP = 3.2, 0.9, 0.55
SPACE = 0.08


class Column(NamedTuple):
    """Where the parts of a level stand, in inches from the left."""

    names: float
    bars: float
    end: float


def label_tree_figure(labels: LabelSpace, counts: Sequence[Sequence[int]], *, title: str = "") -> Figure:
    """A tree with a row per fine label; every label has its name, a bar and a count. All bars have one scale.

    Args:
        labels: the label space; children are drawn beside their parents whatever their order.
        counts: images per label for each level, coarse → fine.
        title: stands above all.
    """
    if tuple(len(level) for level in counts) != labels.level_sizes:
        raise ValueError(
            f"Expected counts of {labels.level_sizes} labels, but got {tuple(len(level) for level in counts)}."
        )
    rows = tree_rows(labels)
    names = [[shorten(name, WIDEST_NAME) for name in level.label_names] for level in labels.levels]
    columns = _columns(names, counts, [level.name for level in labels.levels])
    width = max(columns[-1].end + MARGIN, 2 * MARGIN + text_width(title, TITLE_POINTS + 1))
    height = HEADER + ROW * labels.num_labels + MARGIN
    figure = new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # one unit is an inch, downwards
    axes.set_axis_off()
    axes.text(MARGIN, 0.27, title, fontsize=TITLE_POINTS + 1, color=INK, va="center", parse_math=False)
    largest = max(1, *(count for level in counts for count in level))
    colours = level_colours(tuple(level.name for level in labels.levels))
    for depth, (level, column) in enumerate(zip(labels.levels, columns, strict=True)):
        heading = f"{level.name} ({len(level)})"
        axes.text(column.names, HEADER - 0.2, heading, fontsize=TEXT_POINTS, color=colours[level.name],
                  weight="bold", va="center")  # fmt: skip
        _draw_level(axes, column, rows[depth], names[depth], counts[depth], largest, colours[level.name])
        if depth:
            _draw_branches(axes, columns[depth - 1].end, column.names, rows[depth - 1], rows[depth], level.parent_index)
    return figure


def tree_rows(labels: LabelSpace) -> list[list[float]]:
    """Row of every label of every level: fine labels in the order of the tree, parents in the middle of theirs."""
    order: list[int] = list(range(labels.level_sizes[0]))  # labels of a level from top to bottom
    for parents in labels.parents:
        rank = {label: place for place, label in enumerate(order)}
        order = sorted(range(len(parents)), key=lambda child: rank[parents[child]])
    fine = [0.0] * labels.num_labels
    for place, label in enumerate(order):
        fine[label] = float(place)
    rows = [fine]
    for parents, size in zip(reversed(labels.parents), reversed(labels.level_sizes[:-1]), strict=True):
        below = [[rows[0][child] for child, parent in enumerate(parents) if parent == i] for i in range(size)]
        rows.insert(0, [(min(children) + max(children)) / 2 for children in below])
    return rows


def _columns(names: Sequence[Sequence[str]], counts: Sequence[Sequence[int]], headings: Sequence[str]) -> list[Column]:
    """As wide as their texts need."""
    columns, left = [], MARGIN
    for level_names, level_counts, heading in zip(names, counts, headings, strict=True):
        widest = max(text_width(name) for name in [*level_names, f"{heading} (00)"])
        bars = left + widest + SPACE
        end = bars + BAR + SPACE + max(text_width(f"{count:,}") for count in level_counts)
        columns.append(Column(left, bars, end))
        left = end + GAP
    return columns


def _draw_level(
    axes: Axes,
    column: Column,
    rows: Sequence[float],
    names: Sequence[str],
    counts: Sequence[int],
    largest: int,
    colour: str,
) -> None:
    """Names, bars and counts of a level."""
    places = [_y(row) for row in rows]
    lengths = [BAR * count / largest for count in counts]
    axes.barh(places, lengths, left=column.bars, height=0.5 * ROW, color=colour, linewidth=0)
    for y, name, count, length in zip(places, names, counts, lengths, strict=True):
        axes.text(column.names, y, name, fontsize=TEXT_POINTS, color=INK, va="center_baseline", parse_math=False)
        axes.text(column.bars + length + SPACE / 2, y, f"{count:,}", fontsize=TEXT_POINTS - 1, color=FAINT,
                  va="center_baseline")  # fmt: skip


def _draw_branches(
    axes: Axes,
    start: float,
    end: float,
    parent_rows: Sequence[float],
    child_rows: Sequence[float],
    parents: Sequence[int] | None,
) -> None:
    """A curve from every parent to each of its children."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    start, end = start + SPACE / 2, end - SPACE / 2
    middle = (start + end) / 2
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    for child, parent in enumerate(parents or ()):
        top, bottom = _y(parent_rows[parent]), _y(child_rows[child])
        curve = Path([(start, top), (middle, top), (middle, bottom), (end, bottom)], codes)
        axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=LINE, linewidth=1.2))


def _y(row: float) -> float:
    return HEADER + ROW * (row + 0.5)
