"""Scenes: a cloud of the labels that belong to each, and a heat map of those that go together in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hlcli.visualization.fonts import font_file
from hlcli.visualization.style import (
    EDGE,
    FAINT,
    HEADING_POINTS,
    INK,
    LINE,
    TEXT_POINTS,
    TITLE_POINTS,
    add_axes,
    draw_heading,
    heading_height,
    new_figure,
    shorten,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

_COLOUR_MAP = "magma"

# All in inches.
CLOUD_WIDTH, CLOUD_HEIGHT = 4.0, 2.0
CELL, WIDEST_TICK = 0.21, 1.05
MARGIN, GAP, TITLE, SCALE = EDGE, 0.35, 0.3, 0.45
COLUMNS = 3

READING = "Within one cloud, larger = larger share of the label's images; sizes do not compare between clouds."

# Font sizes in a cloud are whole numbers of its units.
UNITS_WIDE, UNITS_HIGH = 600, 300
SMALLEST_WORD, LONGEST_WORD = 10, 32  # units; characters
_CLOUD_SEED = 0


class _PlacedWord(NamedTuple):
    """A word of a cloud: its outline in the cloud's units, x to the right and y downwards."""

    word: str
    outline: Path
    colour: str


class SceneSummary(NamedTuple):
    """What is drawn of a scene: its cloud, None if it was never seen, and P(column | row) [n, n] of some labels."""

    title: str
    cloud: Sequence[_PlacedWord] | None
    names: Sequence[str]
    adjacency: np.ndarray


def words_figure(title: str, cloud: Sequence[_PlacedWord]) -> Figure:
    """The cloud of one scene."""
    width, height = 1.5 * CLOUD_WIDTH, 1.5 * CLOUD_HEIGHT
    top = heading_height(1)
    figure = new_figure(width + 2 * MARGIN, top + height + MARGIN)
    draw_heading(figure, title, [READING])
    _draw_cloud(add_axes(figure, MARGIN, top, width, height), cloud)
    return figure


def heat_map_figure(title: str, names: Sequence[str], adjacency: np.ndarray) -> Figure:
    """The heat map of one scene and one group of labels; adjacency [n, n] holds P(column | row)."""
    side, left = _cell(len(names)) * len(names), _ticks_width(names)
    width = max(2 * MARGIN + left + side, 2 * MARGIN + text_width(title, HEADING_POINTS), 3.6)
    top = heading_height()
    figure = new_figure(width, top + side + _ticks_height(names) + SCALE)
    draw_heading(figure, title)
    _draw_heat_map(add_axes(figure, MARGIN + left, top, side, side), names, adjacency)
    _draw_scale(figure)
    return figure


