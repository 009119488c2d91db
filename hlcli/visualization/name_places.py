"""Where names stand beside their points, so that none lies over another. Lengths in inches, y upwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
"""Tried in turn: right, left, above, below, and between these."""


def place_names(
    points: np.ndarray, widths: Sequence[float], height: float, size: tuple[float, float], distance: float
) -> list[tuple[float, float] | None]:
    """The lower left corner of every name, None where there is no room.

    A name covers neither another name nor the middle of another's point, and does not leave the box. Earlier names
    choose first.

    Args:
        points: [n, 2].
        widths: of the names, n.
        height: of a line.
        size: width and height of the box, whose lower left corner is the origin.
        distance: between a point and its name.
    """
    if not widths:
        return []
    places: list[tuple[float, float] | None] = []
    taken = np.empty((0, 4))  # left, bottom, right, top of names that have their place
    for number, ((x, y), width) in enumerate(zip(points.tolist(), widths, strict=True)):
        others = np.delete(points, number, axis=0)
        boxes = ((_begin(x, width, right, distance), _begin(y, height, up, distance)) for right, up in _SIDES)
        free = (
            place for place in boxes if _is_free((*place, place[0] + width, place[1] + height), size, taken, others)
        )
        place = next(free, None)
        places.append(place)
        if place is not None:
            taken = np.vstack([taken, (*place, place[0] + width, place[1] + height)])
    return places


def _begin(place: float, length: float, side: int, distance: float) -> float:
    """Where something begins that lies behind a place (1), before it (-1), or has it in its middle (0)."""
    if side == 0:
        return place - length / 2
    return place + distance if side > 0 else place - distance - length


def _is_free(
    box: tuple[float, float, float, float], size: tuple[float, float], taken: np.ndarray, points: np.ndarray
) -> bool:
    left, bottom, right, top = box
    if left < 0 or bottom < 0 or right > size[0] or top > size[1]:
        return False
    overlaps = (taken[:, 0] < right) & (taken[:, 2] > left) & (taken[:, 1] < top) & (taken[:, 3] > bottom)
    inside = (points[:, 0] > left) & (points[:, 0] < right) & (points[:, 1] > bottom) & (points[:, 1] < top)
    return not overlaps.any() and not inside.any()
