"""Transforms: the same numbers as torchvision's, and randomness only from the given source."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms as tv

from hlcli.data.transforms import NORMALIZATIONS, EvalTransform, Normalize, TrainTransform, shift


@pytest.fixture
def photo() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("image_size", [64, (48, 80), 90, (90, 130)])
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_evaluation_equals_resize_to_tensor_normalize(photo, image_size, name):
    side = (image_size, image_size) if isinstance(image_size, int) else image_size
    reference = tv.Compose([tv.Resize(side), tv.ToTensor(), tv.Normalize(*NORMALIZATIONS[name])])(photo)
    image = EvalTransform(image_size)(photo)
    assert image.dtype == torch.uint8
    assert image[None].contiguous(memory_format=torch.channels_last).stride()[1:] == image.stride()
    torch.testing.assert_close(Normalize.named(name)(image[None])[0], reference, rtol=0, atol=2e-6)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 40))
@example(5, 86, 17)
@example(4, 90, 33)  # scaling the middle alone gives others here
def test_cropping_gives_the_same_pixels_as_clips_own_preparation(width, height, side):
    image = noise(width, height)  # up to 90 times as long as wide
    steps = [tv.Resize(side, tv.InterpolationMode.BICUBIC), tv.CenterCrop(side), tv.PILToTensor()]
    assert torch.equal(EvalTransform(side, resize="crop")(image), tv.Compose(steps)(image))


@pytest.mark.parametrize("size", [(61, 97), (90, 50), (33, 32), (32, 35), (32, 32), (640, 427), (5, 3)])
def test_cropping_to_normalised_numbers_equals_clips_own_preparation(size):
    steps = [tv.Resize(32, tv.InterpolationMode.BICUBIC), tv.CenterCrop(32), tv.ToTensor()]
    expected = tv.Compose([*steps, tv.Normalize(*NORMALIZATIONS["clip"])])(noise(*size))
    image = EvalTransform(32, resize="crop")(noise(*size))
    torch.testing.assert_close(Normalize.named("clip")(image[None])[0], expected, rtol=0, atol=1e-6)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 30), st.integers(8, 30))
@settings(max_examples=60, deadline=None)
def test_cropping_keeps_the_aspect_ratio_and_the_centre_for_any_target(width, height, rows, columns):
    """An image whose colours say where they were: red grows to the right, green downwards."""
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    pixels = np.stack([np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))], axis=2)
    pixels = np.concatenate([pixels, np.zeros((height, width, 1))], axis=2).round().astype(np.uint8)
    image = EvalTransform((rows, columns), resize="crop")(Image.fromarray(pixels))
    assert image.shape == (3, rows, columns)
    scale = max(columns / width, rows / height)
    for channel, (side, kept) in enumerate([(width, columns / scale), (height, rows / scale)]):
        seen = image[channel].double()
        if side > 40 and side * scale > 20:
            assert seen.mean().item() == pytest.approx(127.5, abs=255 / (side * scale) + 1)
            assert (seen.max() - seen.min()).item() == pytest.approx(255 * kept / side, abs=1020 / (side * scale) + 3)


def test_only_the_middle_of_very_long_images_is_scaled(monkeypatch: pytest.MonkeyPatch):
    def checked(image: Image.Image, size: tuple[int, int], *rest: Any, **more: Any) -> Image.Image:
        assert size[0] * size[1] <= 2**24
        return resize(image, size, *rest, **more)

    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", checked)
    strip = Image.new("RGB", (40_000, 2))
    strip.paste((255, 0, 0), (19_997, 0, 20_003, 2))
    image = EvalTransform(224, resize="crop")(strip)  # all of it at that height would be 4.5 million pixels long
    assert image.shape == (3, 224, 224)
    assert (image[0] > 200).double().mean() > 0.95


def test_training_crops_before_it_mirrors(photo):
    transform = TrainTransform((32, 24), horizontal_flip=True, resize="crop")
    plain = EvalTransform((32, 24), resize="crop")(photo)
    for seed in range(8):
        expected = plain.flip(2) if transform.mirrors(random.Random(seed)) else plain
        assert torch.equal(transform(photo, random.Random(seed)), expected)


def test_without_augmentation_training_sees_what_evaluation_sees(photo):
    assert torch.equal(TrainTransform(32)(photo, random.Random(0)), EvalTransform(32)(photo))


def test_a_training_image_depends_on_its_random_source_alone(photo):
    transform = TrainTransform((32, 40), horizontal_flip=True, random_shift=4, num_cutouts=2, randaugment=True)
    copy = pickle.loads(pickle.dumps(transform))
    random.seed(1)
    np.random.seed(1)
    first = [transform(photo, random.Random(seed)) for seed in range(20)]
    random.seed(2)
    np.random.seed(2)
    assert all(torch.equal(image, copy(photo, random.Random(seed))) for seed, image in enumerate(first))
    assert {image.shape for image in first} == {(3, 32, 40)}
    assert len({image.numpy().tobytes() for image in first}) == 20


def test_half_of_the_images_are_mirrored(photo):
    plain = EvalTransform(16)(photo)
    transform = TrainTransform(16, horizontal_flip=True)
    seen = [transform(photo, random.Random(seed)) for seed in range(200)]
    mirrored = sum(torch.equal(image, plain.flip(2)) for image in seen)
    assert mirrored + sum(torch.equal(image, plain) for image in seen) == 200
    assert 70 < mirrored < 130


def test_shift_moves_pixels_and_repeats_the_edge():
    image = Image.fromarray(np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3))
    pixels = np.asarray(image)
    moved = np.asarray(shift(image, 1, -2))
    np.testing.assert_array_equal(moved[0], pixels[2][[0, 0, 1, 2]])
    np.testing.assert_array_equal(moved[1:], moved[:1].repeat(2, axis=0))


def test_random_shift_reaches_its_limit_in_every_direction_and_no_further():
    pixels = np.zeros((21, 21, 3), dtype=np.uint8)
    pixels[10, 10] = 255
    transform = TrainTransform(21, random_shift=2)
    spots = {
        tuple(torch.nonzero(transform(Image.fromarray(pixels), random.Random(seed))[0])[0].tolist())
        for seed in range(400)
    }
    assert spots == {(row, column) for row in range(8, 13) for column in range(8, 13)}


@pytest.mark.parametrize(
    ("options", "width", "height"),
    [({}, 20, 10), ({"cutout_fraction": 0.25}, 10, 5), ({"cutout_length": 6}, 6, 6)],
)
def test_cutout_is_as_large_as_asked(options, width, height):
    transform, plain = TrainTransform((20, 40), num_cutouts=1, **options), Image.new("RGB", (40, 20))
    sizes = set()
    for seed in range(300):
        changed = (transform(plain, random.Random(seed)) != 0).any(0)
        sizes.add((int(changed.any(0).sum()), int(changed.any(1).sum())))
    assert max(size[0] for size in sizes) == width // 2 * 2 + 1
    assert max(size[1] for size in sizes) == height // 2 * 2 + 1


def test_normalization_constants_follow_the_device_but_are_no_weights():
    normalize = Normalize.named("imagenet")
    assert normalize.state_dict() == {}
    assert {buffer.device.type for buffer in normalize.to("meta").buffers()} == {"meta"}


def test_unknown_normalizations_are_refused():
    with pytest.raises(ValueError, match="imagenet, clip, half, none"):
        Normalize.named("imagnet")
