"""Where a model looks: photos with the attention of the labels of every level, coarse → fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from hlcli.visualization.attention import is_even, normalise_map
from hlcli.visualization.panels import (
    FOOTER,
    PANEL,
    LabelMap,
    column_left,
    draw_panel,
    draw_scale,
    even_note,
    figure_width,
    map_title,
    photo_title,
    row_height,
)
from hlcli.visualization.style import INK, TITLE_POINTS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOUR_MAP = "inferno"
_HEADER = 0.3  # inches


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

    Every map is coloured from its own lowest to its own highest value, but for those that are almost even.

    Args:
        examples: at least one.
        level_names: the levels that are shown, coarse → fine.
    """
    if not examples or any(len(example.levels) != len(level_names) for example in examples):
        raise ValueError(f"Expected at least one example, each with {len(level_names)} levels.")
    width = figure_width(len(level_names) + 1)
    height = _HEADER + sum(_block_height(example) for example in examples) + FOOTER
    figure = new_figure(width, height)
    for column, name in enumerate(["photo", *level_names]):
        figure.text((column_left(column) + PANEL / 2) / width, 1 - _HEADER / 2 / height, name, fontsize=TITLE_POINTS,
                    weight="bold", color=INK, ha="center", va="center")  # fmt: skip
    top = _HEADER
    for example in examples:
        _draw_block(figure, example, top)
        top += _block_height(example)
    note = even_note(label for example in examples for level in example.levels for label in level)
    draw_scale(figure, _heat_colours(np.linspace(0, 1, 256)), "least", "most attention in the photo", note=note)
    return figure


def overlay(image: np.ndarray, attention_map: np.ndarray) -> np.ndarray:
    """Colours from the map, lightness from the photo too: [H, W, 3] uint8 and [h, w] → [H, W, 3] uint8."""
    heat = upsample(attention_map, image.shape[0], image.shape[1])  # [H, W] in [0, 1]
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None] / 255
    tinted = _heat_colours(heat) * (0.35 + 0.9 * grey)
    return np.rint(255 * (0.85 * tinted + 0.15 * grey).clip(0, 1)).astype(np.uint8)


def _heat_colours(heat: np.ndarray) -> np.ndarray:
    """[…] in [0, 1] → […, 3] in [0, 1], without the map's blackest and whitest end, which would hide the photo."""
    from matplotlib import colormaps

    return colormaps[_COLOUR_MAP](0.2 + 0.65 * heat)[..., :3]


def upsample(attention_map: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map [h, w] stretched to 0…1 and smoothly enlarged to [height, width]; one that is almost even becomes zeros."""
    stretched = np.zeros_like(attention_map) if is_even(attention_map) else normalise_map(attention_map)
    enlarged = Image.fromarray(stretched.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(enlarged).clip(0, 1)


def _draw_block(figure: Figure, example: Example, top: float) -> None:
    """One photo with its rows of maps."""
    draw_panel(figure, 0, top, example.image, photo_title(example.name, example.true_labels))
    for column, level in enumerate(example.levels, start=1):
        for rank, label in enumerate(level):
            row_top = top + rank * row_height(example.image)
            draw_panel(figure, column, row_top, overlay(example.image, label.attention_map), map_title(label))


def _block_height(example: Example) -> float:
    return max(1, *(len(level) for level in example.levels)) * row_height(example.image)
