"""A folder of hostile, damaged and odd image files, made from scratch, and what has to come of each."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.Image import Transpose

Colour = tuple[int, int, int]
Corners = tuple[Colour, Colour, Colour, Colour]
"""Colours of the middle of each quarter: above left, above right, below left, below right."""

CORNERS: Corners = ((250, 20, 30), (20, 240, 40), (30, 40, 230), (240, 230, 20))
_GREY: Corners = ((10,) * 3, (90,) * 3, (170,) * 3, (250,) * 3)  # type: ignore[assignment]
_BLACK_AND_WHITE: Corners = ((0,) * 3, (255,) * 3, (255,) * 3, (0,) * 3)  # type: ignore[assignment]
_CLEAR: Corners = ((255, 255, 255), *CORNERS[1:])
"""What is transparent above left lies over white."""
FAILS = "fails"
EITHER = "either"
"""Damage that one version of a decoder takes and another one does not."""

_UNTURNED = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_270,
}  # fmt: skip
"""How a camera holds the sensor when it writes an EXIF orientation."""


class Nasty(NamedTuple):
    """A file.

    Args:
        name: its name; bytes that are no UTF-8 as surrogates.
        content: its bytes, or what makes it at a path.
        end: the colours that it shows, `FAILS` or `EITHER`.
    """

    name: str
    content: bytes | Callable[[Path], object]
    end: Corners | str


def write_nasty_images(folder: Path, elsewhere: Path) -> list[Nasty]:
    """Fill a new folder.

    Args:
        folder: gets the files.
        elsewhere: a new folder that links point to.
    """
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "outside.png").write_bytes(encode(picture()))
    files = [*_whole(), *_damaged(), *_bombs(), *_no_images(), *_names(), *_places(elsewhere)]
    assert len({file.name for file in files}) == len(files)
    for name, content, _ in files:
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            content(folder / name)
    (folder / "round").symlink_to(folder, target_is_directory=True)
    return files


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(colours: Corners = CORNERS, width: int = 48, height: int = 32) -> Image.Image:
    """Four quarters, each of one colour."""
    quarters = np.array(colours, np.uint8).reshape(2, 2, 3)
    pixels = quarters.repeat(-(-height // 2), axis=0).repeat(-(-width // 2), axis=1)[:height, :width]
    return Image.fromarray(pixels)


def corners(image: Image.Image) -> Corners:
    """The colours of a picture, as `Nasty.end` has them."""
    width, height = image.size
    places = [(width * x // 4, height * y // 4) for y in (1, 3) for x in (1, 3)]
    return tuple(image.getpixel(place) for place in places)  # type: ignore[return-value]


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    """A good JPEG file."""
    return encode(image or picture(), "JPEG", **{"quality": 95, "subsampling": 0, **options})


def _whole() -> Iterator[Nasty]:
    """Files that can be decoded, each in its own way."""
    grey, clear = np.array(_GREY, np.uint16)[:, 0].reshape(2, 2).repeat(16, 0).repeat(24, 1), picture().convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 24, 16))
    palette = picture().quantize(4)
    first = palette.getpixel((0, 0))
    yield Nasty("cmyk.jpg", jpeg(picture().convert("CMYK")), CORNERS)
    yield Nasty("cmyk.tif", encode(picture().convert("CMYK"), "TIFF"), CORNERS)
    yield Nasty("ycck.jpg", _ycck(), CORNERS)
    yield Nasty("progressive.jpg", jpeg(progressive=True), CORNERS)
    yield Nasty("png.jpg", encode(picture()), CORNERS)
    yield Nasty("jpeg.png", jpeg(), CORNERS)
    for kind in ("PNG", "TIFF"):
        sixteen = encode(Image.fromarray(grey * 256 + 200), kind)
        yield Nasty(f"16-bit.{kind.lower()}", sixteen, _GREY)
        yield Nasty(f"1-bit.{kind.lower()}", encode(picture(_BLACK_AND_WHITE).convert("1"), kind), _BLACK_AND_WHITE)
    white = ((255,) * 3, *_GREY[1:])
    pale = Image.merge("LA", (Image.fromarray(grey.astype(np.uint8)), clear.getchannel("A")))
    yield Nasty("la.png", encode(pale), white)  # type: ignore[arg-type]
    yield Nasty("rgba.png", encode(clear), _CLEAR)
    yield Nasty("rgba.webp", encode(clear, "WEBP", lossless=True), _CLEAR)
    yield Nasty("palette.png", encode(palette, transparency=first), _CLEAR)
    yield Nasty("palette.gif", encode(palette, "GIF", transparency=first), _CLEAR)
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        frames = encode(picture(), kind, save_all=True, append_images=[picture(_GREY)] * 3, **options)
        yield Nasty(f"frames.{kind.lower()}", frames, CORNERS)
    yield Nasty("two views.jpg", encode(picture(), "MPO", save_all=True, append_images=[picture(_GREY)]), CORNERS)
    yield Nasty("icon.ico", encode(picture(width=32), "ICO", sizes=[(32, 32)]), CORNERS)
    yield Nasty("photo.jp2", encode(picture(), "JPEG2000"), CORNERS)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = picture() if orientation == 1 else picture().transpose(_UNTURNED[orientation])
        yield Nasty(f"turned {orientation}.jpg", jpeg(turned, exif=exif), CORNERS)
    yield Nasty("exif.jpg", jpeg(exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"), CORNERS)
    yield Nasty("profile.jpg", jpeg(icc_profile=b"no profile" * 20), CORNERS)
    yield Nasty("profile.png", encode(picture(), icc_profile=b"no profile" * 20), CORNERS)
    yield Nasty("1x1.png", encode(Image.new("RGB", (1, 1), CORNERS[0])), (CORNERS[0],) * 4)
    yield Nasty("1x900.jpg", jpeg(Image.new("RGB", (1, 900), CORNERS[0])), (CORNERS[0],) * 4)
    yield Nasty("30000x10.png", encode(picture(width=30_000, height=10)), CORNERS)


def _ycck() -> bytes:
    """As Photoshop writes CMYK: its first three channels as brightness and colour differences, all inverted."""
    ink = Image.eval(picture(), lambda value: 255 - value)
    channels = [Image.eval(channel, lambda value: 255 - value) for channel in ink.convert("YCbCr").split()]
    data = bytearray(jpeg(Image.merge("CMYK", [*channels, Image.new("L", ink.size, 0)])))
    data[data.index(b"Adobe") + 11] = 2  # the transform
    return bytes(data)


def _damaged() -> Iterator[Nasty]:
    whole = jpeg(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    for length in (1, 2, 20, 200, len(whole) // 2, len(whole) - 300):
        yield Nasty(f"cut {length}.jpg", whole[:length], FAILS)
    yield Nasty("cut.png", encode(picture())[:-40], FAILS)
    yield Nasty("empty.jpg", b"", FAILS)
    yield Nasty("zeros.jpg", bytes(5000), FAILS)
    yield Nasty("arithmetic.jpg", whole.replace(b"\xff\xc0", b"\xff\xc9", 1), EITHER)
    yield Nasty("header.bmp", encode(picture(), "BMP")[:14] + b"\xff" * 60, FAILS)
    yield Nasty("float.tif", encode(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"), FAILS)
    tags = bytearray(encode(picture(), "TIFF", description="x" * 40))
    at = tags.index(struct.pack("<HH", 270, 2))
    tags[at + 4 : at + 8] = struct.pack("<I", 0xFFFFFFF0)  # 4 GB of description
    yield Nasty("tags.tif", bytes(tags), EITHER)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes, pixels: bytes = b"") -> bytes:
    """A PNG file of 8-bit grey that begins as it should."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")
    )


