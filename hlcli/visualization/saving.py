"""Figures become files."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from hlcli.errors import InputError, nearest
from hlcli.files import whole_file
from hlcli.visualization.fonts import font_families

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_MISSING_GLYPH = "missing from font"
"""What matplotlib says of a character that it cannot draw, of each of them."""
_FORMATS = ("png", "svg", "pdf")
_DOTS_PER_INCH = 150.0
LARGEST_SIDE = 2**16 - 1
"""Pixels that matplotlib can draw along one side."""


def check_out_folder(place: Path) -> None:
    """Refuse what is named like a picture where the folder of pictures is asked for.

    Raises:
        InputError: naming the folder that may be meant.
    """
    is_folder = os.path.isdir(place)  # of names that are too long, `is_dir` raises the system's error
    if place.suffix.lower().lstrip(".") in _FORMATS and not is_folder:
        hint = f"Figures have names of their own: give --out {place.parent}, and --format {place.suffix[1:].lower()}."
        raise InputError(f"--out {place}: a folder was expected.", hint)


def check_format(file_format: str) -> None:
    """Refuse an unknown file format.

    Raises:
        InputError: naming the known ones.
    """
    if file_format not in _FORMATS:
        near = nearest(file_format.lower().lstrip("."), _FORMATS)
        raise InputError(
            f"--format: {', '.join(_FORMATS)} were expected (got {file_format!r}).",
            f"Did you mean {near[0]}?" if near else None,
        )


def save_figure(figure: Figure, folder: Path, name: str, file_format: str) -> Path:
    """Write a figure whole; returns its file."""
    from matplotlib import rc_context

    path = folder / f"{name}.{file_format}"
    dots_per_inch = min(_DOTS_PER_INCH, LARGEST_SIDE / max(figure.get_size_inches()))
    _use_fonts(figure)
    fonts = rc_context({"font.family": list(font_families())})  # of what is only made while it is drawn
    with whole_file(path, "wb") as handle, warnings.catch_warnings(record=True) as caught, fonts:
        figure.savefig(handle, format=file_format, dpi=dots_per_inch)
    for warning in caught:
        if _MISSING_GLYPH not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if any(_MISSING_GLYPH in str(warning.message) for warning in caught):
        logger.warning("%s: the font lacks some of the characters, which are drawn as boxes.", path.name)
    return path


def _use_fonts(figure: Figure) -> None:
    """Let the figure's texts find characters in the fonts of this machine; their own font stays the first."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_fontfamily(list(font_families()))
