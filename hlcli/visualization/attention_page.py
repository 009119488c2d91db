"""One photo, and for every chosen label the same photo with its attention in SGRE's colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hlcli.visualization.attention import jet, overlay
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
from hlcli.visualization.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABELS_IN_A_ROW = 4
_TOP = 0.08  # inches


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
    figure = new_figure(figure_width(1 + columns), _TOP + rows * row_height(image) + FOOTER)
    draw_panel(figure, 0, _TOP, image, photo_title(name, true_labels))
    for number, label in enumerate(labels):
        row, column = divmod(number, _LABELS_IN_A_ROW)
        top = _TOP + row * row_height(image)
        draw_panel(figure, 1 + column, top, overlay(image, label.attention_map), map_title(label))
    draw_scale(
        figure,
        jet(np.arange(256, dtype=np.uint8)) / 255,
        "least",
        "most attention in the photo",
        note=even_note(labels),
    )
    return figure
