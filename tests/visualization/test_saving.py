"""Figures on disk: whole, decodable, of the format asked for; and what is said without matplotlib."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from hlcli.errors import InputError, MissingDependencyError
from hlcli.visualization.saving import LARGEST_SIDE, check_format, save_figure
from hlcli.visualization.style import new_figure, shorten, text_width


def test_every_format_is_written_whole(tmp_path: Path):
    figure = new_figure(2, 1)
    figure.text(0.1, 0.5, "text")
    png, svg, pdf = (save_figure(figure, tmp_path / "new", "a", kind) for kind in ("png", "svg", "pdf"))
    with Image.open(png) as image:
        assert image.size == (300, 150)
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.pdf", "a.png", "a.svg"]


def test_endless_figures_get_fewer_dots_per_inch(tmp_path: Path):
    path = save_figure(new_figure(0.02, LARGEST_SIDE / 75), tmp_path, "tall", "png")
    with Image.open(path) as image:
        assert image.height in (LARGEST_SIDE - 1, LARGEST_SIDE)


def test_unknown_format_gets_a_near_match():
    with pytest.raises(InputError, match="png, svg, pdf were expected") as caught:
        check_format(".PNGG")
    assert caught.value.hint == "Did you mean png?"


def test_missing_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError) as caught:
        new_figure(1, 1)
    assert "pip install matplotlib" in str(caught.value)


def test_text_is_cut_only_where_it_does_not_fit():
    assert shorten("a  short\nname", 3.0) == "a short name"
    cut = shorten("a very long name " * 9, 1.5)
    assert cut.endswith("…")
    assert 1.3 < text_width(cut) <= 1.5


def test_characters_without_a_glyph_are_told_once(tmp_path, caplog, recwarn):
    figure = new_figure(3, 1)
    figure.text(0.1, 0.5, "dog \u0378\u0379")  # no character has these numbers
    assert text_width("\u0378") > 0
    save_figure(figure, tmp_path, "dogs", "png")
    assert [record.getMessage() for record in caplog.records] == [
        "dogs.png: the font lacks some of the characters, which are drawn as boxes."
    ]
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
