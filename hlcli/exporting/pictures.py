"""What exported networks are tried on: noise, and pictures of things."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hlcli.building import eval_transform
from hlcli.data.image_files import find_images
from hlcli.data.images import load_image
from hlcli.sections import DataSection

_MOST_PICTURES = 8


def noise(batch_size: int, image_size: tuple[int, int]) -> Tensor:
    """Images uint8 [B, 3, H, W] of random bytes, always the same."""
    generator = torch.Generator().manual_seed(batch_size)
    return torch.randint(0, 256, (batch_size, 3, *image_size), dtype=torch.uint8, generator=generator)


def photo_paths(places: Sequence[Path]) -> list[Path]:
    """A few of the images in files, folders and patterns, evenly spread.

    Raises:
        InputError: when there is none.
    """
    found = find_images(places)
    step = -(-len(found) // _MOST_PICTURES)
    return found[::step]


def pictures(data: DataSection, photos: Sequence[Path]) -> Tensor:
    """Photos uint8 [B, 3, H, W] as the model is shown them; without any, drawn scenes.

    Raises:
        DataError: for a photo that cannot be decoded.
    """
    transform = eval_transform(data)
    if photos:
        enough = transform.decode_size
        images = [transform(load_image(path, name=str(path), shrink_to=enough)) for path in photos]
        return torch.stack(images).contiguous()
    from hlcli.data.datasets.shapes import Shapes

    records = Shapes(num_test=_MOST_PICTURES // 2, render_size=min(max(16, *data.height_width), 4096)).records("test")
    return torch.stack([transform(load_image(record.image)) for record in records]).contiguous()
