"""Colours that people with other eyes can tell apart, on paper without colours too; one heading for every figure."""

from __future__ import annotations

import ast
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from source_files import parsed

from hlcli.visualization import curves
from hlcli.visualization.style import (
    INK,
    LEVEL_COLOURS,
    LEVEL_MARKERS,
    draw_heading,
    heading_height,
    level_colours,
    level_markers,
    new_figure,
)

from .figure_text import assert_readable, texts

ROOT = Path(__file__).parents[2]
COLOUR_MAPS = ("inferno", "magma", "viridis")

# How colours of linear light look to people without one kind of cones (Machado, Oliveira and Fernandes, 2009).
SEEN_BY = {
    "most people": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def to_linear(colour: str | tuple[float, ...]) -> np.ndarray:
    """Linear light [3] of an sRGB colour."""
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def to_lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB under daylight; a difference of 2.3 is just seen."""
    xyz = TO_XYZ @ linear.clip(0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def least_difference(colours: tuple[str, ...], matrix: np.ndarray) -> float:
    seen = [to_lab(matrix @ to_linear(colour)) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2))


def lightness(colour: str | tuple[float, ...]) -> float:
    return float(to_lab(to_linear(colour))[0])


def test_the_simulation_knows_which_colours_are_confused():
    red_and_green = ("#C04040", "#6E7A1E")
    assert least_difference(red_and_green, SEEN_BY["most people"]) > 50
    assert least_difference(red_and_green, SEEN_BY["deuteranopia"]) < 25
    assert to_lab(np.ones(3)) == pytest.approx([100, 0, 0], abs=0.1)


@pytest.mark.parametrize("eyes", SEEN_BY)
def test_colours_of_levels_are_told_apart(eyes: str):
    assert least_difference(LEVEL_COLOURS[:3], SEEN_BY[eyes]) > 15
    assert least_difference(LEVEL_COLOURS, SEEN_BY[eyes]) > 10
    assert least_difference((INK, *curves._TERM_COLOURS), SEEN_BY[eyes]) > 15


def test_colour_is_never_all_that_tells_levels_or_terms_apart():
    assert len(set(LEVEL_MARKERS)) == len(LEVEL_COLOURS)
    assert len(set(curves._TERM_LINES)) == len(curves._TERM_COLOURS)
    names = ("coarse", "middle", "fine")
    assert [level_colours(names)[name] for name in reversed(names)] == list(LEVEL_COLOURS[:3])
    assert [level_markers(names)[name] for name in reversed(names)] == list(LEVEL_MARKERS[:3])


def test_levels_differ_in_a_print_without_colours():
    assert min(abs(lightness(a) - lightness(b)) for a, b in combinations(LEVEL_COLOURS[:3], 2)) > 2.3


def test_colours_are_dark_enough_for_white_paper():
    assert max(map(lightness, (*LEVEL_COLOURS, *curves._TERM_COLOURS))) < 75


def test_figures_have_no_other_colour_maps_than_those_that_are_measured_below():
    places = sorted((ROOT / "hlcli" / "visualization").glob("*.py"))
    words = {node.value for path in places for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant)}
    assert words & set(colormaps) == set(COLOUR_MAPS)


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_maps_rise_evenly_in_lightness_whoever_looks(name: str):
    steps = colormaps[name](np.linspace(0, 1, 33))[:, :3]
    for matrix in SEEN_BY.values():
        values = np.array([to_lab(matrix @ to_linear(tuple(rgb)))[0] for rgb in steps])
        assert (np.diff(values) > 0).all()
    values = np.array([lightness(tuple(rgb)) for rgb in steps])
    assert np.diff(values).max() < 2 * np.diff(values).mean()


def test_a_heading_is_cut_to_its_figure_and_leaves_the_room_it_says():
    figure = new_figure(3, 2)
    draw_heading(figure, "$x^ what one sees " * 20, ["how to read it " * 20, "Ω"])
    title, first, second = texts(figure)
    assert title.endswith("…")
    assert first.endswith("…")
    assert second == "Ω"
    assert_readable(figure)
    lowest = min(text.get_window_extent().y0 for text in figure.texts)
    assert lowest > figure.bbox.height * (1 - heading_height(2) / 2)
