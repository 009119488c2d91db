"""The label tree, drawn from left (coarse) to right (fine), with the number of images of every label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hlcli.data.labels import LabelSpace
from hlcli.visualization.style import (
    EDGE,
    FAINT,
    HEADING_POINTS,
    INK,
    LINE,
    TEXT_POINTS,
    draw_heading,
    heading_height,
    level_colours,
    new_figure,
    shorten,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All in inches.
ROW, MARGIN, HEADER = 0.2, EDGE, heading_height() + 0.3
WIDEST_NAME, LONGEST_BAR, GAP = 3.2, 0.9, 0.5
SPACE = 0.11
_COUNT_POINTS = TEXT_POINTS - 1


class Node(NamedTuple):
    """A label as it is drawn; `bar` is the length of its bar in inches."""

    name: str
    number: str
    bar: float
    y: float


class _Column(NamedTuple):
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
    levels = _make_nodes(labels, counts)
    headings = [f"{level.name} ({len(level):,})" for level in labels.levels]
    columns = _columns(levels, headings)
    width = max(columns[-1].end, MARGIN + text_width(title, HEADING_POINTS)) + MARGIN
    height = HEADER + ROW * labels.num_labels + MARGIN
    figure = new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # one unit is an inch, downwards
    axes.set_axis_off()
    draw_heading(figure, title)
    colours = level_colours(tuple(level.name for level in labels.levels))
    for depth, (level, heading, column) in enumerate(zip(labels.levels, headings, columns, strict=True)):
        axes.text(column.names, HEADER - 0.18, heading, fontsize=TEXT_POINTS, color=colours[level.name],
                  weight="bold", va="center")  # fmt: skip
        _draw_nodes(axes, levels[depth], column, colours[level.name])
        if level.parent_index is not None:
            pairs = [
                (levels[depth - 1][parent], child)
                for child, parent in zip(levels[depth], level.parent_index, strict=True)
            ]
            _draw_branches(axes, pairs, columns[depth - 1], column)
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


def _make_nodes(labels: LabelSpace, counts: Sequence[Sequence[int]]) -> list[list[Node]]:
    """Every label of every level, in the order of the label space."""
    largest = max(1, *(count for level in counts for count in level))
    return [
        [
            Node(shorten(name, WIDEST_NAME), f"{count:,}", LONGEST_BAR * count / largest, HEADER + ROW * (row + 0.5))
            for name, count, row in zip(level.label_names, level_counts, rows, strict=True)
        ]
        for level, level_counts, rows in zip(labels.levels, counts, tree_rows(labels), strict=True)
    ]


def _columns(levels: Sequence[Sequence[Node]], headings: Sequence[str]) -> list[_Column]:
    """As wide as their texts and bars need."""
    columns, left = [], MARGIN
    for nodes, heading in zip(levels, headings, strict=True):
        bars = left + max(text_width(node.name) for node in nodes) + SPACE
        end = max(left + 1.2 * text_width(heading), max(_end(node, bars) for node in nodes))  # headings are bold
        columns.append(_Column(left, bars, end))
        left = end + GAP
    return columns


def _end(node: Node, bars: float) -> float:
    """Where a label's count ends."""
    return bars + node.bar + SPACE / 2 + text_width(node.number, _COUNT_POINTS)


def _draw_nodes(axes: Axes, nodes: Sequence[Node], column: _Column, colour: str) -> None:
    """Names, bars and counts of a level."""
    axes.barh([node.y for node in nodes], [node.bar for node in nodes], left=column.bars, height=0.5 * ROW,
              color=colour, linewidth=0)  # fmt: skip
    for node in nodes:
        axes.text(column.names, node.y, node.name, fontsize=TEXT_POINTS, color=INK, va="center_baseline",
                  parse_math=False)  # fmt: skip
        axes.text(column.bars + node.bar + SPACE / 2, node.y, node.number, fontsize=_COUNT_POINTS, color=FAINT,
                  va="center_baseline")  # fmt: skip


def _draw_branches(axes: Axes, pairs: Sequence[tuple[Node, Node]], left: _Column, right: _Column) -> None:
    """A line from the end of every parent to the name of each of its children."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    codes = [Path.MOVETO, Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    start, end = left.end + SPACE, right.names - SPACE / 2
    middle = (start + end) / 2
    for parent, child in pairs:
        begin = _end(parent, left.bars) + SPACE
        points = [(begin, parent.y), (start, parent.y), (middle, parent.y), (middle, child.y), (end, child.y)]
        axes.add_patch(PathPatch(Path(points, codes), facecolor="none", edgecolor=LINE, linewidth=1.2))
