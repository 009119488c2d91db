"""One photo, and for every chosen label the same photo with where the model looks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hlcli.visualization.heat import overlay
from hlcli.visualization.panels import (
    FOOTER,
    LabelMap,
    draw_panel,
    draw_scale,
    even_note,
    figure_width,
    map_title,
    photo_title,
    row_height,
)
from hlcli.visualization.style import draw_heading, heading_height, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS_IN_A_ROW = 4
_TITLE = "Where the model looks for each label"


def attention_figure(
    name: str, image: np.ndarray, labels: Sequence[LabelMap], true_labels: Sequence[str] | None = None
) -> Figure:
    """The photo on the left, its labels beside it in the order given.

    Args:
        name: of the photo.
        image: [H, W, 3] uint8.
        labels: may be empty.
        true_labels: names, None where nobody knows them.
    """
    columns = min(_LABELS_IN_A_ROW, max(1, len(labels)))
    rows = max(1, -(-len(labels) // _LABELS_IN_A_ROW))
    below = heading_height()
    figure = new_figure(figure_width(1 + columns), below + rows * row_height(image) + FOOTER)
    draw_heading(figure, _TITLE)
    draw_panel(figure, 0, below, image, photo_title(name, true_labels))
    for number, label in enumerate(labels):
        row, column = divmod(number, _LABELS_IN_A_ROW)
        top = below + row * row_height(image)
        draw_panel(figure, 1 + column, top, overlay(image, label.attention_map), map_title(label))
    draw_scale(figure, "least", "most attention in the photo", note=even_note(labels))
    return figure
