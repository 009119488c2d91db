"""Characters that the figures' own font lacks: drawn where the machine has a font for them, told where it has none.

STIXGeneral, which matplotlib brings, has one letter of hiragana: it stands for a font of East Asian scripts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hlcli.visualization import fonts
from hlcli.visualization.fonts import font_families, font_file
from hlcli.visualization.saving import save_figure
from hlcli.visualization.scenes import arrange_words
from hlcli.visualization.style import new_figure, text_width

KNOWN, UNKNOWN = "の", "犬"
BOXES = "the font lacks some of the characters, which are drawn as boxes."


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """A machine with those fonts for East Asian scripts, one per kind of scripts."""
    monkeypatch.setattr(fonts, "_EAST_ASIAN", request.param)
    for found_before in (font_families, text_width):
        found_before.cache_clear()
    yield
    for found_before in (font_families, text_width):
        found_before.cache_clear()


STAND_IN = pytest.mark.parametrize("installed", [(("Nowhere", "STIXGeneral", "cmr10"), ("Nothing",))], indirect=True)
NONE = pytest.mark.parametrize("installed", [(("Nowhere",),)], indirect=True)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def page(letter: str) -> Figure:
    """A letter in a text, and in a name on an axis that is only made while it is drawn."""
    figure = new_figure(2, 1)
    figure.text(0.1, 0.5, f"dog {letter}")
    axes = figure.add_axes((0.2, 0.2, 0.3, 0.3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{letter}{value:g}")
    return figure


@STAND_IN
def test_the_first_font_that_is_there_joins_the_figures_own(installed: None):
    assert font_families() == ("sans-serif", "STIXGeneral")
    assert text_width("dog" + KNOWN) == pytest.approx(text_width("dog") + text_width(KNOWN), rel=0.02)


@STAND_IN
@pytest.mark.parametrize("file_format", ["png", "svg", "pdf"])
def test_letters_of_an_installed_font_are_drawn(
    installed: None, file_format: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    import matplotlib

    before = matplotlib.rcParams["font.family"]
    with caplog.at_level(logging.WARNING):
        save_figure(page(KNOWN), tmp_path, "dogs", file_format)
        assert not told(caplog)
        save_figure(page(UNKNOWN), tmp_path, "cats", file_format)
    assert told(caplog) == [f"cats.{file_format}: {BOXES}"]
    assert matplotlib.rcParams["font.family"] == before


@NONE
def test_without_such_a_font_boxes_are_told_once(installed: None, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert font_families() == ("sans-serif",)
    save_figure(page(KNOWN), tmp_path, "dogs", "png")
    assert told(caplog) == [f"dogs.png: {BOXES}"]


@STAND_IN
def test_latin_letters_look_as_without_the_other_font(installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    figures = []
    for name in ("with", "without"):
        with Image.open(save_figure(page("x"), tmp_path, name, "png")) as image:
            figures.append(np.asarray(image))
        monkeypatch.setattr(fonts, "_EAST_ASIAN", ())
        font_families.cache_clear()
    np.testing.assert_array_equal(*figures)


@STAND_IN
def test_a_cloud_of_words_is_set_in_a_font_that_has_them_all(installed: None):
    own = font_file(["dog"])
    assert "DejaVuSans" in own
    assert "STIXGeneral" in font_file(["dog", KNOWN])
    assert font_file([KNOWN, UNKNOWN]) == own
    assert {placed.word for placed in arrange_words({"dog": 3, KNOWN: 2})} == {"dog", KNOWN}
