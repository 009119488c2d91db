"""Charts of a report as geometry: what the template draws as SVG, in colours that its style sheet chooses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

WIDTH, HEIGHT = 420, 280
LEFT, TOP, RIGHT, BOTTOM = 46, 12, 14, 40
"""Room for tick names around the plot, in the units of the drawing."""

_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
_MOST_TICKS = 5
_MOST_POINTS = 240
_STROKE = 28
"""Width of what stands for a line of one value: wide enough that dashes can be told."""


class Line(NamedTuple):
    """One line of a chart.

    Args:
        name: for the legend.
        x: places, ascending.
        y: values; what is not a number leaves a gap.
        colour: number of its colour; lines of one colour belong together.
        is_dashed: how lines of one colour are told apart.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    is_dashed: bool = False


class Chart(NamedTuple):
    """What the template draws; all places in the units of the drawing.

    Args:
        title: what one sees.
        description: the same in words, for people who do not see it.
        x_name: of the axis.
        x_ticks: place and text of each.
        y_ticks: place and text of each.
        lines: path, colour, dashes and name of each.
        dots: place, colour and words of points that stand alone.
        bars: left, top, width and height of bars from the lower edge.
        bars_name: what their height means.
        mark: place and name of a line from top to bottom.
        has_diagonal: whether a line from corner to corner shows what would be perfect.
        identity: how the script finds the chart.
    """

    title: str
    description: str
    x_name: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    lines: Sequence[dict[str, Any]] = ()
    dots: Sequence[tuple[float, float, int, str]] = ()
    bars: Sequence[tuple[float, float, float, float]] = ()
    bars_name: str = ""
    mark: tuple[float, str] | None = None
    has_diagonal: bool = False
    identity: str = ""


class _Scale(NamedTuple):
    """Values of one axis and their places."""

    low: float
    high: float
    start: float
    length: float  # negative upwards

    def place(self, value: float) -> float:
        return round(self.start + self.length * (value - self.low) / (self.high - self.low), 1)


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_name: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    mark: tuple[float, str] | None = None,
    dots: Sequence[tuple[float, float, int, str]] = (),
    bars: Sequence[tuple[float, float, float]] = (),
    bars_name: str = "",
    has_diagonal: bool = False,
    identity: str = "",
    counts_x: bool = False,
) -> Chart:
    """Lines over one axis.

    Args:
        title: what one sees.
        lines: what is drawn.
        x_name: of the axis.
        x_range: least and most; default those of the lines.
        y_range: least and most; default 0, or less, to a little more than the most.
        mark: a value of x and its name.
        dots: x, y, number of the colour, and words.
        bars: from x to x, and height as a share of the plot.
        bars_name: what their height means.
        has_diagonal: draw the line of equal values.
        identity: how the script finds it.
        counts_x: whether x counts something, so that only whole numbers stand at its axis.
    """
    x = _Scale(*(x_range or _limits([v for line in lines for v in line.x])), LEFT, _PLOT_WIDTH)
    low, high = y_range or _y_limits([v for line in lines for v in line.y])
    y = _Scale(low, high, HEIGHT - BOTTOM, -_PLOT_HEIGHT)
    ends = "; ".join(f"{line.name}: {_last(line.y)}" for line in lines if any(map(math.isfinite, line.y)))
    return Chart(
        title=title,
        description=f"{title}, over {x_name}." + (f" Last values: {ends}." if ends else ""),
        x_name=x_name,
        x_ticks=[(x.place(value), text) for value, text in _ticks(x.low, x.high, whole=counts_x)],
        y_ticks=[(y.place(value), text) for value, text in _ticks(y.low, y.high)],
        lines=[
            {"path": _path(line, x, y), "colour": line.colour, "dashed": line.is_dashed, "name": line.name}
            for line in lines
        ],
        dots=[(x.place(px), y.place(py), colour, words) for px, py, colour, words in dots],
        bars=[
            (x.place(left), y.place(low) - round(share * _PLOT_HEIGHT, 1), round(x.place(right) - x.place(left), 1),
             round(share * _PLOT_HEIGHT, 1))
            for left, right, share in bars
        ],
        bars_name=bars_name,
        mark=None if mark is None else (x.place(mark[0]), mark[1]),
        has_diagonal=has_diagonal,
        identity=identity,
    )  # fmt: skip


def thin_out(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Long lines as means of neighbours, so that a page stays small: at most 240 points."""
    values, places = np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if len(values) <= _MOST_POINTS:
        return places.tolist(), values.tolist()
    edges = np.linspace(0, len(values), _MOST_POINTS + 1).astype(int)[:-1]
    counts = np.diff(np.append(edges, len(values)))
    return (np.add.reduceat(places, edges) / counts).tolist(), (np.add.reduceat(values, edges) / counts).tolist()


def _path(line: Line, x: _Scale, y: _Scale) -> str:
    known = [(px, py) for px, py in zip(line.x, line.y, strict=True) if math.isfinite(py)]
    if len(known) == 1:
        return f"M{x.place(known[0][0]) - _STROKE / 2:g} {y.place(known[0][1]):g}h{_STROKE}"
    parts, is_new = [], True
    for px, py in zip(line.x, line.y, strict=True):
        if math.isfinite(py):
            parts.append(f"{'M' if is_new else 'L'}{x.place(px):g} {y.place(py):g}")
        is_new = not math.isfinite(py)
    return "".join(parts)


def _limits(values: Iterable[float]) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _y_limits(values: Iterable[float]) -> tuple[float, float]:
    low, high = _limits([*values, 0.0])
    return low, high + 0.05 * (high - low)


def _ticks(low: float, high: float, *, whole: bool = False) -> list[tuple[float, str]]:
    """A few round numbers within the limits, as text."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(nbins=_MOST_TICKS, steps=[1, 2, 2.5, 5, 10], integer=whole, min_n_ticks=1)
    found = locator.tick_values(low, high)
    margin = 1e-9 * (high - low)
    return [(float(v), _short_number(float(v))) for v in found if low - margin <= v <= high + margin]


def _short_number(value: float) -> str:
    """A number for an axis: 0.25, 1,500, 20k, 1e-05."""
    value = 0.0 if abs(value) < 1e-12 else value
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _last(values: Sequence[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    return f"{known[-1]:.4g}"
