"""One photo with its caption, and for every word the same photo with what was looked at for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlcli.visualization.attention import is_even
from hlcli.visualization.heat import overlay
from hlcli.visualization.panels import (
    EVEN_MARK,
    FOOTER,
    GAP,
    MARGIN,
    PANEL,
    draw_panel,
    draw_scale,
    figure_width,
    row_height,
)
from hlcli.visualization.style import (
    FAINT,
    INK,
    POINTS_PER_INCH,
    TEXT_POINTS,
    TITLE_POINTS,
    draw_heading,
    heading_height,
    new_figure,
    shorten,
    wrap,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WORDS_IN_A_ROW = 5
_TITLE = "Where the model looks for each word of its caption"
LINE = 1.5 * TITLE_POINTS / POINTS_PER_INCH  # inches from one line of the caption to the next
_BOX_COLOURS = ((3.2, "black"), (1.5, "white"))  # a wide line below a narrow one: seen on bright and dark photos


class WordMap(NamedTuple):
    """A word and what was looked at for it.

    Args:
        word: the word.
        attention_map: weights of grid cells, [h, w].
        box: left, top, right, bottom of the region that weighs most, as fractions of the photo; None to draw none.
        even_regions: whether there is no box because the regions weigh about the same.
    """

    word: str
    attention_map: np.ndarray
    box: tuple[float, float, float, float] | None = None
    even_regions: bool = False


def caption_figure(
    name: str, image: np.ndarray, caption: str, words: Sequence[WordMap], reference: str | None = None
) -> Figure:
    """The photo on the left below its caption, its words beside it in their order.

    Args:
        name: of the photo.
        image: [H, W, 3] uint8.
        caption: the sentence.
        words: of the caption; may be empty.
        reference: a true caption, None where nobody knows one.
    """
    columns = min(_WORDS_IN_A_ROW, max(1, len(words)))
    rows = max(1, -(-len(words) // _WORDS_IN_A_ROW))
    width = figure_width(1 + columns)
    lines = wrap(caption or "no word", width - 2 * MARGIN)
    top = heading_height() + (len(lines) + (reference is not None)) * LINE
    figure = new_figure(width, top + rows * row_height(image) + FOOTER)
    draw_heading(figure, _TITLE)
    _draw_caption(figure, lines, reference)
    draw_panel(figure, 0, top, image, shorten(name, PANEL))
    for number, word in enumerate(words):
        row, column = divmod(number, _WORDS_IN_A_ROW)
        below = top + row * row_height(image)
        title = " ".join([word.word, *[EVEN_MARK] * is_even(word.attention_map)])
        draw_panel(figure, 1 + column, below, overlay(image, word.attention_map), shorten(title, PANEL))
        if word.box is not None:
            outline(figure.axes[-1], image, word.box)
    draw_scale(figure, "least", "most attention", note=_note(words))
    return figure


def outline(axes: Axes, image: np.ndarray, box: tuple[float, float, float, float]) -> None:
    """Draw the edge of a box, given as fractions of the image [H, W, 3] that the axes show, in lines of fixed width."""
    from matplotlib.patches import Rectangle

    height, width = image.shape[:2]
    left, top, right, bottom = (min(max(place, 0.0), 1.0) for place in box)
    corner, size = (left * width - 0.5, top * height - 0.5), ((right - left) * width, (bottom - top) * height)
    for line_width, colour in _BOX_COLOURS:
        axes.add_patch(Rectangle(corner, *size, fill=False, linewidth=line_width, edgecolor=colour, clip_on=False))


def _draw_caption(figure: Figure, lines: Sequence[str], reference: str | None) -> None:
    width, height = figure.get_size_inches()
    for number, line in enumerate(lines):
        place = (height - heading_height() - (number + 0.5) * LINE) / height
        figure.text(MARGIN / width, place, line, fontsize=TITLE_POINTS, color=INK, va="center", parse_math=False)
    if reference is not None:
        text = shorten(f"true: {reference}", width - 2 * MARGIN - GAP)
        place = (height - heading_height() - (len(lines) + 0.5) * LINE) / height
        figure.text(MARGIN / width, place, text, fontsize=TEXT_POINTS, color=FAINT, va="center", parse_math=False)


def _note(words: Sequence[WordMap]) -> str:
    notes = []
    if any(word.box is not None for word in words):
        notes.append("box: the region that weighs most")
    if any(word.even_regions for word in words):
        notes.append("no box: the regions weigh alike")
    if any(is_even(word.attention_map) for word in words):
        notes.append(f"{EVEN_MARK}: differences too small to stretch")
    return "; ".join(notes)
