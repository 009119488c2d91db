"""Pictures inside a page: a photo as a small JPEG, and where a model looked as a small veil of colours over it."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from hlcli.visualization.attention import is_even
from hlcli.visualization.heat import HEAT_MAP, upsample

_LONGER_SIDE = 360
_QUALITY = 78
_CELLS = 28
"""Longer side of a veil in pixels: the browser enlarges it smoothly."""
_OPACITY = 0.62


class Photo(NamedTuple):
    """A photo of a page; veils lie over it by its identity, so that it is there once.

    Args:
        identity: unique in the page.
        name: of the image.
        data: address that holds the picture itself.
        width: in pixels.
        height: in pixels.
    """

    identity: str
    name: str
    data: str
    width: int
    height: int


class Veil(NamedTuple):
    """Where a model looked, drawn over a photo.

    Args:
        name: of the label or the word.
        note: its score, or what is odd.
        data: address that holds the colours.
        words: what one sees, for people who do not.
        box: left, top, width and height of a region, in pixels of the photo.
    """

    name: str
    note: str
    data: str
    words: str
    box: tuple[float, float, float, float] | None = None


def make_photo(identity: str, name: str, image: Image.Image) -> Photo:
    """A decoded image, small."""
    small = image.convert("RGB")
    small.thumbnail((_LONGER_SIDE, _LONGER_SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return Photo(identity, name, _address("jpeg", buffer), *small.size)


def make_veil(
    photo: Photo,
    name: str,
    attention_map: np.ndarray,
    *,
    note: str = "",
    box: tuple[float, float, float, float] | None = None,
) -> Veil:
    """A map [h, w] over a photo, from its own least (dark) to its most (bright); `box` as fractions of the photo."""
    shrink = _CELLS / max(photo.width, photo.height)
    height, width = (max(1, round(side * shrink)) for side in (photo.height, photo.width))
    heat = upsample(attention_map, height, width)
    words = f"Where the model looks for {name} in {photo.name}"
    if is_even(attention_map):
        note, words = f"{note} (even)".strip(), f"{words}: nearly everywhere alike"
    else:
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        words = f"{words}: most at the {_place(row / height, ('top', 'middle', 'bottom'))} "
        words += _place(column / width, ("left", "centre", "right"))
    corner = None
    if box is not None:
        left, top, right, bottom = (min(max(place, 0.0), 1.0) for place in box)
        sizes = (left * photo.width, top * photo.height, (right - left) * photo.width, (bottom - top) * photo.height)
        corner = tuple(round(size, 1) for size in sizes)
    return Veil(name, note, _address("png", _colours(heat)), words, corner)  # type: ignore[arg-type]


def _colours(heat: np.ndarray) -> BytesIO:
    """Colours of [h, w] in 0…1 as a PNG that lets the photo through."""
    from matplotlib import colormaps

    pixels = colormaps[HEAT_MAP](0.1 + 0.8 * heat)
    pixels[..., 3] = _OPACITY
    buffer = BytesIO()
    Image.fromarray(np.rint(255 * pixels).astype(np.uint8), "RGBA").save(buffer, "PNG", optimize=True)
    return buffer


def _place(share: float, names: tuple[str, str, str]) -> str:
    return names[min(2, int(3 * share))]


def _address(kind: str, buffer: BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
