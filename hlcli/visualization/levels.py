"""Where a model looks: photos with the attention of the labels of every level, coarse → fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from hlcli.visualization.style import FAINT, INK, TEXT_POINTS, TITLE_POINTS, new_figure, shorten, text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOUR_MAP = "inferno"
TRUE_MARK = "✓"

# All in inches.
PANEL, GAP, MARGIN = 2.1, 0.12, 0.2
TITLE, HEADER, FOOTER = 0.44, 0.3, 0.42


class LabelMap(NamedTuple):
    """A predicted label and where it looks: attention_map [h, w]; `is_true` None where nobody knows."""

    name: str
    score: float
    attention_map: np.ndarray
    is_true: bool | None = None


class Example(NamedTuple):
    """A photo [H, W, 3] uint8 and, per level coarse → fine, its labels, best first.

    `true_labels` are the names of its fine labels, None where nobody knows.
    """

    name: str
    image: np.ndarray
    levels: tuple[tuple[LabelMap, ...], ...]
    true_labels: tuple[str, ...] | None = None


def levels_figure(examples: Sequence[Example], level_names: Sequence[str]) -> Figure:
    """A row per photo: the photo, then for every level the attention of its best label; further labels below.

    Every map is coloured from its own lowest to its own highest value.

    Args:
        examples: at least one.
        level_names: coarse → fine.
    """
    if not examples or any(len(example.levels) != len(level_names) for example in examples):
        raise ValueError(f"Expected at least one example, each with {len(level_names)} levels.")
    width = 2 * MARGIN + (len(level_names) + 1) * (PANEL + GAP) - GAP
    height = HEADER + sum(_block_height(example) for example in examples) + FOOTER
    figure = new_figure(width, height)
    for column, name in enumerate(["photo", *level_names]):
        figure.text((_left(column) + PANEL / 2) / width, 1 - HEADER / 2 / height, name, fontsize=TITLE_POINTS,
                    weight="bold", color=INK, ha="center", va="center")  # fmt: skip
    top = HEADER
    for example in examples:
        _draw_block(figure, example, top)
        top += _block_height(example)
    _draw_scale(figure)
    return figure


def overlay(image: np.ndarray, attention_map: np.ndarray) -> np.ndarray:
    """Colours from the map, lightness from the photo too: [H, W, 3] uint8 and [h, w] → [H, W, 3] uint8."""
    heat = upsample(attention_map, image.shape[0], image.shape[1])  # [H, W] in [0, 1]
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None] / 255
    tinted = heat_colours(heat) * (0.35 + 0.9 * grey)
    return np.rint(255 * (0.85 * tinted + 0.15 * grey).clip(0, 1)).astype(np.uint8)


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """[…] in [0, 1] → […, 3] in [0, 1], without the map's blackest and whitest end, which would hide the photo."""
    from matplotlib import colormaps

    return colormaps[COLOUR_MAP](0.2 + 0.65 * heat)[..., :3]


def upsample(attention_map: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map [h, w] stretched to 0…1 and smoothly enlarged to [height, width]; an even one becomes zeros."""
    low, high = float(attention_map.min()), float(attention_map.max())
    stretched = (attention_map - low) / (high - low) if high > low else np.zeros_like(attention_map)
    enlarged = Image.fromarray(stretched.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(enlarged).clip(0, 1)


def _draw_block(figure: Figure, example: Example, top: float) -> None:
    """One photo with its rows of maps."""
    _draw_panel(figure, 0, top, example.image, _photo_title(example))
    for column, level in enumerate(example.levels, start=1):
        for rank, label in enumerate(level):
            row_top = top + rank * _row_height(example)
            _draw_panel(figure, column, row_top, overlay(example.image, label.attention_map), _map_title(label))


def _draw_panel(figure: Figure, column: int, top: float, image: np.ndarray, title: str) -> None:
    """An image below its title; `top` in inches from the figure's upper edge."""
    width, height = figure.get_size_inches()
    panel_width, panel_height = _panel_size(image)
    left = _left(column) + (PANEL - panel_width) / 2
    bottom = height - top - TITLE - panel_height
    axes = figure.add_axes((left / width, bottom / height, panel_width / width, panel_height / height))
    axes.imshow(image, aspect="auto")
    axes.set_axis_off()
    axes.set_title(title, fontsize=TEXT_POINTS, color=INK, pad=3, parse_math=False)


def _photo_title(example: Example) -> str:
    name = shorten(example.name, PANEL)
    if example.true_labels is None:
        return name
    return "\n".join([name, *_two_lines(["true:", *_with_commas(example.true_labels or ("no label",))])])


def _map_title(label: LabelMap) -> str:
    score = f"{label.score:.2f} {TRUE_MARK}" if label.is_true else f"{label.score:.2f}"
    return f"{shorten(label.name, PANEL)}\n{score}"


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


def _draw_scale(figure: Figure) -> None:
    """What the colours mean."""
    width, height = figure.get_size_inches()
    bar_width = 1.2
    axes = figure.add_axes(((width - bar_width) / 2 / width, 0.17 / height, bar_width / width, 0.09 / height))
    axes.imshow(heat_colours(np.linspace(0, 1, 256))[None], aspect="auto")
    axes.set_axis_off()
    for place, text, side in ((-0.04, "least", "right"), (1.04, "most attention in the photo", "left")):
        axes.text(place, 0.45, text, transform=axes.transAxes, fontsize=TEXT_POINTS, color=FAINT, ha=side, va="center")


def _panel_size(image: np.ndarray) -> tuple[float, float]:
    """Width and height in inches; tall photos are made narrower."""
    aspect = image.shape[0] / image.shape[1]
    return (PANEL, PANEL * aspect) if aspect <= 1.25 else (1.25 * PANEL / aspect, 1.25 * PANEL)


def _row_height(example: Example) -> float:
    return TITLE + _panel_size(example.image)[1] + GAP


def _block_height(example: Example) -> float:
    return max(1, *(len(level) for level in example.levels)) * _row_height(example)


def _left(column: int) -> float:
    return MARGIN + column * (PANEL + GAP)
