"""RandAugment and cutout: values worked out by hand. (The reference's own pictures are in tests/golden.)"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from hlcli.data.augment import OPERATIONS, apply_operation, cutout, draw_cutout, operation_value, rand_augment

UNSIGNED = {"Invert", "AutoContrast", "Equalize", "Posterize", "Solarize", "Rotate", "Cutout"}


@pytest.fixture
def photo() -> Image.Image:
    pixels = np.random.default_rng(0).integers(20, 220, (24, 36, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_levels_lie_on_the_grids_of_the_reference():
    assert [operation_value("Cutout", level) for level in range(1, 10)] == [2, 4, 7, 9, 11, 13, 16, 18, 20]
    assert [operation_value("Posterize", level) for level in range(1, 10)] == [8, 7, 7, 6, 6, 5, 5, 4, 4]
    assert operation_value("Solarize", 9) == 0
    assert operation_value("Rotate", 9) == 30
    assert operation_value("TranslateX", 9) == pytest.approx(150 / 331)
    assert operation_value("Brightness", 4) == pytest.approx(0.4)


@pytest.mark.parametrize(("name", "level"), [("Blur", 3), ("Rotate", 10), ("Rotate", -1)])
def test_unknown_operations_and_levels_are_refused(name, level):
    with pytest.raises(ValueError, match=name if name == "Blur" else str(level)):
        operation_value(name, level)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_keep_size_and_mode_and_leave_their_input_alone(name, photo):
    before = photo.tobytes()
    result = apply_operation(photo, name, 7, -1, (3, 5))
    assert (result.size, result.mode) == (photo.size, "RGB")
    assert photo.tobytes() == before
    assert result.tobytes() != before


@pytest.mark.parametrize("name", OPERATIONS)
def test_only_signed_operations_heed_the_sign(name, photo):
    same = apply_operation(photo, name, 5, 1).tobytes() == apply_operation(photo, name, 5, -1).tobytes()
    assert same == (name in UNSIGNED)


def test_translation_moves_by_a_share_of_the_side_and_fills_with_grey(photo):
    moved = np.asarray(apply_operation(photo, "TranslateX", 9, 1))
    gap = round(150 / 331 * 36)
    np.testing.assert_array_equal(moved[:, : 36 - gap], np.asarray(photo)[:, gap:])
    assert (moved[:, 36 - gap :] == 128).all()


def test_rotation_is_counter_clockwise_over_grey():
    image = Image.new("RGB", (41, 41))
    image.paste((255, 255, 255), (36, 18, 41, 23))  # a spot on the right …
    turned = np.asarray(apply_operation(image, "Rotate", 9, 1))
    rows, _ = np.nonzero(turned[4:-4, 4:-4, 0] == 255)
    assert rows.size
    assert rows.max() + 4 < 18  # … moves up
    assert (turned[0, 0] == 128).all()


@pytest.mark.parametrize("level", range(1, 10))
def test_rotation_gives_the_pixels_of_the_reference_which_composes_over_grey(level, photo):
    turned = photo.convert("RGBA").rotate(operation_value("Rotate", level))
    expected = Image.composite(turned, Image.new("RGBA", turned.size, (128, 128, 128, 128)), turned).convert("RGB")
    assert apply_operation(photo, "Rotate", level).tobytes() == expected.tobytes()


def test_randaugment_cutout_excludes_its_far_edge(photo):
    pixels = np.asarray(apply_operation(photo, "Cutout", 5, 1, (10, 12)))  # 11 pixels: 10 - 5 … 10 + 5
    changed = (pixels == (125, 122, 113)).all(axis=2)
    assert changed.sum() == 100
    assert changed[7:17, 5:15].all()


def test_training_cutout_includes_both_corners():
    pixels = np.asarray(draw_cutout(Image.new("RGB", (60, 60)), 50, (30, 30), (9, 8, 7)))
    painted = (pixels == (9, 8, 7)).all(axis=2)
    assert painted.sum() == 51 * 51
    assert painted[5:56, 5:56].all()


def test_training_cutout_is_cut_off_at_the_edges_of_a_wide_image():
    pixels = np.asarray(draw_cutout(Image.new("RGB", (40, 20)), (8, 4), (39, 0), (9, 8, 7)))
    painted = (pixels == (9, 8, 7)).all(axis=2)
    assert painted.sum() == 3 * 5
    assert painted[:3, 35:].all()


def test_training_cutout_beyond_its_bounds_is_drawn_at_their_edge():
    """The reference bounds rows by the width and columns by the height, which the longer side goes beyond."""
    tall = np.asarray(draw_cutout(Image.new("RGB", (32, 40)), 9, (20, 39), (9, 8, 7), bounds=(40, 32)))
    wide = np.asarray(draw_cutout(Image.new("RGB", (40, 32)), 9, (39, 20), (9, 8, 7), bounds=(32, 40)))
    for pixels in (tall, wide.transpose(1, 0, 2)):
        painted = (pixels == (9, 8, 7)).all(axis=2)
        assert painted.sum() == 9
        assert painted[32, 16:25].all()


@pytest.mark.parametrize("length", [0, -1, (5, 0)])
def test_a_cutout_without_area_is_refused(length, photo):
    with pytest.raises(ValueError, match="at least 1 pixel"):
        draw_cutout(photo, length, (0, 0), (0, 0, 0))


def test_cutout_draws_as_many_holes_as_asked(photo):
    white = Image.new("RGB", (200, 200), "white")
    one, five = (np.asarray(cutout(white, holes, 20, random.Random(3))) for holes in (1, 5))
    assert (np.asarray(cutout(white, 0, 20, random.Random(3))) == 255).all()
    assert 0 < (one != 255).any(axis=2).sum() < (five != 255).any(axis=2).sum()


def test_randaugment_is_a_function_of_its_random_source(photo):
    results = [rand_augment(photo, random.Random(seed)).tobytes() for seed in range(40)]
    assert results == [rand_augment(photo, random.Random(seed)).tobytes() for seed in range(40)]
    assert len(set(results)) > 20


def test_randaugment_leaves_a_quarter_unchanged_and_uses_every_operation(monkeypatch):
    used: Counter[str] = Counter()
    levels: Counter[int] = Counter()

    def record(image, name, level, sign, centre):
        used[name] += 1
        levels[level] += 1
        return image

    monkeypatch.setattr("hlcli.data.augment.apply_operation", record)
    rng, image = random.Random(0), Image.new("RGB", (8, 8))
    untouched = 0
    for _ in range(4000):
        before = used.total()
        rand_augment(image, rng)
        untouched += used.total() == before
    assert untouched / 4000 == pytest.approx(0.25, abs=0.03)
    assert set(used) == set(OPERATIONS)
    assert set(levels) == set(range(1, 10))
    assert max(used.values()) < 1.4 * min(used.values())
