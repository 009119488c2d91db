"""From a decoded image to the numbers a network sees.

Images leave the loader as uint8, a quarter of the bytes of floats; `Normalize` runs on the device, per batch. In memory
they stay as they are decoded, the three colours of a pixel side by side, which convolutions like best.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn.functional import interpolate

from hlcli.data.augment import cutout, rand_augment

NORMALIZATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation of red, green and blue, for values in [0, 1]."""

Resize = Literal["stretch", "crop"]
"""How an image of any shape gets the wanted one: distorted, or scaled to cover it and cut at the edges."""

Pixels = Literal["exact", "fast"]
"""Whose pixels: Pillow's, as the papers' programs have them, or nearly the same in less time; see `_resize_fast`."""

_KEPT_BY_DECODER = 2
"""Times the wanted side that a JPEG decoder keeps of a large photo, for fast pixels."""

_LONGEST_COVER, _MOST_PIXELS = 16, 2**24
"""Of images that would be this many times as long as the target when they cover it, and have as many pixels then, only
the middle is scaled: nearly the same pixels."""


@dataclass(frozen=True)
class EvalTransform:
    """Resize; nothing random.

    Args:
        image_size: side in pixels, or (height, width).
        resize: `stretch` does not keep the aspect ratio, `crop` keeps it and the centre.
        pixels: as `TrainTransform`.
    """

    image_size: int | tuple[int, int]
    resize: Resize = "stretch"
    pixels: Pixels = "exact"

    @property
    def decode_size(self) -> tuple[int, int] | None:
        """What `load_image` may shrink to beforehand."""
        return decode_size(self.image_size, self.pixels)

    def __call__(self, image: Image.Image) -> Tensor:
        """The image as uint8 [3, H, W]."""
        if self.pixels == "fast":
            return _resize_fast(image, self.image_size, self.resize)
        return to_tensor(resize(image, self.image_size, self.resize))


@dataclass(frozen=True)
class TrainTransform:
    """Resize, mirror, shift, cutout, RandAugment, in this order.

    Args:
        image_size: side in pixels, or (height, width).
        horizontal_flip: mirror half of the images.
        random_shift: largest shift in pixels to each side; what moves in repeats the edge.
        num_cutouts: rectangles painted over the image.
        cutout_length: their side in pixels; None for `cutout_fraction` of the image's sides.
        cutout_fraction: see above.
        randaugment: apply RandAugment.
        resize: `stretch` does not keep the aspect ratio, `crop` keeps it and the centre.
        pixels: `exact` resizes with Pillow, `fast` with `_resize_fast`, after a decoder that may shrink.
    """

    image_size: int | tuple[int, int]
    horizontal_flip: bool = False
    random_shift: int = 0
    num_cutouts: int = 0
    cutout_length: int | None = None
    cutout_fraction: float = 0.5
    randaugment: bool = False
    resize: Resize = "stretch"
    pixels: Pixels = "exact"

    @property
    def decode_size(self) -> tuple[int, int] | None:
        """What `load_image` may shrink to beforehand."""
        return decode_size(self.image_size, self.pixels)

    def __call__(self, image: Image.Image, rng: random.Random) -> Tensor:
        """The image as uint8 [3, H, W], changed as `rng` decides."""
        if self.pixels == "fast":
            resized = _resize_fast(image, self.image_size, self.resize)
            if not (self.random_shift or self.num_cutouts or self.randaugment):
                return resized.flip(2) if self.mirrors(rng) else resized
            image = Image.fromarray(resized.permute(1, 2, 0).numpy())
        else:
            image = resize(image, self.image_size, self.resize)
        if self.mirrors(rng):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.random_shift:
            reach = self.random_shift
            image = shift(image, rng.randint(-reach, reach), rng.randint(-reach, reach))
        if self.num_cutouts:
            image = cutout(image, self.num_cutouts, self._cutout_size(image), rng)
        if self.randaugment:
            image = rand_augment(image, rng)
        return to_tensor(image)

    def mirrors(self, rng: random.Random) -> bool:
        """Whether the image is mirrored: the first thing that its `rng` decides."""
        return self.horizontal_flip and rng.random() < 0.5

    def _cutout_size(self, image: Image.Image) -> int | tuple[int, int]:
        if self.cutout_length is not None:
            return self.cutout_length
        width, height = (max(1, int(self.cutout_fraction * side + 0.5)) for side in image.size)
        return width, height


