"""Folders of photos of noise, which differ in their pixels and sizes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def write_photos(folder: Path, count: int, name: str = "{}.png") -> Path:
    """A new folder of photos, called by their numbers from 0."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (40 + 9 * number, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name.format(number))
    return folder


def noise_jpeg(seed: int, size: int = 32) -> bytes:
    """A small photo as a server sends it; every seed gives another one."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=30)
    return buffer.getvalue()
