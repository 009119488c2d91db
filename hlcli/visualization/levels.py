"""Where a model looks: photos with the attention of the labels of every level, coarse → fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlcli.visualization.heat import overlay
from hlcli.visualization.panels import (
    FOOTER,
    PANEL,
    LabelMap,
    column_left,
    draw_panel,
    draw_scale,
    even_note,
    figure_width,
    map_title,
    photo_title,
    row_height,
)
from hlcli.visualization.style import INK, TITLE_POINTS, draw_heading, heading_height, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADER = 0.3  # inches
_TITLE = "Where the model looks for the best labels of each level"


class Example(NamedTuple):
    """A photo [H, W, 3] uint8 and, per level coarse → fine, its labels, best first.

    `true_labels` are the names of its fine labels, None where nobody knows.
    """

    name: str
    image: np.ndarray
    levels: tuple[tuple[LabelMap, ...], ...]
    true_labels: tuple[str, ...] | None = None


def levels_figure(examples: Sequence[Example], level_names: Sequence[str]) -> Figure:
    """A row per photo: the photo, then for every level the attention of its best label; further labels below.

    Every map is coloured from its own lowest to its own highest value, but for those that are almost even.

    Args:
        examples: at least one.
        level_names: the levels that are shown, coarse → fine.
    """
    if not examples or any(len(example.levels) != len(level_names) for example in examples):
        raise ValueError(f"Expected at least one example, each with {len(level_names)} levels.")
    width = figure_width(len(level_names) + 1)
    top = heading_height() + _HEADER
    height = top + sum(_block_height(example) for example in examples) + FOOTER
    figure = new_figure(width, height)
    draw_heading(figure, _TITLE)
    for column, name in enumerate(["photo", *level_names]):
        place = ((column_left(column) + PANEL / 2) / width, 1 - (top - _HEADER / 2) / height)
        figure.text(*place, name, fontsize=TITLE_POINTS, weight="bold", color=INK, ha="center", va="center")
    for example in examples:
        _draw_block(figure, example, top)
        top += _block_height(example)
    note = even_note(label for example in examples for level in example.levels for label in level)
    draw_scale(figure, "least", "most attention in the photo", note=note)
    return figure


def _draw_block(figure: Figure, example: Example, top: float) -> None:
    """One photo with its rows of maps."""
    draw_panel(figure, 0, top, example.image, photo_title(example.name, example.true_labels))
    for column, level in enumerate(example.levels, start=1):
        for rank, label in enumerate(level):
            row_top = top + rank * row_height(example.image)
            draw_panel(figure, column, row_top, overlay(example.image, label.attention_map), map_title(label))


def _block_height(example: Example) -> float:
    return max(1, *(len(level) for level in example.levels)) * row_height(example.image)
