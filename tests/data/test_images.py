"""Decoding: every kind of file becomes upright RGB, every damaged one an error that names it."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import PIL.Image
import pytest
from PIL import Image, ImageFile

from hlcli.data.images import load_image, upright_rgb
from hlcli.errors import DataError

# One colour per corner, so that turning or mirroring shows.
CORNERS = np.kron(
    np.array([[[250, 20, 30], [20, 240, 40]], [[30, 40, 230], [240, 230, 20]]], dtype=np.uint8),
    np.ones((12, 20, 1), dtype=np.uint8),
)  # [24, 40, 3]


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo() -> Image.Image:
    return Image.fromarray(CORNERS)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "TGA"])
def test_lossless_formats_come_back_exactly(kind):
    np.testing.assert_array_equal(np.asarray(load_image(encode(photo(), kind))), CORNERS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "JPEG2000"])
def test_lossy_formats_come_back_nearly(kind):
    image = load_image(encode(photo(), kind, quality=95) if kind in ("JPEG", "WEBP") else encode(photo(), kind))
    assert (image.size, image.mode) == ((40, 24), "RGB")
    assert np.abs(np.asarray(image).astype(int) - CORNERS).mean() < 12  # colours run at the edges


def test_files_and_drawings_are_read_like_bytes(tmp_path):
    class Drawing:
        def draw(self) -> Image.Image:
            return photo().convert("RGBA")

    path = tmp_path / "a.png"
    path.write_bytes(encode(photo()))
    for source in (path, Drawing()):
        image = load_image(source)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), CORNERS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, 1)),
        (9, lambda a: a),
    ],
)
def test_rotation_marks_are_obeyed(kind, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    pixels = np.asarray(load_image(encode(photo(), kind, exif=exif, **options))).astype(int)
    expected = upright(CORNERS)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() < 4


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_exif_block_does_not_cost_the_image():
    data = encode(photo(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert load_image(data).size == (40, 24)


def test_grey_images_repeat_their_channel():
    pixels = np.asarray(load_image(encode(photo().convert("L"))))
    assert (pixels == np.asarray(photo().convert("L"))[..., None]).all()


def test_sixteen_bit_grey_keeps_its_high_byte():
    values = np.array([[0, 255, 256, 40000, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        pixels = np.asarray(load_image(encode(Image.fromarray(values), kind)))
        assert pixels[0, :, 0].tolist() == [0, 0, 1, 156, 255]


def test_transparency_lies_over_white():
    rgba = Image.new("RGBA", (3, 1))
    for x, pixel in enumerate([(200, 0, 0, 255), (0, 0, 0, 0), (0, 0, 0, 128)]):
        rgba.putpixel((x, 0), pixel)
    expected = [(200, 0, 0), (255, 255, 255), (127, 127, 127)]
    assert [load_image(encode(rgba)).getpixel((x, 0)) for x in range(3)] == expected
    grey = rgba.convert("LA")
    assert load_image(encode(grey)).getpixel((1, 0)) == (255, 255, 255)


def test_tall_transparent_images_lie_over_white_row_by_row():
    rgba = Image.new("RGBA", (1, 1300), (0, 0, 0, 0))
    for y, alpha in ((0, 255), (511, 128), (512, 255), (1299, 64)):
        rgba.putpixel((0, y), (200, 0, 0, alpha))
    loaded = load_image(encode(rgba))
    whole = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    assert loaded.tobytes() == whole.tobytes()


def test_files_that_vanish_while_they_are_read_are_named(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no image")

    def vanish(*given: object, **options: object) -> None:
        path.unlink()
        raise PIL.UnidentifiedImageError

    monkeypatch.setattr(PIL.Image, "open", vanish)
    with pytest.raises(DataError, match=r"a\.jpg cannot be decoded: it is not an image in a known format"):
        load_image(path)


def test_postscript_that_a_program_has_opened_starts_no_other_program(monkeypatch):
    image = Image.open(io.BytesIO(encode(photo(), "EPS")))
    monkeypatch.setattr("subprocess.check_call", lambda *given, **options: pytest.fail("a program was started"))
    with pytest.raises(DataError, match="PostScript"):
        upright_rgb(image, name="x")


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_transparent_palette_entries_become_white(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    loaded = load_image(encode(image, transparency=transparency))
    assert [loaded.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (40, 50, 60)]


def test_transparent_colour_of_an_rgb_image_becomes_white():
    image = Image.new("RGB", (2, 1), (9, 9, 9))
    image.putpixel((1, 0), (1, 2, 3))
    loaded = load_image(encode(image, transparency=(9, 9, 9)))
    assert [loaded.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (1, 2, 3)]


def test_cmyk_becomes_rgb():
    image = load_image(encode(photo().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(np.asarray(image).astype(int) - CORNERS).mean() < 6


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_give_their_first_frame(kind):
    red, blue = Image.new("RGB", (8, 8), (250, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 250))
    pixel = load_image(encode(red, kind, save_all=True, append_images=[blue])).getpixel((4, 4))
    assert pixel[0] > 240
    assert pixel[2] < 10


def _truncated() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), "JPEG")
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"GIF of a cat" * 20, "known format"),
        (_truncated(), "truncated"),
        (encode(photo())[:60], "cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known format"),
        (encode(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "floating-point"),
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_what_cannot_be_decoded_is_named_with_the_reason(data, reason, as_file, tmp_path):
    path = tmp_path / "cat 7.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=reason) as raised:
        load_image(path if as_file else data, name="cat 7.jpg (row 3)")
    assert "cat 7.jpg (row 3)" in raised.value.message


def test_missing_files_and_folders_are_named_by_their_path(tmp_path):
    for path in (tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(DataError, match=path.name):
            load_image(path)


def test_too_many_pixels_are_refused_before_they_are_decoded():
    bomb = bytearray(encode(photo(), "BMP"))
    bomb[18:26] = struct.pack("<ii", 30_000, 30_000)
    with pytest.raises(DataError, match="too many pixels"):
        load_image(bytes(bomb))
    with pytest.raises(DataError, match="40×24 pixels are more than 900"):
        load_image(encode(photo()), max_pixels=900)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_random_damage_gives_an_image_or_a_data_error(kind):
    exif = {} if kind in ("BMP", "GIF") else {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00"}
    whole, rng = encode(photo(), kind, **exif), random.Random(kind)
    for _ in range(250):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(min(len(data), rng.choice((40, 200, 10**6))))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        message = decode_message(bytes(data))
        assert not message or "Image x cannot be decoded" in message


def decode_message(data: bytes) -> str:
    """What is wrong with an image; nothing when it decodes to RGB."""
    try:
        image = load_image(data, name="x", max_pixels=10**6)
    except DataError as error:
        return error.message
    return "" if image.mode == "RGB" else image.mode


def test_draft_decoding_is_smaller_but_never_too_small():
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = np.add.outer(np.arange(400), np.arange(800)).astype(np.float32) / 1200 * 255
    big = Image.fromarray(ramp.astype(np.uint8)).convert("RGB")
    assert load_image(encode(big, "JPEG"), shrink_to=(200, 100)).size == (200, 100)
    assert load_image(encode(big, "JPEG"), shrink_to=(201, 100)).size == (400, 200)
    assert load_image(encode(big, "JPEG", exif=exif), shrink_to=(100, 200)).size == (100, 200)
    assert load_image(encode(big, "PNG"), shrink_to=(200, 100)).size == (800, 400)
    assert load_image(encode(big, "JPEG")).size == (800, 400)


def test_no_global_setting_of_pillow_changes():
    before = (PIL.Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    with pytest.raises(DataError):
        load_image(_truncated())
    load_image(encode(photo()))
    assert before == (PIL.Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_an_rgb_file_is_not_copied_but_an_image_of_the_callers_is():
    image = load_image(encode(photo()))
    assert (image.mode, image.tobytes()) == ("RGB", photo().tobytes())
    assert image.resize((20, 12)).tobytes() == photo().resize((20, 12)).tobytes()  # its file is closed by now
    own = photo()
    given = upright_rgb(own, name="own")
    own.paste((0, 0, 0), (0, 0, 40, 24))
    assert given.tobytes() == photo().tobytes()
