"""Decode images: whatever comes in, an upright 8-bit RGB image goes out, or an error that names the image."""

from __future__ import annotations

import io
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hlcli.data.records import ImageSource
from hlcli.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_MAX_PIXELS = 178_956_970
"""Largest image that is decoded; Pillow itself refuses more (a small file can unfold to gigabytes)."""

# Only formats that Pillow decodes itself: EPS, for one, would start another program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA", "ICO")

_ROWS = 512
"""Rows of an image that are laid over white at a time."""

# What Pillow's decoders are known to raise on damaged files.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 5 and above swap width and height
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def load_image(
    source: ImageSource,
    *,
    name: str = "",
    max_pixels: int = _MAX_PIXELS,
    shrink_to: tuple[int, int] | None = None,
) -> Image:
    """Decode an image to RGB.

    Cameras' rotation marks are obeyed. Transparent pixels are laid over white, 16-bit grey keeps its high byte
    (as Pillow does with 16-bit colour), and of animations the first frame is taken. Colour profiles are not applied.

    Args:
        source: encoded bytes, a file, or something that draws itself.
        name: what messages call the image; default its path.
        max_pixels: larger images are refused before they are decoded.
        shrink_to: (width, height) that is enough: JPEG files may then be decoded at 1/2, 1/4 or 1/8 of their
            size, but not smaller than this. Faster, though not bit for bit what a full decode gives.

    Raises:
        DataError: when the image cannot be read or decoded; the message names it and says why.
    """
    if not isinstance(source, bytes | Path):
        image = source.draw()
        return image if image.mode == "RGB" else _to_rgb(image)
    with _opened(source, name or (str(source) if isinstance(source, Path) else "without a name"), max_pixels) as image:
        return _decode(image, shrink_to)


def stored_form(source: bytes | Path) -> tuple[tuple[int, int], str]:
    """Width and height, and Pillow's name of how colours are stored, as the file's first bytes say.

    Raises:
        DataError: when the image cannot be read.
    """
    with _opened(source, "it", _MAX_PIXELS) as image:
        return image.size, image.mode


@contextmanager
def _opened(source: bytes | Path, name: str, max_pixels: int) -> Iterator[Image]:
    """A file that Pillow has opened but not decoded; whatever goes wrong in the block becomes a `DataError`."""
    import PIL.Image

    try:
        head = _head(source)
        if not head:
            raise _decode_error(name, "it is empty (0 bytes)")
        with PIL.Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats()) as image:
            if image.width * image.height > max_pixels:
                raise _decode_error(name, f"{image.width}×{image.height} pixels are more than {max_pixels:,}")
            yield image
    except PIL.UnidentifiedImageError as error:
        raise _decode_error(name, _why_unidentified(head)) from error
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise _decode_error(name, "it has too many pixels") from error
    except _DECODE_ERRORS as error:
        raise _decode_error(name, _reason(error)) from error


def _head(source: bytes | Path) -> bytes:
    """The first bytes. Pipes, sockets and devices are refused unopened: they might keep us waiting, or never end.

    Raises:
        OSError: when there is no such file, or it is none.
    """
    if isinstance(source, bytes):
        return source[:256]
    mode = source.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError("it is a pipe, a socket or a device, not a file")
    with open(source, "rb") as handle:
        return handle.read(256)


def upright_rgb(image: Image, *, name: str) -> Image:
    """An image that PIL has opened or made, as `load_image` gives it.

    Raises:
        DataError: when it cannot be decoded.
    """
    try:
        if image.format == "EPS":
            raise ValueError("it is a PostScript file, which would start another program")
        found = _decode(image, None)
        return found.copy() if found is image else found
    except _DECODE_ERRORS as error:
        raise _decode_error(name, _reason(error)) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _decode(image: Image, shrink_to: tuple[int, int] | None) -> Image:
    """Decode an opened file, upright and in RGB."""
    if shrink_to is not None:
        image.draft(None, shrink_to[::-1] if _orientation(image) >= 5 else shrink_to)
    image.load()  # TIFF turns itself upright here, and PNG may hold its EXIF block behind the pixels
    return _turn_upright(_to_rgb(image), _orientation(image))


def _orientation(image: Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or the block is damaged."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _DECODE_ERRORS:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turn_upright(image: Image, orientation: int) -> Image:
    """Undo the rotation or mirroring that an EXIF orientation stands for."""
    from PIL.Image import Transpose

    method = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image) -> Image:
    """Any mode to RGB; see `load_image` for what is kept."""
    from PIL import Image as pil

    if image.mode in _SIXTEEN_BIT_MODES:
        import numpy as np

        high_byte = np.asarray(image).clip(0, 65535) >> 8
        image = pil.fromarray(high_byte.astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers without a known range; save it with 8 or 16 bits")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return _over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _over_white(image: Image) -> Image:
    """An image with transparent pixels as RGB; some rows at a time, as each step holds a copy of its own."""
    from PIL import Image as pil

    done = pil.new("RGB", image.size)
    for top in range(0, image.height, _ROWS):
        rows = image.crop((0, top, image.width, min(top + _ROWS, image.height))).convert("RGBA")
        done.paste(pil.alpha_composite(pil.new("RGBA", rows.size, "white"), rows).convert("RGB"), (0, top))
    return done


@cache
def _formats() -> tuple[str, ...]:
    """Those of `_FORMATS` that the installed Pillow has."""
    import PIL.Image

    PIL.Image.init()
    return tuple(name for name in _FORMATS if name in PIL.Image.OPEN)


def _why_unidentified(head: bytes) -> str:
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page, not an image"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        return "it is a HEIC photo, as phones take them; save it as JPEG"
    return f"it is not an image in a known format ({', '.join(_FORMATS)})"


def _decode_error(name: str, reason: str) -> DataError:
    return DataError(f"Image {name} cannot be decoded: {reason}.", "Replace it, or list it under data.skip.")