def _bombs() -> Iterator[Nasty]:
    """Files of a few kilobytes that would unfold to gigabytes."""
    text = zlib.compress(bytes(80_000_000), 9)
    yield Nasty("bomb.png", _png(50_000, 50_000, pixels=bytes(100_000)), FAILS)
    yield Nasty("bomb text.png", _png(8, 8, _chunk(b"zTXt", b"a\0\0" + text), pixels=bytes(72)), FAILS)
    yield Nasty("bomb itext.png", _png(8, 8, _chunk(b"iTXt", b"a\0\1\0\0\0" + text), pixels=bytes(72)), FAILS)
    yield Nasty("bomb profile.png", _png(8, 8, _chunk(b"iCCP", b"a\0\0" + text), pixels=bytes(72)), FAILS)
    canvas = bytearray(encode(picture(), "GIF"))
    canvas[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield Nasty("bomb.gif", bytes(canvas), FAILS)
    bitmap = bytearray(encode(picture(), "BMP"))
    bitmap[18:26] = struct.pack("<ii", 60_000, 60_000)
    yield Nasty("bomb.bmp", bytes(bitmap), FAILS)
    inner = _png(40_000, 40_000)
    yield Nasty("bomb.ico", struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner, FAILS)


def _no_images() -> Iterator[Nasty]:
    yield Nasty("text.jpg", b"GIF of a cat\n" * 20, FAILS)
    yield Nasty("page.jpg", b"<!DOCTYPE html><title>404</title>", FAILS)
    yield Nasty("drawing.jpg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', FAILS)
    yield Nasty("print.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", FAILS)
    yield Nasty("paper.jpg", b"%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF", FAILS)
    yield Nasty("layers.jpg", b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 9, 9, 8, 3) + bytes(500), FAILS)
    yield Nasty("phone.heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200), FAILS)
    yield Nasty("header.avif", b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif" + bytes(200), FAILS)


def _names() -> Iterator[Nasty]:
    """Good pictures under names that programs stumble over."""
    names = [
        "two\nlines.jpg",
        "\"quoted\" 'names'.jpg",
        "tab\t\x1b[31mred.jpg",
        "[bold]{x}%s$HOME\\n.jpg",
        "-rf.jpg",
        "*.jpg",
    ]
    names += ["x" * 251 + ".jpg", " .jpg", "é\u0301 漢 \u202egpj.jpg", "a,b;c.jpg", "#.jpg", "https:.jpg"]
    names += ["line\u2028end.jpg"]
    if os.name == "posix":
        names += [os.fsdecode(b"caf\xe9.jpg")]
    for name in names:
        yield Nasty(name, jpeg(), CORNERS)


def _places(elsewhere: Path) -> Iterator[Nasty]:
    """What is no plain file."""
    yield Nasty("loop.jpg", lambda path: path.symlink_to(path), FAILS)
    yield Nasty("dead.jpg", lambda path: path.symlink_to(elsewhere / "gone.jpg"), FAILS)
    yield Nasty("outside.png", lambda path: path.symlink_to(elsewhere / "outside.png"), CORNERS)
    yield Nasty("endless.jpg", lambda path: path.symlink_to("/dev/zero"), FAILS)
    yield Nasty("pipe.jpg", os.mkfifo, FAILS)
    yield Nasty("socket.jpg", _socket, FAILS)
    yield Nasty("folder.jpg/inside.jpg", _inside, CORNERS)
    yield Nasty("locked.jpg", _locked, CORNERS if os.geteuid() == 0 else FAILS)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.open(".", os.O_RDONLY)  # paths of sockets are short
        try:
            os.chdir(path.parent)
            listener.bind(path.name)
        finally:
            os.fchdir(before)
            os.close(before)


def _inside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(jpeg())


def _locked(path: Path) -> None:
    path.write_bytes(jpeg())
    path.chmod(0)