def overview_figure(title: str, scenes: Sequence[SceneSummary]) -> Figure:
    """All scenes side by side, each with its cloud above its heat map."""
    rows = -(-len(scenes) // COLUMNS)
    columns = -(-len(scenes) // rows)
    maps = [
        GAP / 2 + _overview_side(scene.names) + _ticks_height(scene.names)
        for scene in scenes
        if scene.cloud is not None
    ]
    height = TITLE + CLOUD_HEIGHT + max(maps, default=0.0)
    top = heading_height(1)
    figure = new_figure(
        2 * MARGIN + columns * (CLOUD_WIDTH + GAP) - GAP, top + rows * (height + GAP) - GAP + SCALE + MARGIN / 2
    )
    draw_heading(figure, title, [READING])
    for number, scene in enumerate(scenes):
        row, column = divmod(number, columns)
        _draw_scene(figure, scene, MARGIN + column * (CLOUD_WIDTH + GAP), top + row * (height + GAP))
    if maps:
        _draw_scale(figure)
    return figure


def _draw_scene(figure: Figure, scene: SceneSummary, left: float, top: float) -> None:
    """Title, cloud and heat map below each other."""
    _write_title(figure, left, top, scene.title, CLOUD_WIDTH)
    axes = add_axes(figure, left, top + TITLE, CLOUD_WIDTH, CLOUD_HEIGHT)
    if scene.cloud is None:
        _say(axes, "No training image was counted for this scene.")
        return
    _draw_cloud(axes, scene.cloud)
    side = _overview_side(scene.names)
    indent = (CLOUD_WIDTH - side + _ticks_width(scene.names)) / 2
    map_top = top + TITLE + CLOUD_HEIGHT + GAP / 2
    _draw_heat_map(add_axes(figure, left + indent, map_top, side, side), scene.names, scene.adjacency)


def arrange_words(words: Mapping[str, int]) -> list[_PlacedWord]:
    """A cloud of words, those that count more not smaller; always the same one for the same words.

    Words that count 0 are left out, and those that would be too small to read.
    """
    from wordcloud import WordCloud

    shown = {_cut(word): size for word, size in words.items() if size > 0}
    if not shown:
        return []
    font = font_file(shown)
    cloud = WordCloud(
        font_path=font, width=UNITS_WIDE, height=UNITS_HIGH, min_font_size=SMALLEST_WORD, margin=4,
        color_func=_word_colour, random_state=_CLOUD_SEED,
    ).generate_from_frequencies(shown)  # fmt: skip
    return [
        _PlacedWord(word, word_outline(word, font, size, float(left), float(top), is_turned=turned is not None), colour)
        for (word, _), size, (top, left), turned, colour in cloud.layout_
    ]


def _draw_cloud(axes: Axes, cloud: Sequence[_PlacedWord]) -> None:
    """Words as outlines, so that they stay sharp in every format."""
    from matplotlib.patches import PathPatch

    if not cloud:
        _say(axes, "No label has a two-hundredth of its images here.")
        return
    axes.set(xlim=(0, UNITS_WIDE), ylim=(UNITS_HIGH, 0))
    _frame(axes)
    for placed in cloud:
        # add_patch would measure every curve to find limits that are set already
        axes.add_artist(PathPatch(placed.outline, facecolor=placed.colour, linewidth=0, gid=placed.word))


def word_outline(word: str, font: str, size: int, left: float, top: float, *, is_turned: bool) -> Path:
    """The outline of a word where the cloud has put its box; y points downwards, turned words run upwards."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D
    from PIL import ImageFont

    outline = TextPath((0, 0), word, size=size, prop=FontProperties(fname=font), usetex=False)  # y points upwards
    ascent = outline.get_extents().y1
    begin, _, end, _ = ImageFont.truetype(font, size).getbbox(word)  # the box has room before and after the ink
    if is_turned:
        return outline.transformed(Affine2D.from_values(0, -1, -1, 0, left + ascent, top + end))
    return outline.transformed(Affine2D.from_values(1, 0, 0, -1, left - begin, top + ascent))


def _draw_heat_map(axes: Axes, names: Sequence[str], adjacency: np.ndarray) -> None:
    """P(column | row), colours from 0 to 1 whatever the values."""
    axes.imshow(adjacency, cmap=_COLOUR_MAP, vmin=0, vmax=1, interpolation="nearest")
    ticks = [shorten(name, WIDEST_TICK) for name in names]
    axes.set_xticks(range(len(names)), ticks, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(len(names)), ticks, parse_math=False)
    axes.tick_params(length=0, labelsize=TEXT_POINTS, labelcolor=INK, pad=3)
    axes.spines[:].set_visible(False)


def _overview_side(names: Sequence[str]) -> float:
    """Side of a heat map that is as wide as the cloud above, names included."""
    return min(_cell(len(names)) * len(names), CLOUD_WIDTH - _ticks_width(names))


def _cell(labels: int) -> float:
    """Side of a cell; a few labels get larger ones."""
    return max(CELL, min(0.4, 3.2 / labels))


def _word_colour(word: str, *, random_state: Random, **_: object) -> str:
    """A dark colour: the yellow end of the map cannot be read on white."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps["viridis"](random_state.uniform(0, 0.7)))


def _cut(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else word[: LONGEST_WORD - 1].rstrip() + "…"


def _ticks_width(names: Sequence[str]) -> float:
    return max(text_width(shorten(name, WIDEST_TICK)) for name in names) + 0.1


def _ticks_height(names: Sequence[str]) -> float:
    """Of names that lean by 45 degrees."""
    return 0.71 * (_ticks_width(names) + 0.15)


def _write_title(figure: Figure, left: float, top: float, title: str, width: float) -> None:
    full_width, full_height = figure.get_size_inches()
    figure.text(left / full_width, 1 - top / full_height, shorten(title, width, TITLE_POINTS), fontsize=TITLE_POINTS,
                color=INK, va="top", parse_math=False)  # fmt: skip


def _frame(axes: Axes) -> None:
    """A thin line around, and nothing else."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(LINE)


def _say(axes: Axes, sentence: str) -> None:
    """An empty place that says why it is empty."""
    _frame(axes)
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, fontsize=TEXT_POINTS, color=FAINT, ha="center", va="center")


def _draw_scale(figure: Figure) -> None:
    """What the colours of heat maps mean, at the lower edge."""
    from matplotlib import colormaps

    width, height = figure.get_size_inches()
    bar = 1.0
    axes = figure.add_axes(((width - bar) / 2 / width, 0.14 / height, bar / width, 0.1 / height))
    axes.imshow(colormaps[_COLOUR_MAP](np.linspace(0, 1, 256))[None], aspect="auto")
    axes.set_axis_off()
    for place, text, side in ((-0.06, "P(column | row): 0", "right"), (1.06, "1", "left")):
        axes.text(place, 0.45, text, transform=axes.transAxes, fontsize=TEXT_POINTS, color=FAINT, ha=side, va="center")
