"""Photos with a title above, side by side: what figures of attention are made of. Lengths in inches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlcli.visualization.style import FAINT, INK, TEXT_POINTS, shorten, text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUE_MARK = "✓"

PANEL, GAP, MARGIN = 2.1, 0.12, 0.2
TITLE, FOOTER = 0.44, 0.42
TALLEST = 1.25  # times the width of a panel; taller photos are made narrower


class LabelMap(NamedTuple):
    """A label and where it looks: attention_map [h, w]; `is_true` None where nobody knows."""

    name: str
    score: float
    attention_map: np.ndarray
    is_true: bool | None = None


def draw_panel(figure: Figure, column: int, top: float, image: np.ndarray, title: str) -> None:
    """An image below its title; `top` is the distance from the figure's upper edge."""
    width, height = figure.get_size_inches()
    panel_width, panel_height = panel_size(image)
    left = column_left(column) + (PANEL - panel_width) / 2
    bottom = height - top - TITLE - panel_height
    axes = figure.add_axes((left / width, bottom / height, panel_width / width, panel_height / height))
    axes.imshow(image, aspect="auto")
    axes.set_axis_off()
    axes.set_title(title, fontsize=TEXT_POINTS, color=INK, pad=3, parse_math=False)


def draw_scale(figure: Figure, colours: np.ndarray, least: str, most: str) -> None:
    """What the colours [256, 3] mean, at the lower edge."""
    width, height = figure.get_size_inches()
    bar_width = 1.2
    axes = figure.add_axes(((width - bar_width) / 2 / width, 0.17 / height, bar_width / width, 0.09 / height))
    axes.imshow(colours[None], aspect="auto")
    axes.set_axis_off()
    for place, text, side in ((-0.04, least, "right"), (1.04, most, "left")):
        axes.text(place, 0.45, text, transform=axes.transAxes, fontsize=TEXT_POINTS, color=FAINT, ha=side, va="center")


def photo_title(name: str, true_labels: Sequence[str] | None) -> str:
    """Its name, and its true labels where somebody knows them, on three lines at most."""
    first = shorten(name, PANEL)
    if true_labels is None:
        return first
    return "\n".join([first, *_two_lines(["true:", *_with_commas(true_labels or ("no label",))])])


def map_title(label: LabelMap) -> str:
    """Name and score of a label, and a mark if it is true."""
    score = f"{label.score:.2f} {TRUE_MARK}" if label.is_true else f"{label.score:.2f}"
    return f"{shorten(label.name, PANEL)}\n{score}"


def panel_size(image: np.ndarray) -> tuple[float, float]:
    """Width and height."""
    aspect = image.shape[0] / image.shape[1]
    return (PANEL, PANEL * aspect) if aspect <= TALLEST else (TALLEST * PANEL / aspect, TALLEST * PANEL)


def row_height(image: np.ndarray) -> float:
    """Height of a row of panels with their titles."""
    return TITLE + panel_size(image)[1] + GAP


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
