"""Images as programs give them: paths, URLs, encoded bytes, PIL images, arrays and tensors, each with a name.

What an array means is decided by its kind, shape and type, never by its values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image, fromarray
from torch import Tensor

from hlcli.data.images import load_image, upright_rgb
from hlcli.data.records import ImageSource
from hlcli.data.transfers.image_fetch import fetch_image
from hlcli.data.transfers.patience import HostUnavailable, Patience
from hlcli.data.transfers.session import Refused, Session
from hlcli.errors import DataError

GivenImage = str | Path | bytes | Image | np.ndarray | Tensor
"""An image: a path; a URL, `http://…` or `https://…`; the bytes of a file; a PIL image; an array [H, W, 3] or [H, W]
(grey); a tensor [3, H, W]. Numbers are uint8, or floating point between 0 and 1. A tensor may be a batch [B, 3, H, W],
which counts as B images."""

Images = GivenImage | Iterable[GivenImage]
"""One image or many, which are taken one by one as they are needed."""

_KINDS = "a path, a URL, bytes, a PIL image, a NumPy array or a tensor"
_WEB = ("http://", "https://")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:", flags=re.IGNORECASE)
_TENSOR_TYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
_PATIENCE = Patience(
    tries=3, first_wait_seconds=0.5, read_seconds=20.0, stall_seconds=20.0, busy_seconds=2.0, busy_budget_seconds=10.0
)
"""For somebody who waits for a prediction, not for a data set."""


def named_sources(images: Images) -> Iterator[tuple[str, ImageSource]]:
    """Every image with its name: its path or URL, or `image 7` for the eighth of all.

    Raises:
        TypeError: for what is no image, by its kind or the type of its numbers.
        ValueError: for arrays and tensors of another shape, or with numbers outside [0, 1].
    """
    number = 0
    for given in [images] if isinstance(images, GivenImage) else _many(images):
        for image in given if isinstance(given, Tensor) and given.ndim == 4 else [given]:
            yield _named_source(image, f"image {number}")
            number += 1


def _many(images: Iterable[GivenImage]) -> Iterable[GivenImage]:
    """Not what can be iterated too, but gives lines of a file, numbers or keys."""
    refusal = f"Expected images to be {_KINDS}, or many of them, but got {type(images).__name__}."
    if isinstance(images, bytearray | memoryview | Mapping) or hasattr(images, "read"):
        raise TypeError(refusal)
    try:
        return iter(images)
    except TypeError as error:
        raise TypeError(refusal) from error


def _named_source(image: GivenImage, name: str) -> tuple[str, ImageSource]:
    if isinstance(image, str) and image.lower().startswith(_WEB):
        return image, _WebImage(image)
    if isinstance(image, str) and _ADDRESS.match(image):
        return image, _Undecodable(f"Image {image[:80]} cannot be fetched: only http:// and https:// are.")
    if isinstance(image, str | Path):
        return str(image), Path(image)
    if isinstance(image, bytes):
        return name, image
    if isinstance(image, Image):
        if 0 in image.size:
            raise ValueError(f"Expected {name} to have pixels, but got {image.width}×{image.height} of them.")
        return name, _opened(image, name)
    if isinstance(image, np.ndarray):
        return name, DrawnImage(_from_array(image, name))
    if isinstance(image, Tensor):
        return name, DrawnImage(_from_tensor(image, name))
    raise TypeError(f"Expected {name} to be {_KINDS}, but got {type(image).__name__}.")


@dataclass(frozen=True)
class DrawnImage:
    """A PIL image as a source."""

    image: Image

    def draw(self) -> Image:
        """The image."""
        return self.image


@dataclass(frozen=True)
class _Undecodable:
    """An image of which nothing is left but why it cannot be had."""

    message: str

    def draw(self) -> Image:
        """Say why there is none."""
        raise DataError(self.message)


@dataclass(frozen=True)
class _WebImage:
    """An image that is fetched when it is needed."""

    url: str

    def draw(self) -> Image:
        """The decoded image.

        Raises:
            DataError: when it cannot be fetched or decoded, naming the URL.
        """
        try:
            with Session(_PATIENCE) as session:
                content = fetch_image(session, self.url)
        except (Refused, HostUnavailable) as error:
            reason = error.message if isinstance(error, HostUnavailable) else str(error)
            raise DataError(f"Image {self.url} cannot be fetched: {reason.rstrip('.')}.") from error
        return load_image(content, name=self.url)


def _opened(image: Image, name: str) -> ImageSource:
    """A PIL image, decoded here and now: half read from a file, it could not be sent to another process."""
    try:
        return DrawnImage(upright_rgb(image, name=name))
    except DataError as error:
        return _Undecodable(error.message)


def _from_array(array: np.ndarray, name: str) -> Image:
    """An array [H, W, 3] or [H, W], of bytes or of fractions, as an image."""
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or 0 in array.shape:
        raise ValueError(f"Expected {name} to be an array of shape [H, W, 3] or [H, W], but got {list(array.shape)}.")
    if array.dtype == np.uint8:
        return fromarray(array).convert("RGB")
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"Expected {name} to be of uint8 or floating-point numbers, but got {array.dtype}.")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ValueError(f"Expected {name} to have numbers between 0 and 1, but got {low:g} to {high:g}.")
    return fromarray((array * 255).round().astype(np.uint8)).convert("RGB")


def _from_tensor(tensor: Tensor, name: str) -> Image:
    """A tensor [3, H, W], of bytes or of fractions, as an image."""
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        shape = list(tensor.shape)
        raise ValueError(f"Expected {name} to be a tensor of shape [3, H, W] or [B, 3, H, W], but got {shape}.")
    if tensor.dtype not in _TENSOR_TYPES:
        raise TypeError(f"Expected {name} to be of uint8, float16, 32, 64 or bfloat16 numbers, but got {tensor.dtype}.")
    if tensor.layout != torch.strided or tensor.is_meta:
        layout = "meta" if tensor.is_meta else tensor.layout
        raise TypeError(f"Expected {name} to be a dense tensor with values, but got {layout}.")
    if tensor.dtype == torch.bfloat16:  # NumPy has none
        tensor = tensor.float()
    return _from_array(tensor.detach().permute(1, 2, 0).cpu().numpy(), name)
