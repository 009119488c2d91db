"""Photos with a title above, side by side: what figures of attention are made of. Lengths in inches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlcli.visualization.attention import is_even
from hlcli.visualization.heat import heat_colours
from hlcli.visualization.style import FAINT, INK, TEXT_POINTS, shorten, text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUE_MARK, EVEN_MARK = "✓", "(even)"

PANEL, GAP, MARGIN = 2.1, 0.12, 0.2
TITLE, FOOTER = 0.44, 0.48
_TALLEST = 1.25  # times the width of a panel; taller photos are made narrower


class LabelMap(NamedTuple):
    """A label and where it looks: attention_map [h, w]; `is_true` None where nobody knows."""

    name: str
    score: float
    attention_map: np.ndarray
    is_true: bool | None = None


def draw_panel(figure: Figure, column: int, top: float, image: np.ndarray, title: str) -> None:
    """An image below its title; `top` is the distance from the figure's upper edge."""
    width, height = figure.get_size_inches()
    panel_width, panel_height = _panel_size(image)
    left = column_left(column) + (PANEL - panel_width) / 2
    bottom = height - top - TITLE - panel_height
    axes = figure.add_axes((left / width, bottom / height, panel_width / width, panel_height / height))
    axes.imshow(image, aspect="auto")
    axes.set_axis_off()
    axes.set_title(title, fontsize=TEXT_POINTS, color=INK, pad=3, parse_math=False)


def draw_scale(figure: Figure, least: str, most: str, *, note: str = "") -> None:
    """What the colours of maps mean, at the lower edge, with a note below."""
    width, height = figure.get_size_inches()
    bar_width = 1.2
    axes = figure.add_axes(((width - bar_width) / 2 / width, 0.23 / height, bar_width / width, 0.09 / height))
    axes.imshow(heat_colours(np.linspace(0, 1, 256))[None], aspect="auto")
    axes.set_axis_off()
    for place, text, side in ((-0.04, least, "right"), (1.04, most, "left")):
        axes.text(place, 0.45, text, transform=axes.transAxes, fontsize=TEXT_POINTS, color=FAINT, ha=side, va="center")
    figure.text(0.5, 0.1 / height, note, fontsize=TEXT_POINTS, color=FAINT, ha="center", va="center")


def even_note(labels: Iterable[LabelMap]) -> str:
    """What the mark of almost even maps means, where there are any."""
    has_even = any(is_even(label.attention_map) for label in labels)
    return f"{EVEN_MARK}: differences too small to stretch" if has_even else ""


def photo_title(name: str, true_labels: Sequence[str] | None) -> str:
    """Its name, and its true labels where somebody knows them, on three lines at most."""
    first = shorten(name, PANEL)
    if true_labels is None:
        return first
    return "\n".join([first, *_two_lines(["true:", *_with_commas(true_labels or ("no label",))])])


def map_title(label: LabelMap) -> str:
    """Name and score of a label, a mark if it is true, and one if its map is almost even."""
    marks = [TRUE_MARK] * bool(label.is_true) + [EVEN_MARK] * is_even(label.attention_map)
    return "\n".join([shorten(label.name, PANEL), " ".join([f"{label.score:.2f}", *marks])])


def _panel_size(image: np.ndarray) -> tuple[float, float]:
    """Width and height."""
    aspect = image.shape[0] / image.shape[1]
    return (PANEL, PANEL * aspect) if aspect <= _TALLEST else (_TALLEST * PANEL / aspect, _TALLEST * PANEL)


def row_height(image: np.ndarray) -> float:
    """Height of a row of panels with their titles."""
    return TITLE + _panel_size(image)[1] + GAP


def column_left(column: int) -> float:
    """Where a column begins."""
    return MARGIN + column * (PANEL + GAP)


def figure_width(columns: int) -> float:
    """Width of a figure with so many columns."""
    return 2 * MARGIN + columns * (PANEL + GAP) - GAP


def _with_commas(names: Sequence[str]) -> list[str]:
    return [*(f"{name}," for name in names[:-1]), names[-1]]


def _two_lines(parts: Sequence[str]) -> list[str]:
    """The parts on one line or two; what does not fit is cut."""
    first = ""
    for used, part in enumerate(parts):
        longer = f"{first} {part}".strip()
        if first and text_width(longer) > PANEL:
            return [shorten(first, PANEL), shorten(" ".join(parts[used:]), PANEL)]
        first = longer
    return [shorten(first, PANEL)]
