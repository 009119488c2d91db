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


def new_figure(width_inches: float, height_inches: float, *, layout: str | None = None) -> Figure:
    """An empty figure that belongs to no window and no global state.

    Raises:
        MissingDependencyError: when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("Figures need matplotlib.", 'Run: pip install "hlcli[viz]"') from error
    return Figure(figsize=(width_inches, height_inches), layout=layout, facecolor="white")


def level_colours(level_names: tuple[str, ...]) -> dict[str, str]:
    """A colour per level (coarse → fine); the finest level has the same one in every tree."""
    return {name: LEVEL_COLOURS[height % len(LEVEL_COLOURS)] for height, name in enumerate(reversed(level_names))}


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
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=points, usetex=False).get_extents().width) / POINTS_PER_INCH


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
