"""Draws what `growth.py` measured: a figure of each group, seconds and memory against size, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from hlcli.visualization.saving import save_figure
from hlcli.visualization.style import FAINT, INK, LEVEL_COLOURS, TEXT_POINTS, TITLE_POINTS, make_plain, new_figure

_TITLES = {
    "labels": "Number of labels",
    "losses": "Number of labels",
    "pixels": "Side of the image, in pixels",
    "words": "Longest caption, in words",
    "beams": "Beams of the search",
    "rows": "Images, or captions",
    "files": "Images in files and lists",
}
_MARKERS = "os^Dvx"


def draw_groups(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """One figure per group that was measured; returns the files `growth-GROUP.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _draw([row for row in rows if row["group"] == group], group, folder)
        for group in _TITLES
        if any(row["group"] == group for row in rows)
    ]


def _draw(rows: Sequence[dict[str, Any]], group: str, folder: Path) -> Path:
    figure = new_figure(9.5, 2.2 + 0.16 * max(14, len(rows)), padding_inches=0.08)
    left, right = figure.subplots(1, 2)
    looks = [(colour, marker) for marker in _MARKERS for colour in LEVEL_COLOURS]
    for row, (colour, marker) in zip(rows, cycle(looks), strict=False):
        sizes = [cost["size"] for cost in row["costs"]]
        for axes, field in ((left, "seconds"), (right, "megabytes")):
            values = [max(cost[field], 0.1) if field == "megabytes" else cost[field] for cost in row["costs"]]
            power = row["exponent"] if field == "seconds" else row["memory_exponent"]
            told = row["name"] if power is None else f"{row['name']} ({power:.1f})"
            axes.plot(
                sizes, values, color=colour, marker=marker, markersize=3.5, linewidth=1.0,
                label=told if field == "seconds" else None,
            )  # fmt: skip
    for axes, what in ((left, "seconds"), (right, "peak memory above the start, MB")):
        _finish(axes, _TITLES[group], what)
    figure.legend(loc="outside right center", fontsize=TEXT_POINTS - 1.5, frameon=False, title="work (exponent)",
                  title_fontsize=TEXT_POINTS - 1)  # fmt: skip
    return save_figure(figure, folder, f"growth-{group}", "png")


def _finish(axes: Axes, title: str, what: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    make_plain(axes)
    axes.set_xlabel(title, fontsize=TEXT_POINTS, color=INK)
    axes.set_title(what, fontsize=TITLE_POINTS, color=INK, loc="left")
    _linear_guide(axes)


def _linear_guide(axes: Axes) -> None:
    """A dotted line of exponent 1 through the lower left, to hold slopes against."""
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    start = bottom * (top / bottom) ** 0.1
    axes.plot([low, high], [start, start * high / low], color=FAINT, linestyle=":", linewidth=1.0, zorder=0)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
