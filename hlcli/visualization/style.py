"""What the figures share: a new figure, colours that colour-blind people can tell apart, plain axes, text widths."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hlcli.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, without its yellow.
LEVEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, FAINT, LINE = "#222222", "#767676", "#D9D9D9"

TEXT_POINTS = 8.0
TITLE_POINTS = 9.5
POINTS_PER_INCH = 72.0


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


def make_plain(axes: Axes) -> None:
    """Take away what carries no information, and keep light horizontal lines to read values from."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=TEXT_POINTS)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)


@cache
def text_width(text: str, points: float = TEXT_POINTS) -> float:
    """Width of a line of text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=points), ismath=False)
    return float(width) / POINTS_PER_INCH


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
