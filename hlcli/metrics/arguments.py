"""Checks of what the metrics are given: arrays [N, L], one row per image, one column per label; and choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]


def as_scores(scores: ArrayLike, name: str = "scores") -> Floats:
    """The scores as a float32 or float64 array, copied only when they are something else.

    Raises:
        ValueError: when they are not a table of finite floats with an image and a label at least.
    """
    array = np.asarray(scores)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"Expected argument `{name}` to have shape [images, labels], but got {list(array.shape)}")
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"Expected argument `{name}` to hold floats, but got {array.dtype}")
    if not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise ValueError(f"Expected argument `{name}` to be finite, but got {bad} of {array.size} values that are not")
    return array.astype(np.float32) if array.dtype == np.float16 else array


def as_flags(values: ArrayLike, name: str, shape: tuple[int, ...] | None = None) -> Flags:
    """Zeros and ones of any type as booleans [N, L].

    Raises:
        ValueError: when the shape is not the expected one or a value is neither 0 nor 1.
    """
    array = np.asarray(values)
    if shape is not None and array.shape != shape:
        raise ValueError(f"Expected argument `{name}` to have shape {list(shape)}, but got {list(array.shape)}")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"Expected argument `{name}` to have shape [images, labels], but got {list(array.shape)}")
    if array.dtype == np.bool_:
        return array
    flags = array != 0
    strange = array[flags & (array != 1)]
    if strange.size:
        raise ValueError(f"Expected argument `{name}` to hold only 0 and 1, but got {strange.flat[0]}")
    return flags


def without_ignored(scores: ArrayLike, targets: ArrayLike, ignore: ArrayLike | None) -> tuple[Floats, Flags]:
    """Checked scores and targets, in which an ignored image is never a positive and ranks below all others."""
    checked = as_scores(scores)
    flags = as_flags(targets, "targets", checked.shape)
    if ignore is None:
        return checked, flags
    ignored = as_flags(ignore, "ignore", checked.shape)
    return np.where(ignored, checked.dtype.type(-np.inf), checked), flags & ~ignored


def as_cuts(thresholds: Sequence[float], dtype: np.dtype, *, inclusive: bool = False) -> Floats:
    """What `as_cut` gives, of thresholds [L] of all labels.

    Raises:
        ValueError: when one is not finite.
    """
    exact = np.asarray(thresholds, dtype=np.float64)
    if not np.isfinite(exact).all():
        raise ValueError(f"Expected argument `threshold` to be finite, but got {thresholds}")
    cuts = exact.astype(dtype)
    is_too_high = cuts >= exact if inclusive else cuts > exact
    return np.where(is_too_high, np.nextafter(cuts, dtype.type(-np.inf)), cuts)


def as_cut(threshold: float, dtype: np.dtype, *, inclusive: bool = False) -> np.floating:
    """The largest number of that type that is not above the threshold; with `inclusive`, that is below it.

    Comparing float32 scores with it gives exactly what comparing them as real numbers with the threshold would;
    a threshold rounded to the nearest float32 would not.

    Raises:
        ValueError: when the threshold is not a finite number.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"Expected argument `threshold` to be finite, but got {threshold}")
    cut = dtype.type(threshold)
    is_too_high = float(cut) >= float(threshold) if inclusive else float(cut) > float(threshold)
    return np.nextafter(cut, dtype.type(-np.inf)) if is_too_high else cut


def check_choice(name: str, value: str, choices: object) -> None:
    """Refuse a value that is none of a `Literal`'s.

    Raises:
        ValueError: listing them.
    """
    allowed = get_args(choices)
    if value not in allowed:
        raise ValueError(f"Expected argument `{name}` to be one of {', '.join(allowed)}, but got {value!r}")
