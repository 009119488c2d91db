"""Where a label looks, painted over the photo as SGRE's program does: rainbow colours on a photo of full strength.

NumPy only; equal to OpenCV's bilinear resizing, its JET table and its rounding, but for red first in every pixel.
"""

from __future__ import annotations

import numpy as np

_HEAT_SHARE = 0.5


def overlay(image: np.ndarray, attention_map: np.ndarray) -> np.ndarray:
    """Half the heat map's colours added to the whole photo: [H, W, 3] and [h, w] → [H, W, 3], uint8."""
    weights = resize_bilinear(normalise_map(attention_map), image.shape[:2])  # [H, W]
    return to_pixels(blend(image, jet(to_bytes(weights))))


def blend(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Half of the colours added to the photo: two of [H, W, 3] uint8 → float, beyond 255 where both are bright."""
    return _HEAT_SHARE * heat + image


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Round to 0…255 uint8; a half goes to the even neighbour."""
    return np.rint(values).clip(0, 255).astype(np.uint8)


def normalise_map(attention_map: np.ndarray) -> np.ndarray:
    """Stretch a map [h, w] to 0…1, float32; one that is almost even (weights sum to 1) stays as dark as it is."""
    weights = np.asarray(attention_map, dtype=np.float32)
    if is_even(weights):
        return weights
    lowest, highest = weights.min(), weights.max()
    return (weights - lowest) / (highest - lowest)


def is_even(attention_map: np.ndarray) -> bool:
    """Whether the weights of a map [h, w] differ by no more than an even share, 1/(h·w)."""
    weights = np.asarray(attention_map, dtype=np.float32)
    return bool(weights.max() - weights.min() <= 1 / weights.size)


def resize_bilinear(values: np.ndarray, side: int | tuple[int, int]) -> np.ndarray:
    """Enlarge or shrink [h, w, …] to a square, or to (height, width), float32.

    A pixel's value belongs to its centre, and the border is repeated outwards. Nothing is averaged when shrinking.
    """
    height, width = (side, side) if isinstance(side, int) else side
    rows = _blend_axis(np.asarray(values, dtype=np.float32), height, axis=0)
    return _blend_axis(rows, width, axis=1)


def _blend_axis(values: np.ndarray, length: int, *, axis: int) -> np.ndarray:
    """Values at `length` evenly spaced places along one axis."""
    old = values.shape[axis]
    places = (np.arange(length) + 0.5) * (old / length) - 0.5
    first = np.floor(places).astype(int)
    share = (places - first).astype(np.float32)
    share = share.reshape([-1 if number == axis else 1 for number in range(values.ndim)])
    before = values.take(first.clip(0, old - 1), axis=axis)
    after = values.take((first + 1).clip(0, old - 1), axis=axis)
    return before + share * (after - before)


def to_bytes(weights: np.ndarray) -> np.ndarray:
    """0…1 → 0…255 uint8, cut and not rounded, as published."""
    return (255 * weights).clip(0, 255).astype(np.uint8)


def jet(values: np.ndarray) -> np.ndarray:
    """Colours from dark blue (0) over green to dark red (255): uint8 [...] → RGB uint8 [..., 3]."""
    return _jet_table()[values]


def _jet_table() -> np.ndarray:
    """OpenCV's JET in RGB, [256, 3]: every colour is a trapezium that rises and falls by 4 per step."""
    tops = np.array([765, 510, 255])  # places of red, green, blue, times 4
    table = np.rint(382.5 - np.abs(4 * np.arange(256)[:, None] - tops)).clip(0, 255)
    table[159, 2] = 1  # its table has a number just below 1.5 here
    return table.astype(np.uint8)
