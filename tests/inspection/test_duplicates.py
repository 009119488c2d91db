"""Copies are found however they were encoded, strangers are not, and large sets do not take long."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspected import reencoded, scene
from noise_photos import write_photos
from PIL import Image, ImageEnhance

from hlcli.inspection.duplicates import describe_picture, duplicate_groups


def groups_of(images: list[Image.Image]) -> list[list[int]]:
    described = [describe_picture(image) for image in images]
    thumbnails = np.stack([np.frombuffer(thumbnail, np.uint8).reshape(8, 8, 3) for _, thumbnail in described])
    hashes = np.array([number for number, _ in described], dtype=np.uint64)
    return [members.tolist() for members in duplicate_groups(hashes, thumbnails)]


def test_copies_encoded_and_scaled_anew_are_found_among_strangers():
    scenes = [scene(number) for number in range(40)]
    copies = [reencoded(scenes[3]), reencoded(scenes[7], scale=1.5, quality=40), reencoded(scenes[7], scale=0.4)]
    assert groups_of(scenes) == []
    assert groups_of([*scenes, *copies]) == [[3, 40], [7, 41, 42]]


def test_photos_of_noise_are_strangers_and_their_copies_are_not(tmp_path):
    paths = sorted(write_photos(tmp_path / "photos", 12).iterdir())
    photos = [Image.open(path).convert("RGB") for path in paths]
    assert groups_of(photos) == []
    assert groups_of([*photos, reencoded(photos[5], scale=1, quality=75)]) == [[5, 12]]


def test_plain_pictures_match_their_own_colour_alone():
    colours = ["white", "black", "#808080", "#949494", "red", "blue", "white"]
    assert groups_of([Image.new("RGB", (50, 40), colour) for colour in colours]) == [[0, 6]]


def test_a_small_thing_at_another_place_of_a_black_picture_is_another_picture():
    pictures = []
    for left in (10, 40, 70):
        picture = Image.new("RGB", (96, 96))
        picture.paste((255, 255, 255), (left, 30, left + 12, 42))
        pictures.append(picture)
    assert groups_of(pictures) == []


@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 3000), brightness=st.floats(0.98, 1.02))
def test_a_scene_is_recognised_two_percent_brighter_or_darker(number, brightness):
    original = scene(number)
    groups = groups_of([original, scene(number + 1), ImageEnhance.Brightness(original).enhance(brightness)])
    assert groups == [[0, 2]]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(number=st.integers(0, 3000), scale=st.floats(0.5, 2.0), quality=st.integers(50, 95))
def test_a_scene_is_recognised_at_any_scale_and_quality(number, scale, quality):
    original = scene(number)
    assert groups_of([original, scene(number + 1), reencoded(original, scale, quality)]) == [[0, 2]]


@pytest.mark.parametrize("bits", range(9))
def test_every_pair_of_hashes_that_differ_in_seven_bits_is_found(bits):
    """Against all pairs: whichever bits they are, the bands find them; eight bits are too many."""
    rng = np.random.default_rng(bits)
    hashes = rng.integers(0, 2**64, 200, dtype=np.uint64)
    masks = [sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False)) for _ in hashes]
    thumbnails = np.repeat(rng.integers(0, 256, (200, 8, 8, 3), dtype=np.uint8), 2, axis=0)
    pairs = np.stack([hashes, hashes ^ np.array(masks, dtype=np.uint64)], axis=1).reshape(-1)
    expected = [[2 * number, 2 * number + 1] for number in range(200)] if bits <= 7 else []
    assert [members.tolist() for members in duplicate_groups(pairs, thumbnails)] == expected


def test_many_images_and_a_placeholder_that_comes_ten_thousand_times():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 60_000, dtype=np.uint64)
    thumbnails = rng.integers(0, 256, (60_000, 8, 8, 3), dtype=np.uint8)
    hashes[:10_000], thumbnails[:10_000] = 0, 250
    hashes[-1], thumbnails[-1] = hashes[20_000] ^ np.uint64(0x8000000000000001), thumbnails[20_000]
    groups = duplicate_groups(hashes, thumbnails)
    assert [len(members) for members in groups] == [10_000, 2]
    assert groups[1].tolist() == [20_000, 59_999]


def test_no_image_at_all():
    assert duplicate_groups(np.zeros(0, np.uint64), np.zeros((0, 8, 8, 3), np.uint8)) == []
