"""Photos, and beside each those that are most like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlcli.visualization.panels import PANEL, draw_panel, figure_width, row_height
from hlcli.visualization.style import EDGE, draw_heading, heading_height, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Thumbnail(NamedTuple):
    """A photo [H, W, 3] uint8, its name, and what else is said of it on a line of its own."""

    name: str
    image: np.ndarray
    line: str


def neighbours_figure(title: str, notes: Sequence[str], rows: Sequence[Sequence[Thumbnail]]) -> Figure:
    """A row per photo: itself, then its neighbours, nearest first.

    Args:
        title: what one sees.
        notes: how to read it.
        rows: at least one, each with at least one photo.
    """
    if not rows or not all(rows):
        raise ValueError("Expected at least one row, each with at least one photo.")
    heights = [max(row_height(photo.image) for photo in row) for row in rows]
    top = heading_height(len(notes))
    figure = new_figure(figure_width(max(map(len, rows))), top + sum(heights) + EDGE)
    for row, height in zip(rows, heights, strict=True):
        for column, photo in enumerate(row):
            lines = [shorten(photo.name, PANEL), shorten(photo.line, PANEL)]
            draw_panel(figure, column, top, photo.image, "\n".join(filter(None, lines)))
        top += height
    draw_heading(figure, title, notes)
    return figure