class Normalize(nn.Module):
    """Bytes to standardised floats.

    Args:
        mean: of red, green and blue, for values in [0, 1].
        std: standard deviations, likewise.
    """

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        deviations = torch.tensor(std, dtype=torch.float64).reshape(3, 1, 1)
        means = torch.tensor(mean, dtype=torch.float64).reshape(3, 1, 1)
        # (v / 255 - mean) / std in one multiplication and one addition. Constants, so not part of the weights.
        self.register_buffer("scale", (1 / (255 * deviations)).float(), persistent=False)
        self.register_buffer("offset", (-means / deviations).float(), persistent=False)
        self.scale: Tensor
        self.offset: Tensor

    @classmethod
    def named(cls, name: str) -> Normalize:
        """One of `NORMALIZATIONS`."""
        if name not in NORMALIZATIONS:
            raise ValueError(f"Expected a normalization of {', '.join(NORMALIZATIONS)}, but got {name!r}.")
        return cls(*NORMALIZATIONS[name])

    def forward(self, images: Tensor) -> Tensor:
        """Images uint8 [B, 3, H, W] to floats of the same shape, contiguous."""
        return torch.addcmul(self.offset, images.contiguous().to(self.scale.dtype), self.scale)

    def channels_last(self, images: Tensor) -> Tensor:
        """The same floats, laid out for convolutions (`torch.channels_last`), as images from the loader are already."""
        batch, channels, height, width = images.shape
        # Rows of whole pixels: broadcasting three numbers over the last dimension alone would be a loop of three.
        rows = images.permute(0, 2, 3, 1).reshape(batch * height, width * channels).to(self.scale.dtype, copy=True)
        scale, offset = (part.flatten().repeat(width) for part in (self.scale, self.offset))
        torch.addcmul(offset, rows, scale, out=rows)  # a second block of floats would cost as much as the sum
        return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def resize(image: Image.Image, image_size: int | tuple[int, int], how: Resize) -> Image.Image:
    """Bring an image to a square side or to (height, width)."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return crop(image, height, width) if how == "crop" else stretch(image, height, width)


def stretch(image: Image.Image, height: int, width: int) -> Image.Image:
    """Resize without regard to the aspect ratio: bilinear, with antialias."""
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def crop(image: Image.Image, height: int, width: int) -> Image.Image:
    """Scale until the image just covers the target, then keep its centre: bicubic, with antialias.

    For squares the same pixels as CLIP's preparation, torchvision's `Resize` of the shorter side and `CenterCrop`: the
    longer side is rounded down, the margin to the nearest number, halves to the even one. Small images are enlarged.
    """
    covering, left, top = _cover(image, height, width)
    is_long = max(covering[0] // width, covering[1] // height) > _LONGEST_COVER
    if is_long and covering[0] * covering[1] > _MOST_PIXELS:
        return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    if covering != image.size:
        image = image.resize(covering, Image.Resampling.BICUBIC)
    return image.crop((left, top, left + width, top + height))


def _cover(image: Image.Image, height: int, width: int) -> tuple[tuple[int, int], int, int]:
    """Width and height of the image when it just covers the target, and where the target begins in it."""
    if image.width * height <= image.height * width:  # no wider than the target
        covering = (width, width * image.height // image.width)
    else:
        covering = (height * image.width // image.height, height)
    return covering, round((covering[0] - width) / 2), round((covering[1] - height) / 2)


def _resize_fast(image: Image.Image, image_size: int | tuple[int, int], how: Resize) -> Tensor:
    """What `resize` gives, as uint8 [3, H, W], by torch's vectorised kernels.

    The filters are the same, their weights are rounded to 16 bits instead of 22: few values of a photo differ, by 1
    (bilinear) or 2 (bicubic; in pure noise, where it overshoots, by up to 20).
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if how == "stretch":
        return _scale_fast(image, (width, height), "bilinear")
    covering, left, top = _cover(image, height, width)
    if max(covering[0] // width, covering[1] // height) > _LONGEST_COVER:
        return to_tensor(crop(image, height, width))
    return _scale_fast(image, covering, "bicubic")[:, top : top + height, left : left + width]


def _scale_fast(image: Image.Image, size: tuple[int, int], mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """The image uint8 [3, H, W], scaled to (width, height)."""
    pixels = torch.from_numpy(np.array(image))[None].permute(0, 3, 1, 2)  # [1, 3, H, W] in `torch.channels_last`
    if image.size != size:
        pixels = interpolate(pixels, size=size[::-1], mode=mode, antialias=True)
    return pixels[0]


def decode_size(image_size: int | tuple[int, int], pixels: Pixels) -> tuple[int, int] | None:
    """(width, height) that is enough for `load_image` to decode before resizing; None for all that there is."""
    if pixels == "exact":
        return None
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return _KEPT_BY_DECODER * width, _KEPT_BY_DECODER * height


def shift(image: Image.Image, right: int, down: int) -> Image.Image:
    """Move an image by whole pixels; its edge pixels fill what becomes free."""
    columns = (np.arange(image.width) - right).clip(0, image.width - 1)
    rows = (np.arange(image.height) - down).clip(0, image.height - 1)
    return Image.fromarray(np.asarray(image)[rows][:, columns])


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as uint8 [3, H, W]; in memory as it is, [H, W, 3]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def stack_images(images: Sequence[Tensor]) -> Tensor:
    """Images [3, H, W] as a batch [B, 3, H, W], in `torch.channels_last` as they are."""
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
