"""Maps painted over photos: numbers that OpenCV gives, and what the published program does with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hlcli.visualization.attention import jet, normalise_map, overlay, resize_bilinear, to_bytes
from hlcli.visualization.attention_page import attention_figure
from hlcli.visualization.panels import LabelMap

from .figure_text import assert_readable, texts

UNEVEN = np.array([[0.1, 0.2], [0.6, 0.1]], dtype=np.float32)  # 0.6 - 0.1 is more than 1 / 4


def test_a_map_is_stretched_from_its_lowest_to_its_highest_value():
    np.testing.assert_allclose(normalise_map(UNEVEN), [[0, 0.2], [1, 0]], atol=1e-6)


def test_an_almost_even_map_stays_as_it_is():
    even = np.array([[0.25, 0.35], [0.2, 0.2]], dtype=np.float32)
    np.testing.assert_array_equal(normalise_map(even), even)
    np.testing.assert_array_equal(normalise_map(np.ones((1, 1))), [[1]])


def test_the_mark_of_an_almost_even_map_is_explained_on_the_narrowest_page():
    photo = np.zeros((30, 40, 3), np.uint8)
    figure = attention_figure("a.jpg", photo, [LabelMap("flat", 0.5, np.full((2, 2), 0.25), True)])
    assert {"flat\n0.50 ✓ (even)", "(even): differences too small to stretch"} <= set(texts(figure))
    assert_readable(figure)


def test_resizing_keeps_values_at_centres_and_repeats_the_border():
    # Twice as long: places -0.25, 0.25, 0.75, 1.25 of the old axis.
    doubled = resize_bilinear(np.array([[0.0, 1.0]]), (1, 4))
    np.testing.assert_allclose(doubled, [[0, 0.25, 0.75, 1]], atol=1e-7)
    # Shrinking picks neighbours and averages nothing else: places 1.5 and 5.5 of eight.
    halved = resize_bilinear(np.arange(8.0)[None] ** 2, (1, 2))
    np.testing.assert_allclose(halved, [[(1 + 4) / 2, (25 + 36) / 2]])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(0, 99))
def test_resizing_invents_no_values(height: int, width: int, side: int, seed: int):
    values = np.random.default_rng(seed).random((height, width))
    resized = resize_bilinear(values, side)
    assert resized.shape == (side, side)
    assert values.min() - 1e-6 <= resized.min() <= resized.max() <= values.max() + 1e-6
    np.testing.assert_allclose(resize_bilinear(values.T, side), resized.T, atol=1e-6)


def test_enlarging_agrees_with_pillow():
    values = np.random.default_rng(0).random((7, 5), dtype=np.float32)
    expected = np.asarray(Image.fromarray(values).resize((40, 56), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resize_bilinear(values, (56, 40)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "rgb"),
    [(0, (0, 0, 128)), (32, (0, 0, 255)), (96, (2, 255, 254)), (127, (126, 255, 130)), (128, (130, 255, 126)),
     (159, (254, 255, 1)), (223, (255, 0, 0)), (224, (252, 0, 0)), (255, (128, 0, 0))],
)  # fmt: skip
def test_colours_are_those_of_opencv(value: int, rgb: tuple[int, int, int]):
    assert tuple(jet(np.array([value], dtype=np.uint8))[0].tolist()) == rgb


def test_weights_are_cut_to_bytes_and_not_rounded():
    np.testing.assert_array_equal(to_bytes(np.array([0, 0.999, 1, 1.0001])), [0, 254, 255, 255])


def test_half_the_colours_are_added_to_the_whole_photo():
    image = np.full((2, 2, 3), 50, dtype=np.uint8)
    painted = overlay(image, UNEVEN)
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted[0, 0], [50, 50, 114])  # dark blue, 128 / 2
    np.testing.assert_array_equal(painted[1, 0], [114, 50, 50])  # dark red


def test_a_bright_photo_is_cut_at_white_and_halves_go_to_even():
    image = np.full((2, 2, 3), 250, dtype=np.uint8)
    assert overlay(image, UNEVEN)[1, 0].tolist() == [255, 250, 250]
    weights = np.array([[63 / 255 + 1e-4, 0], [1, 0]], dtype=np.float32)
    green = int(jet(np.array([63], dtype=np.uint8))[0, 1])
    assert overlay(np.zeros((2, 2, 3), dtype=np.uint8), weights)[0, 0, 1] == round(green / 2)


def test_the_map_is_spread_over_photos_of_any_shape():
    image = np.zeros((30, 50, 3), dtype=np.uint8)
    painted = overlay(image, UNEVEN)
    assert painted.shape == (30, 50, 3)
    assert painted[-1, 0, 0] > painted[-1, 0, 2]  # red below left
    assert painted[0, -1, 2] > painted[0, -1, 0]  # blue above right
