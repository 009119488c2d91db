"""Images as programs give them: one picture is the same picture in every form, and what is unclear is refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faulty_server import Fault, FaultyServer, without_proxies  # noqa: F401
from PIL import Image
from tiny_captioner import write_captioner
from tiny_label_models import tiny_label_model

import hlcli
from hlcli.data.transfers import image_fetch
from hlcli.prediction.given_images import named_sources

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictor() -> hlcli.Predictor:
    """One image at a time: in batches of another size, the last digits of scores may differ."""
    return hlcli.Predictor(tiny_label_model(), batch_size=1)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        yield running


def encoded(pixels: np.ndarray = PIXELS, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def forms(folder: Path, server: FaultyServer) -> list[Any]:
    """One picture in all its forms."""
    path = folder / "a.png"
    path.write_bytes(encoded())
    server.files["/a.png"] = encoded()
    fractions = PIXELS / 255
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    return [
        path, str(path), encoded(), server.url("/a.png"),
        Image.open(path), Image.fromarray(PIXELS), Image.fromarray(PIXELS).convert("RGBA"),
        PIXELS, fractions, fractions.astype(np.float32), fractions.astype(np.float16), np.asfortranarray(PIXELS),
        tensor, tensor / 255, (tensor / 255).half(), (tensor / 255).bfloat16(), (tensor / 255).requires_grad_(),
    ]  # fmt: skip


def test_one_picture_has_the_same_scores_in_every_form(
    predictor: hlcli.Predictor, tmp_path: Path, server: FaultyServer
):
    given = forms(tmp_path, server)
    found = predictor.predict(given)
    assert len(found) == len(given)
    for row in found:
        for level, expected in zip(row.levels, found[0].levels, strict=True):
            np.testing.assert_array_equal(level, expected)
    assert [row.image for row in found[:5]] == [*map(str, given[:2]), "image 2", given[3], "image 4"]


def test_one_picture_has_the_same_caption_in_every_form(tmp_path: Path, server: FaultyServer):
    predictor = hlcli.load_captioner(write_captioner(tmp_path / "model"), num_captions=2, batch_size=1)
    found = predictor.caption(forms(tmp_path, server))
    assert len({(row.caption, row.log_prob, row.alternatives) for row in found}) == 1
    assert found[3].image == server.url("/a.png")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_an_opened_photo_is_upright_as_its_file_is(predictor: hlcli.Predictor, tmp_path: Path, kind: str):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.image"
    path.write_bytes(encoded(kind=kind, exif=exif))
    first, second = predictor.predict([path, Image.open(path)])
    np.testing.assert_array_equal(first.levels[-1], second.levels[-1])


def test_grey_pictures_are_arrays_of_two_dimensions(predictor: hlcli.Predictor):
    grey = PIXELS[..., 0]
    found = predictor.predict([Image.fromarray(grey), grey, grey / 255, np.stack([grey] * 3, axis=-1)])
    assert len({row.levels[-1].tobytes() for row in found}) == 1


def test_one_image_needs_no_list_and_a_batch_counts_as_many(predictor: hlcli.Predictor, tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded())
    for one in (str(path), path, encoded(), Image.open(path), PIXELS, torch.from_numpy(PIXELS).permute(2, 0, 1)):
        assert len(predictor.predict(one)) == 1
    batch = torch.rand(5, 3, 20, 30)
    found = predictor.predict(batch)
    assert [row.image for row in found] == [f"image {number}" for number in range(5)]
    named = list(named_sources([PIXELS, batch, PIXELS]))
    assert [name for name, _ in named] == [f"image {number}" for number in range(7)]
    np.testing.assert_array_equal(predictor.predict(batch[3])[0].levels[-1], found[3].levels[-1])
    assert predictor.predict([]) == predictor.predict(torch.zeros(0, 3, 8, 8)) == []


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (PIXELS.transpose(2, 0, 1), ValueError, r"\[H, W, 3\] or \[H, W\], but got \[3, 40, 50\]"),
        (PIXELS[None], ValueError, r"but got \[1, 40, 50, 3\]"),
        (PIXELS[:0], ValueError, r"image 0 to be an array of .* but got \[0, 50, 3\]"),
        (PIXELS.astype(np.int64), TypeError, "uint8 or floating-point numbers, but got int64"),
        (PIXELS > 7, TypeError, "but got bool"),
        (PIXELS.astype(np.float32), ValueError, "between 0 and 1, but got 0 to 255"),
        (PIXELS / 255 - 0.5, ValueError, "image 0 to have numbers between 0 and 1, but got -0.5 to 0.5"),
        (np.full((4, 4), np.nan), ValueError, "between 0 and 1, but got nan"),
        (torch.from_numpy(PIXELS), ValueError, r"\[3, H, W\] or \[B, 3, H, W\], but got \[40, 50, 3\]"),
        (torch.rand(4, 5), ValueError, r"but got \[4, 5\]"),
        (torch.rand(2, 1, 4, 5), ValueError, r"but got \[1, 4, 5\]"),
        (torch.zeros(3, 4, 5, dtype=torch.int32), TypeError, "but got torch.int32"),
        (torch.randn(3, 40, 50) * 2, ValueError, "between 0 and 1, but got"),
        (3, TypeError, "image 0 to be a path, a URL, bytes, a PIL image, a NumPy array or a tensor, but got int"),
        (None, TypeError, "but got NoneType"),
        (torch.rand(3, 4, 5).to_sparse(), TypeError, "image 0 to be a dense tensor with values, but got torch.sparse"),
        (torch.empty(3, 4, 5, device="meta"), TypeError, "to be a dense tensor with values, but got meta"),
        (torch.rand(3, 4, 5).to(torch.float8_e4m3fn), TypeError, "image 0 to be of .* but got torch.float8_e4m3fn"),
        (Image.new("RGB", (0, 5)), ValueError, "image 0 to have pixels, but got 0×5"),
        (io.BytesIO(encoded()), TypeError, "image 0 to be a path, .* but got BytesIO"),
    ],
)
def test_what_is_unclear_is_refused(predictor: hlcli.Predictor, image: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        predictor.predict([image])


@pytest.mark.parametrize("images", [None, 5, io.BytesIO(encoded()), bytearray(encoded()), {"a.jpg": PIXELS}])
def test_what_is_no_image_is_not_taken_for_many(predictor: hlcli.Predictor, images: Any, tmp_path: Path):
    expected = "Expected images to be a path, a URL, .* a NumPy array or a tensor, or many of them, but"
    with pytest.raises(TypeError, match=f"{expected} got {type(images).__name__}"):
        predictor.predict(images)
    (tmp_path / "a.png").write_bytes(encoded())
    with open(tmp_path / "a.png", "rb") as file, pytest.raises(TypeError, match="got BufferedReader"):
        list(predictor.stream(file))  # type: ignore[arg-type]


def test_other_addresses_than_of_the_web_are_said_to_be_none(predictor: hlcli.Predictor):
    for address in ("file:///a.jpg", "s3://b/a.jpg", "data:image/png;base64,AAAA"):
        (failure,) = predictor.stream([address])
        assert isinstance(failure, hlcli.Failure)
        assert failure.error == f"Image {address} cannot be fetched: only http:// and https:// are."


def test_urls_that_give_no_image_are_named(
    predictor: hlcli.Predictor, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
):
    server.files["/page.jpg"] = b"<html>not here</html>"
    server.types["/page.jpg"] = "text/html"
    server.files["/large.png"] = encoded()
    server.always["/teapot.jpg"] = Fault(status=418)
    monkeypatch.setattr(image_fetch, "_LARGEST_IMAGE_BYTES", 1000)
    reasons = {
        "gone.jpg": "HTTP 404",
        "page.jpg": "web page",
        "large.png": "more than 1,000 bytes",
        "teapot.jpg": "418",
    }
    found = list(predictor.stream([server.url(f"/{name}") for name in reasons]))
    for result, (name, reason) in zip(found, reasons.items(), strict=True):
        assert isinstance(result, hlcli.Failure)
        assert result.error.startswith(f"Image {server.url(f'/{name}')} cannot be fetched: ")
        assert reason in result.error
    with pytest.raises(hlcli.DataError, match=r"/gone\.jpg cannot be fetched: HTTP 404"):
        predictor.predict(server.url("/gone.jpg"))


def cut_short(folder: Path) -> Image.Image:
    """A photo that PIL has opened, though the file ends early."""
    path = folder / "short.png"
    path.write_bytes(encoded()[:2000])
    return Image.open(path)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_fails_fails_in_its_place(predictor: hlcli.Predictor, tmp_path: Path, workers: int):
    given = [PIXELS, tmp_path / "none.jpg", b"", cut_short(tmp_path), Image.new("F", (4, 4)), "s3://b/a.jpg", PIXELS]
    asked = hlcli.Predictor(tiny_label_model(), batch_size=1, workers=workers)
    found = list(asked.stream(image for image in given))
    assert [isinstance(result, hlcli.Failure) for result in found] == [False, True, True, True, True, True, False]
    assert [result.image for result in found][2:5] == ["image 2", "image 3", "image 4"]
    reasons = [result.error for result in found if isinstance(result, hlcli.Failure)]
    assert ["cannot be decoded" in reason for reason in reasons] == [True] * 4 + [False]
    np.testing.assert_array_equal(found[0].levels[-1], found[-1].levels[-1])  # type: ignore[union-attr]
    with pytest.raises(hlcli.DataError, match="image 0 cannot be decoded"):
        asked.predict(cut_short(tmp_path))


@pytest.mark.parametrize("open_predictor", [hlcli.Predictor, hlcli.CaptionPredictor])
def test_images_are_taken_when_they_are_needed(open_predictor: Callable[..., Any], tmp_path: Path):
    is_captioner = open_predictor is hlcli.CaptionPredictor
    model = hlcli.open_model(write_captioner(tmp_path / "model")) if is_captioner else tiny_label_model()
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield PIXELS[:30]

    stream = open_predictor(model, batch_size=2).stream(endless())
    seen = []
    for _ in range(5):
        next(stream)
        seen.append(taken)
    assert seen == [2, 2, 4, 4, 6]
    stream.close()
