"""What the figures share: a new figure, colours that colour-blind people can tell apart, plain axes, text widths."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from hlcli.errors import MissingDependencyError
from hlcli.visualization.fonts import font_families

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, without its yellow.
LEVEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LEVEL_MARKERS = ("o", "s", "^", "D", "v", "P")
"""Shapes that go with these colours, so that colour is never all that tells things apart."""
INK, FAINT, LINE = "#222222", "#767676", "#D9D9D9"

TEXT_POINTS = 8.0
TITLE_POINTS = 9.5
HEADING_POINTS = 11.0
POINTS_PER_INCH = 72.0

EDGE = 0.2
"""Inches between the edge of a figure and what it shows."""
_NOTE_LINE = 0.17


def new_figure(width_inches: float, height_inches: float, *, padding_inches: float | None = None) -> Figure:
    """An empty figure that belongs to no window and no global state.

    Args:
        width_inches: width of the figure.
        height_inches: height of the figure.
        padding_inches: arrange its axes automatically, with so much room around each; None leaves that to the caller.

    Raises:
        MissingDependencyError: when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MissingDependencyError("Figures need matplotlib.", "Run: pip install matplotlib") from error
    layout = None
    if padding_inches is not None:
        layout = ConstrainedLayoutEngine(w_pad=padding_inches, h_pad=padding_inches)
    return Figure(figsize=(width_inches, height_inches), layout=layout, facecolor="white")


def level_colours(level_names: tuple[str, ...]) -> dict[str, str]:
    """A colour per level (coarse → fine); the finest level has the same one in every tree."""
    heights = reversed(range(len(level_names)))
    return {name: LEVEL_COLOURS[height % len(LEVEL_COLOURS)] for name, height in zip(level_names, heights, strict=True)}


def level_markers(level_names: tuple[str, ...]) -> dict[str, str]:
    """A shape of points per level (coarse → fine), as `level_colours` gives colours."""
    heights = reversed(range(len(level_names)))
    return {name: LEVEL_MARKERS[height % len(LEVEL_MARKERS)] for name, height in zip(level_names, heights, strict=True)}


def make_plain(axes: Axes) -> None:
    """Take away what carries no information, and keep light horizontal lines to read values from."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=TEXT_POINTS)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)


def add_axes(figure: Figure, left: float, top: float, width: float, height: float, **settings: Any) -> Axes:
    """Axes whose place is given in inches from the figure's upper left corner; `settings` are matplotlib's."""
    full_width, full_height = figure.get_size_inches()
    box = (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    return figure.add_axes(box, **settings)


def heading_height(notes: int = 0) -> float:
    """Inches from the upper edge of a figure to what stands below its heading with so many notes."""
    return EDGE + 0.32 + _NOTE_LINE * notes


def draw_heading(figure: Figure, title: str, notes: Sequence[str] = ()) -> None:
    """What one sees, at the upper left; below it, smaller, how to read it. What is too long is cut."""
    width, height = figure.get_size_inches()
    lines = [(title, HEADING_POINTS, INK), *((note, TEXT_POINTS, FAINT) for note in notes)]
    for number, (text, points, colour) in enumerate(lines):
        place = EDGE + 0.06 + (0.04 + _NOTE_LINE * number if number else 0)
        figure.text(EDGE / width, 1 - place / height, shorten(text, width - 2 * EDGE, points), fontsize=points,
                    color=colour, va="center", parse_math=False)  # fmt: skip


@cache
def text_width(text: str, points: float = TEXT_POINTS) -> float:
    """Width of a line of text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=list(font_families()), size=points)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # told once the figure is saved
        width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / POINTS_PER_INCH


def wrap(text: str, width_inches: float, points: float = TITLE_POINTS) -> list[str]:
    """The text on lines that fit; a word that is too long for one is cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, points) <= width_inches:
            lines[-1] = longer
        else:
            lines.append(shorten(word, width_inches, points))
    return lines


def shorten(text: str, width_inches: float, points: float = TEXT_POINTS) -> str:
    """The text, cut so that it fits, with … where it was cut."""
    text = " ".join(text.split())
    if text_width(text, points) <= width_inches:
        return text
    fitting, too_long = 0, len(text)
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        if text_width(text[:middle].rstrip() + "…", points) <= width_inches:
            fitting = middle
        else:
            too_long = middle
    return text[:fitting].rstrip() + "…"
