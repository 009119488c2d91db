"""Finding images: files as they are named, folders and patterns by what they hold."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from hlcli.errors import InputError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"),
    *(".jp2", ".avif", ".heic", ".heif", ".ico", ".tga"),
}
"""What counts as an image in a folder; files that are named one by one are always tried."""


def find_images(places: str | Path | Sequence[str | Path]) -> list[Path]:
    """Files as they are; folders and patterns by what they hold, sorted; one place or several.

    Raises:
        InputError: for a place that does not exist or holds no image.
    """
    found = [_images_at(Path(place)) for place in ([places] if isinstance(places, str | Path) else places)]
    return found[0] if len(found) == 1 else list(dict.fromkeys(path for here in found for path in here))


def _images_at(place: Path) -> list[Path]:
    """The images that one place stands for, each once."""
    if os.path.isdir(place):
        files = _walk(place)
        here = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        if len(here) < len(files):
            logger.info("%s: files without an image's ending, which are left aside: %d", place, len(files) - len(here))
    elif os.path.isfile(place):
        here = [place]
    else:
        here = sorted({path for path in map(Path, glob.iglob(str(place), recursive=True)) if not os.path.isdir(path)})
    if not here:
        raise InputError(f"{place}: no image there.", "Give image files, folders, or patterns in quotes.")
    return here


def _walk(folder: Path) -> list[Path]:
    """Everything below a folder but folders, sorted; linked folders are followed, each once. What is no file, a dead
    link or a pipe, is kept: it fails by its name."""
    found: list[Path] = []
    seen: set[str] = set()
    for place, below, names in os.walk(folder, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below.sort()  # two links to one folder: the same one is taken every time
        home = Path(place)
        found += [home / name for name in names]
    return sorted(found, key=lambda path: str(path).replace(os.sep, "\0"))  # as paths are ordered, but faster


def _unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from error


def places_below(image_root: Path) -> Callable[[Path], str]:
    """Gives the path of a file from that folder on, or its whole path where it lies elsewhere; links are resolved.

    A folder is looked up once, not for each of its images.
    """
    root, real_folder = os.path.join(os.path.realpath(image_root), ""), lru_cache(10_000)(os.path.realpath)

    def place_of(path: Path) -> str:
        folder, name = os.path.split(path)
        real = os.path.join(real_folder(folder), name)
        if os.path.islink(real):
            real = os.path.realpath(real)
        return real.removeprefix(root)

    return place_of
