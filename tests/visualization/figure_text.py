"""What can be read in a figure, and whether it can be read."""

from __future__ import annotations

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[str]:
    """All texts that are not empty."""
    return [text.get_text() for text in _visible(figure)]


def assert_readable(figure: Figure, slack: float = 1.5) -> None:
    """Every text is inside the figure, and none lies over another; slack in pixels."""
    FigureCanvasAgg(figure).draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in _visible(figure)]
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in boxes:
        inside = box.x0 >= -slack and box.y0 >= -slack and box.x1 <= width + slack and box.y1 <= height + slack
        assert inside, f"{text!r} leaves the figure"
    for (text, box), (other, other_box) in combinations(boxes, 2):
        apart = (
            box.x1 - slack <= other_box.x0
            or other_box.x1 - slack <= box.x0
            or box.y1 - slack <= other_box.y0
            or other_box.y1 - slack <= box.y0
        )
        assert apart, f"{text!r} lies over {other!r}"


def _visible(figure: Figure) -> list[Text]:
    """Texts that are drawn: not those of axes that are switched off, nor of ticks beyond the end of an axis."""
    hidden: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            hidden |= {
                text
                for tick in ticks
                if not (axes.axison and low <= tick.get_loc() <= high)
                for text in (tick.label1, tick.label2)
            }
    return [
        text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible() and text not in hidden
    ]
