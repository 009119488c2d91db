"""Where something looks, painted over a photo in colours that every eye can order: dark violet to yellow."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hlcli.visualization.attention import is_even, normalise_map

HEAT_MAP = "inferno"
"""Perceptually uniform, and its lightness rises all the way: it can be read by colour-blind people and in grey."""


def overlay(image: np.ndarray, attention_map: np.ndarray) -> np.ndarray:
    """Colours from the map, lightness from the photo too: [H, W, 3] uint8 and [h, w] → [H, W, 3] uint8."""
    heat = upsample(attention_map, image.shape[0], image.shape[1])  # [H, W] in [0, 1]
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None] / 255
    tinted = heat_colours(heat) * (0.35 + 0.9 * grey)
    return np.rint(255 * (0.85 * tinted + 0.15 * grey).clip(0, 1)).astype(np.uint8)


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """[…] in [0, 1] → […, 3] in [0, 1], without the map's blackest and whitest end, which would hide the photo."""
    from matplotlib import colormaps

    return colormaps[HEAT_MAP](0.2 + 0.65 * heat)[..., :3]


def upsample(attention_map: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map [h, w] stretched to 0…1 and smoothly enlarged to [height, width]; one that is almost even becomes zeros."""
    stretched = np.zeros_like(attention_map) if is_even(attention_map) else normalise_map(attention_map)
    enlarged = Image.fromarray(stretched.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(enlarged).clip(0, 1)
