"""Vectors as points of a plane: who has which colour, names that lie over nothing, photos beside their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlcli.visualization.embeddings import PointGroup, group_points, points_figure
from hlcli.visualization.name_places import place_names
from hlcli.visualization.neighbours import Thumbnail, neighbours_figure

from .figure_text import assert_readable, texts


@given(st.integers(0, 40), st.integers(0, 99))
@settings(deadline=None)
def test_names_cover_no_name_no_point_and_leave_no_box(size: int, seed: int):
    rng = np.random.default_rng(seed)
    points, widths = rng.uniform(0, 3, (size, 2)), rng.uniform(0.1, 1.5, size).tolist()
    places = place_names(points, widths, 0.15, (3, 3), 0.05)
    boxes = [
        (*place, place[0] + width, place[1] + 0.15, number)
        for number, (place, width) in enumerate(zip(places, widths, strict=True))
        if place is not None
    ]
    for left, bottom, right, top, number in boxes:
        assert left >= 0
        assert bottom >= 0
        assert right <= 3
        assert top <= 3
        for other, (x, y) in enumerate(points):
            assert other == number or not (left < x < right and bottom < y < top)
        for other in boxes:
            assert other[4] == number or right <= other[0] or other[2] <= left or top <= other[1] or other[3] <= bottom


def test_a_name_alone_stands_to_the_right_and_at_the_edge_to_the_left():
    assert place_names(np.array([[1.0, 1.0]]), [0.5], 0.2, (3, 3), 0.1) == [(1.1, pytest.approx(0.9))]
    assert place_names(np.array([[2.9, 1.0]]), [0.5], 0.2, (3, 3), 0.1) == [(pytest.approx(2.3), pytest.approx(0.9))]
    assert place_names(np.array([[1.0, 1.0]]), [5.0], 0.2, (3, 3), 0.1) == [None]


def test_each_of_few_labels_keeps_its_colour():
    groups = group_points([2, 0, 2, 2], ["a", "b", "c"])
    assert [(group.name, group.style, group.members.tolist()) for group in groups] == [
        ("a", 0, [1]), ("c", 2, [0, 2, 3]),
    ]  # fmt: skip


def test_of_many_labels_the_frequent_ones_have_colours_and_the_rest_is_grey():
    labels = [label for label in range(9) for _ in range(label + 1)]
    groups = group_points([*labels, None], [f"l{i}" for i in range(9)])
    assert [group.name for group in groups] == ["l3", "l4", "l5", "l6", "l7", "l8", "others, or no label"]
    assert [group.style for group in groups] == [0, 1, 2, 3, 4, 5, None]
    assert sum(len(group.members) for group in groups) == len(labels) + 1
    assert [group.name for group in group_points(labels, [f"l{i}" for i in range(9)])][-1] == "other labels"


@pytest.mark.parametrize("size", [1, 2, 12, 500])
@pytest.mark.parametrize("name", ["cat", "$x^ CuriousAdventurousExcitingLifeWithoutEnd " * 3, "Ж Ω ß"])
def test_points_with_their_names_are_readable(size: int, name: str):
    points = np.random.default_rng(0).normal(size=(size, 2))
    groups = group_points([label % 8 for label in range(size)], [f"{name} {i}" for i in range(8)])
    figure = points_figure("labels " * 30, ["near is alike " * 20, "colour"], points, groups,
                           names=[f"{name} {i}" for i in range(size)])  # fmt: skip
    assert_readable(figure)
    left_out = [text for text in texts(figure) if text.endswith("have no room.")]
    written = [text for axes in figure.axes[:1] for text in axes.texts]
    assert len(written) + (int(left_out[0].split()[0]) if left_out else 0) == size
    assert len(written) > min(size, 12) * 0.9


def test_directions_of_one_scale_and_their_names():
    points = np.array([[0.0, 0], [4, 0], [0, 2]])
    figure = points_figure("a", [], points, [PointGroup("", 0, np.arange(3))], axis_names=("first", "second"))
    assert_readable(figure)
    assert {"first", "second"} <= set(texts(figure))
    (drawn,) = figure.axes[0].collections
    x, y = np.ptp(drawn.get_offsets(), axis=0)
    assert x == pytest.approx(2 * y)
    assert len(figure.axes) == 1  # one group needs no legend


def test_photos_stand_beside_their_neighbours():
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in ((60, 80), (300, 60), (40, 400))]
    row = [Thumbnail("long name " * 9, photos[0], ""), *(Thumbnail(f"{i}", photos[i], "0.93 · cat") for i in (1, 2))]
    figure = neighbours_figure("Images", ["note"], [row, row[:2]])
    assert_readable(figure)
    assert texts(figure).count("1\n0.93 · cat") == 2
    boxes = [axes.get_window_extent() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert not [other for other in boxes[i + 1 :] if box.overlaps(other)]
    with pytest.raises(ValueError, match="at least one row"):
        neighbours_figure("Images", [], [])
