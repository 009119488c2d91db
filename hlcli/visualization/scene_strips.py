"""Images with the probabilities of their scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hlcli.visualization.style import (
    EDGE,
    FAINT,
    INK,
    LEVEL_COLOURS,
    LINE,
    TEXT_POINTS,
    add_axes,
    draw_heading,
    heading_height,
    new_figure,
    shorten,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# All in inches.
PHOTO_WIDTH, PHOTO_HEIGHT = 1.8, 1.4
BAR_ROW, LONGEST_BAR, NUMBER = 0.18, 1.1, 0.35
_WIDEST_NAME = 2.2
MARGIN, GAP, TITLE, BETWEEN = EDGE, 0.15, 0.24, 0.4

READING = "Words beside a scene: the labels with the largest share of their images in it."
_TITLE = "How probable each scene is in each image"


class Strip(NamedTuple):
    """A photo [H, W, 3] uint8 and the probabilities [S] of scenes."""

    name: str
    image: np.ndarray
    scene_probs: np.ndarray


def strips_figure(strips: Sequence[Strip], scene_names: Sequence[str], *, columns: int = 2) -> Figure:
    """A strip per image: the photo, and a bar per scene; the most probable scene stands out.

    Args:
        strips: at least one.
        scene_names: of all scenes, S.
        columns: strips beside each other.
    """
    if not strips or any(strip.scene_probs.shape != (len(scene_names),) for strip in strips):
        raise ValueError(f"Expected at least one strip, each with probabilities of {len(scene_names)} scenes.")
    columns = min(columns, len(strips))
    names = [shorten(name, _WIDEST_NAME) for name in scene_names]
    names_width = 1.1 * max(map(text_width, names))  # one of them is bold
    strip_width = PHOTO_WIDTH + GAP + names_width + GAP / 2 + LONGEST_BAR + NUMBER
    strip_height = TITLE + max(PHOTO_HEIGHT, BAR_ROW * len(names)) + GAP
    rows = -(-len(strips) // columns)
    width = 2 * MARGIN + max(columns * (strip_width + BETWEEN) - BETWEEN, text_width(READING))
    height = heading_height(1) + rows * strip_height - GAP + MARGIN
    figure = new_figure(width, height)
    draw_heading(figure, _TITLE, [READING])
    for number, strip in enumerate(strips):
        row, column = divmod(number, columns)
        left, top = MARGIN + column * (strip_width + BETWEEN), heading_height(1) + row * strip_height
        title = shorten(strip.name, strip_width)
        figure.text(left / width, 1 - top / height, title, fontsize=TEXT_POINTS, color=INK, va="top", parse_math=False)
        _draw_photo(figure, strip.image, left, top + TITLE)
        _draw_bars(figure, strip.scene_probs, names, left + PHOTO_WIDTH + GAP + names_width + GAP / 2, top + TITLE)
    return figure


def _draw_photo(figure: Figure, image: np.ndarray, left: float, top: float) -> None:
    """The photo, as large as its place allows."""
    scale = min(PHOTO_WIDTH / image.shape[1], PHOTO_HEIGHT / image.shape[0])
    photo_width, photo_height = scale * image.shape[1], scale * image.shape[0]
    axes = add_axes(figure, left, top, photo_width, photo_height)
    axes.imshow(image, aspect="auto")
    axes.set_axis_off()


def _draw_bars(figure: Figure, scene_probs: np.ndarray, names: Sequence[str], left: float, top: float) -> None:
    """Names to the left of `left`, bars and numbers to the right."""
    limits = {"xlim": (0, 1 + NUMBER / LONGEST_BAR), "ylim": (len(names) - 0.5, -0.5)}
    axes = add_axes(figure, left, top, LONGEST_BAR + NUMBER, BAR_ROW * len(names), **limits)
    axes.set_axis_off()
    best = int(scene_probs.argmax())
    axes.barh(range(len(names)), np.ones(len(names)), height=0.62, color=LINE, alpha=0.4, linewidth=0)
    axes.barh(range(len(names)), scene_probs, height=0.62, linewidth=0,
              color=[LEVEL_COLOURS[0] if scene == best else FAINT for scene in range(len(names))])  # fmt: skip
    for scene, (name, scene_prob) in enumerate(zip(names, scene_probs.tolist(), strict=True)):
        style: dict[str, Any] = {
            "fontsize": TEXT_POINTS,
            "va": "center_baseline",
            "weight": "bold" if scene == best else "normal",
        }
        axes.text(-GAP / 2 / LONGEST_BAR, scene, name, ha="right", color=INK, parse_math=False, **style)
        axes.text(1 + 0.05 / LONGEST_BAR, scene, f"{scene_prob:.2f}", color=INK if scene == best else FAINT, **style)
