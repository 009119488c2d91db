"""`data.pixels: fast`: hardly other pixels than Pillow's, from the same files, and the same files refused."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from hlcli.data.images import load_image
from hlcli.data.loader import EvaluationImages, LabelItem, TrainingImages, stack
from hlcli.data.records import Record
from hlcli.data.transforms import EvalTransform, Normalize, Pixels, Resize, TrainTransform, stack_images
from hlcli.errors import DataError
from tests.support.effort import effort


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


def scene(width: int, height: int) -> Image.Image:
    """Soft and sharp edges, and the fine grain of a sensor."""
    rng = np.random.default_rng(7)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 11, 3), dtype=np.uint8))
    image = coarse.resize((width, height), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
    image.paste((250, 240, 20), (width // 5, height // 4, width // 2, height // 2))
    grain = rng.normal(0, 4, (height, width, 3))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def seen(content: bytes, image_size: int | tuple[int, int], resize: Resize, pixels: Pixels) -> torch.Tensor:
    transform = EvalTransform(image_size, resize, pixels)
    return transform(load_image(content, shrink_to=transform.decode_size)).int()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(8, 60), st.integers(8, 60))
@pytest.mark.parametrize(("how", "most"), [("stretch", 1), ("crop", 30)])
def test_torch_resizes_as_pillow_but_for_the_last_bits(how, most, width, height, rows, columns):
    image = noise(width, height)
    fast, exact = (EvalTransform((rows, columns), how, pixels)(image).int() for pixels in ("fast", "exact"))
    assert fast.shape == exact.shape == (3, rows, columns)
    assert (fast - exact).abs().max() <= most  # many only in noise, where bicubic weights overshoot
    assert (fast - exact).abs().float().mean() < 0.5


@pytest.mark.parametrize(("how", "most"), [("stretch", 1), ("crop", 2)])
@pytest.mark.parametrize("image_size", [96, (64, 200), 224])
def test_in_photos_few_values_differ_at_all(how, most, image_size):
    image = scene(320, 213)
    fast, exact = (EvalTransform(image_size, how, pixels)(image).int() for pixels in ("fast", "exact"))
    assert (fast - exact).abs().max() <= most
    assert (fast - exact).abs().float().mean() < 0.05


@pytest.mark.parametrize("how", ["stretch", "crop"])
@pytest.mark.parametrize(("size", "least"), [((1200, 900), 0.01), ((900, 1213), 0.01), ((150, 100), 0.0)])
def test_photos_decoded_at_a_part_of_their_size_differ_little(how, size, least):
    content = jpeg(scene(*size))
    fast, exact = (seen(content, 96, how, pixels) for pixels in ("fast", "exact"))
    difference = (fast - exact).abs().float()
    assert least < difference.mean() < 1.5 or (least == 0 and difference.max() <= 2)
    assert difference.max() <= 60  # at the edges of the yellow rectangle


def test_no_less_than_twice_the_wanted_size_is_decoded():
    content = jpeg(scene(1200, 900))
    sizes = {side: load_image(content, shrink_to=EvalTransform(side, pixels="fast").decode_size).size
             for side in (40, 100, 200, 400, 600)}  # fmt: skip
    assert sizes == {40: (150, 113), 100: (300, 225), 200: (600, 450), 400: (1200, 900), 600: (1200, 900)}
    assert EvalTransform(40).decode_size is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_marks_are_obeyed_in_parts_of_photos(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(scene(640, 400), exif=exif)
    difference = (seen(content, (40, 56), "stretch", "fast") - seen(content, (40, 56), "stretch", "exact")).abs()
    assert difference.float().mean() < 1.5


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_modes_of_jpeg_files_are_decoded_in_parts_too(mode, progressive):
    content = jpeg(scene(640, 400).convert(mode), progressive=progressive)
    assert load_image(content, shrink_to=(80, 80)).size == (160, 100)
    difference = (seen(content, 40, "stretch", "fast") - seen(content, 40, "stretch", "exact")).abs()
    assert difference.float().mean() < 1.5


def test_damaged_photos_are_refused_alike():
    """Cut short or with other bytes: what a full decode refuses, a decode of a part refuses."""
    whole = jpeg(scene(320, 200))
    rng = random.Random(0)
    refused = 0
    for _ in range(effort(60, 5_000)):
        content = bytearray(whole)
        if rng.random() < 0.5:
            del content[rng.randrange(2, len(content) - 2) :]
        for _ in range(rng.randrange(4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        outcomes = []
        for shrink_to in (None, (40, 25)):
            try:
                load_image(bytes(content), shrink_to=shrink_to)
                outcomes.append("decoded")
            except DataError:
                outcomes.append("refused")
        assert outcomes[0] == outcomes[1]
        refused += outcomes[0] == "refused"
    assert refused > 20


@pytest.mark.parametrize("changes", [{}, {"randaugment": True}, {"random_shift": 3}, {"num_cutouts": 1}])
def test_augmentation_is_the_same_whoever_resizes(changes):
    """Without resizing both ways see the same pixels, so what follows must be the same, mirrored or not."""
    image = noise(48, 48)
    for seed in range(12):
        fast, exact = (
            TrainTransform(48, horizontal_flip=True, pixels=pixels, **changes)(image, random.Random(seed))
            for pixels in ("fast", "exact")
        )
        assert torch.equal(fast, exact)


def test_the_loader_decodes_a_part_and_stacks_it():
    record = Record("a.jpg", jpeg(scene(640, 480)), (1,))
    for data in (
        TrainingImages([record], 2, TrainTransform(32, pixels="fast"), 0),
        EvaluationImages([record], 2, EvalTransform(32, pixels="fast")),
    ):
        item = data[(0, 0) if isinstance(data, TrainingImages) else 0]  # type: ignore[index]
        assert isinstance(item, LabelItem)
        batch = stack([item, item])
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        expected = EvalTransform(32, pixels="fast")(load_image(record.image, shrink_to=(64, 64)))
        assert torch.equal(batch.images, torch.stack([expected, expected]))


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
def test_floats_for_convolutions_are_the_same_floats(batch, height, width):
    generator = torch.Generator().manual_seed(height)
    images = [torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8) for _ in range(batch)]
    stacked = stack_images([image.permute(2, 0, 1) for image in images])
    assert torch.equal(stacked, torch.stack(images).permute(0, 3, 1, 2))
    normalize = Normalize.named("imagenet")
    rows = normalize.channels_last(stacked)
    assert rows.is_contiguous(memory_format=torch.channels_last)
    plain = normalize(stacked)
    assert plain.is_contiguous()
    assert torch.equal(rows, plain)
