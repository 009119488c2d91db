"""One photo with its caption, and for every word the same photo with what was looked at for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlcli.visualization.attention import is_even, jet, overlay
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
from hlcli.visualization.style import FAINT, INK, POINTS_PER_INCH, TEXT_POINTS, TITLE_POINTS, new_figure, shorten
from hlcli.visualization.style import text_width as width_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS_IN_A_ROW = 5
TOP = 0.1  # inches
LINE = 1.5 * TITLE_POINTS / POINTS_PER_INCH  # inches from one line of the caption to the next
BOX_COLOUR = (255, 255, 255)


class WordMap(NamedTuple):
    """A word and what was looked at for it.

    Args:
        word: the word.
        attention_map: weights of grid cells, [h, w].
        box: left, top, right, bottom of the region that weighs most, as fractions of the photo; None without boxes.
    """

    word: str
    attention_map: np.ndarray
    box: tuple[float, float, float, float] | None = None


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
    columns = min(WORDS_IN_A_ROW, max(1, len(words)))
    rows = max(1, -(-len(words) // WORDS_IN_A_ROW))
    width = figure_width(1 + columns)
    lines = wrap(caption or "no word", width - 2 * MARGIN)
    top = TOP + (len(lines) + (reference is not None)) * LINE
    figure = new_figure(width, top + rows * row_height(image) + FOOTER)
    _draw_caption(figure, lines, reference)
    draw_panel(figure, 0, top, image, shorten(name, PANEL))
    for number, word in enumerate(words):
        row, column = divmod(number, WORDS_IN_A_ROW)
        below = top + row * row_height(image)
        title = " ".join([word.word, *[EVEN_MARK] * is_even(word.attention_map)])
        draw_panel(figure, 1 + column, below, _word_picture(image, word), shorten(title, PANEL))
    draw_scale(figure, jet(np.arange(256, dtype=np.uint8)) / 255, "least", "most attention", note=_note(words))
    return figure


def wrap(text: str, width_inches: float) -> list[str]:
    """The text on lines that fit; a word that is too long for one is cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, TITLE_POINTS) <= width_inches:
            lines[-1] = longer
        else:
            lines.append(shorten(word, width_inches, TITLE_POINTS))
    return lines


def outline(image: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The image [H, W, 3] with the edge of a box, given as fractions of it, drawn in."""
    height, width = image.shape[:2]
    thickness = max(1, round(min(height, width) / 120))
    left, right = (min(max(round(box[side] * width), 0), width) for side in (0, 2))
    top, bottom = (min(max(round(box[side] * height), 0), height) for side in (1, 3))
    drawn = image.copy()
    inner = drawn[top + thickness : bottom - thickness, left + thickness : right - thickness].copy()
    drawn[top:bottom, left:right] = BOX_COLOUR
    drawn[top + thickness : bottom - thickness, left + thickness : right - thickness] = inner
    return drawn


def _word_picture(image: np.ndarray, word: WordMap) -> np.ndarray:
    heat = overlay(image, word.attention_map)
    return heat if word.box is None else outline(heat, word.box)


def _draw_caption(figure: Figure, lines: Sequence[str], reference: str | None) -> None:
    width, height = figure.get_size_inches()
    for number, line in enumerate(lines):
        place = (height - TOP - (number + 0.5) * LINE) / height
        figure.text(MARGIN / width, place, line, fontsize=TITLE_POINTS, color=INK, va="center", parse_math=False)
    if reference is not None:
        text = shorten(f"true: {reference}", width - 2 * MARGIN - GAP)
        place = (height - TOP - (len(lines) + 0.5) * LINE) / height
        figure.text(MARGIN / width, place, text, fontsize=TEXT_POINTS, color=FAINT, va="center", parse_math=False)


def _note(words: Sequence[WordMap]) -> str:
    notes = []
    if any(word.box is not None for word in words):
        notes.append("box: the region that weighs most")
    if any(is_even(word.attention_map) for word in words):
        notes.append(f"{EVEN_MARK}: differences too small to stretch")
    return "; ".join(notes)
