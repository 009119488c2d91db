"""Attention over photos: hot where the map is hot, one panel per photo and label, names that can be read."""

from __future__ import annotations

import numpy as np
import pytest

from hlcli.visualization.heat import overlay, upsample
from hlcli.visualization.levels import Example, levels_figure
from hlcli.visualization.panels import LabelMap

from .figure_text import assert_readable, texts

LEVELS = ("coarse", "middle", "fine")


def hot_corner(row: int, column: int, grid: tuple[int, int] = (7, 5)) -> np.ndarray:
    attention_map = np.full(grid, 0.01)
    attention_map[row, column] = 0.5
    return attention_map


def example(name: str = "a.jpg", *, size: tuple[int, int] = (60, 80), top_k: int = 1, known: bool = True) -> Example:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    levels = tuple(
        tuple(LabelMap(f"{level} {rank}", 0.876, hot_corner(0, 0), (rank == 0) if known else None)
              for rank in range(top_k))
        for level in LEVELS
    )  # fmt: skip
    return Example(name, image, levels, ("cat", "dog") if known else None)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_hot_corner_is_the_brightest_after_upsampling(row: int, column: int):
    heat = upsample(hot_corner(row, column), 120, 90)
    assert heat.shape == (120, 90)
    assert (heat.min(), heat.max()) == (0, 1)
    halves = heat.reshape(2, 60, 2, 45).mean(axis=(1, 3))
    assert halves.argmax() == np.ravel_multi_index((row % 2, column % 2), (2, 2))
    assert heat[row, column] == pytest.approx(1, abs=0.02)


def test_cells_stay_where_they_are():
    heat = upsample(hot_corner(3, 1), 70, 50)
    assert np.unravel_index(heat.argmax(), heat.shape) in {(r, c) for r in (34, 35) for c in (14, 15)}


def test_almost_even_map_is_cold_everywhere_and_says_so():
    even = np.full((3, 4), 1 / 12)
    even[0] += 0.02
    assert (upsample(even, 10, 10) == 0).all()
    row = example()
    flat = row._replace(levels=tuple((level[0]._replace(attention_map=even),) for level in row.levels))
    shown = texts(levels_figure([flat], LEVELS))
    assert "fine 0\n0.88 ✓ (even)" in shown
    note = "(even): differences too small to stretch"
    assert note in shown
    assert note not in texts(levels_figure([row], LEVELS))


def test_overlay_is_brightest_at_the_hot_corner_and_keeps_the_photo_visible():
    image = np.full((70, 50, 3), 128, dtype=np.uint8)
    plain = overlay(image, hot_corner(0, 0))
    assert (plain.shape, plain.dtype) == (image.shape, np.uint8)
    brightness = plain.sum(axis=2)
    assert brightness[0, 0] == brightness.max() > 2 * brightness[-1, -1]
    image[30:40, 20:30] = 250
    detailed = overlay(image, hot_corner(0, 0))
    assert detailed[35, 25].sum() > 1.3 * detailed[60, 25].sum()


def test_an_overlay_is_as_light_as_the_eye_sees_the_photo():
    """Of colours as strong as each other green is the lightest, then red, then blue."""
    flat = np.zeros((4, 4))
    light = [overlay(np.full((4, 4, 3), colour, dtype=np.uint8), flat).sum() for colour in 255 * np.eye(3, dtype=int)]
    assert light[1] > light[0] > light[2]


def test_a_row_per_photo_with_names_scores_and_truth():
    figure = levels_figure([example("a.jpg"), example("b.jpg", known=False)], LEVELS)
    assert len(figure.axes) == 2 * 4 + 1  # photos and maps, and the scale of colours
    shown = texts(figure)
    assert {"photo", *LEVELS, "a.jpg\ntrue: cat, dog", "b.jpg"} <= set(shown)
    assert shown.count("fine 0\n0.88 ✓") == 1
    assert shown.count("fine 0\n0.88") == 1
    photos = [axes for axes in figure.axes if axes.get_title().startswith(("a.jpg", "b.jpg"))]
    assert photos[0].get_position().y0 > photos[1].get_position().y1


def test_more_labels_of_a_level_stand_below_each_other():
    figure = levels_figure([example(top_k=3)], LEVELS)
    fine = [axes.get_position() for axes in figure.axes if axes.get_title().startswith("fine")]
    assert len(fine) == 3
    assert fine[0].x0 == fine[1].x0 == fine[2].x0
    assert fine[0].y0 > fine[1].y1 > fine[2].y1


def test_photos_keep_their_shape_and_overlap_nothing():
    sizes = [(60, 80), (300, 60), (40, 400), (50, 50)]
    figure = levels_figure([example(size=size, top_k=2) for size in sizes], LEVELS)
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert min(box.y0 for box in boxes) >= 0
    for axes, box in zip(figure.axes[:-1], boxes, strict=False):
        height, width = axes.images[0].get_array().shape[:2]
        assert box.height / box.width == pytest.approx(height / width, rel=1e-6)
    for i, box in enumerate(boxes):
        assert not [other for other in boxes[i + 1 :] if box.overlaps(other)]


def test_long_and_odd_names_are_readable():
    long = "CuriousAdventurousExcitingLifeWithoutEnd " * 3
    label = LabelMap(f"$x^ {long}", 0.5, hot_corner(1, 1), True)
    photo = Example(f"{long}.jpg", np.zeros((30, 40, 3), np.uint8), ((label,),) * 3, (long, "a", long))
    assert_readable(levels_figure([photo, example(), photo], LEVELS))
    assert_readable(levels_figure([photo._replace(levels=((label,),), true_labels=())], ("fine",)))


def test_examples_must_fit_the_levels():
    with pytest.raises(ValueError, match="each with 2 levels"):
        levels_figure([example()], ("coarse", "fine"))
    with pytest.raises(ValueError, match="at least one example"):
        levels_figure([], LEVELS)
