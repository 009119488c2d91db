"""Pages of images, drawn few at a time; which images could not be decoded is listed beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hlcli.data.failures import Failure, write_failures
from hlcli.figures.files import Figures, page_name, remove_older
from hlcli.figures.images import IMAGES_AT_A_TIME, Items, Photo
from hlcli.progress import Progress
from hlcli.visualization.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DrawGroup = Callable[[int, list[tuple[int, Photo]], list[Failure]], list[Path]]
"""Number of the group, from 1, and its images with theirs → files; adds what fails only now to the failures."""


def draw_groups(items: Items, draw: _DrawGroup, out: Path, size: int = IMAGES_AT_A_TIME) -> Figures:
    """Files of images, decoded so many at a time; failures are listed beside `out`, as `write_failures` says."""
    files: list[Path] = []
    failures: list[Failure] = []
    with Progress("Drawing", total=len(items), unit="image") as bar:
        for number, start in enumerate(range(0, len(items), size), start=1):
            rows = range(start, min(start + size, len(items)))
            files += draw(number, list(items.photos(rows, failures)), failures)
            bar.advance(len(rows))
    return Figures(files, failures, write_failures(out, failures))


def draw_pages(
    items: Items, per_page: int, draw: Callable[[list[Photo]], Figure | None], folder: Path, name: str, file_format: str
) -> Figures:
    """Files `NAME`, or `NAME-1`, `NAME-2`, …, of several images each; `draw` gives a page, None if there is none."""
    pages = -(-len(items) // per_page)

    def draw_page(number: int, found: list[tuple[int, Photo]], _: list[Failure]) -> list[Path]:
        figure = draw([photo for _, photo in found]) if found else None
        page = page_name(name, number, pages)
        return [] if figure is None else [save_figure(figure, folder, page, file_format)]

    drawn = draw_groups(items, draw_page, folder / f"{name}.jsonl", per_page)
    remove_older(folder, file_format, rf"{name}(-\d+)?", drawn.files)
    return drawn
