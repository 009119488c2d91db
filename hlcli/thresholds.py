"""From which scores on a label is predicted: numbers, a file of them, or tuned on a split."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hlcli.errors import InputError, named
from hlcli.json_text import read_json

if TYPE_CHECKING:
    from hlcli.data.labels import LabelSpace

logger = logging.getLogger(__name__)

ThresholdRule = Literal["self", "val"] | float | str | Path
"""Tuned on the very split that is measured or on val, a number for all levels, or a file of one per level by name;
other text is a number where it looks like one, else a file."""

_DEFAULT = 0.5


def choose_thresholds(
    rule: Sequence[float] | ThresholdRule, labels: LabelSpace, tuned: tuple[float, ...] | None
) -> tuple[float, ...]:
    """Thresholds of a model for images whose labels nobody knows, coarse → fine.

    Args:
        rule: the numbers it names are taken.
        labels: the model's.
        tuned: the model's own, for rules that ask for tuning; without any, 0.5 is taken with a warning.

    Raises:
        InputError: for a number outside (0, 1) or a file without every level.
        ValueError: for numbers of more levels, or fewer.
    """
    chosen = read_thresholds(rule, labels) or tuned
    if chosen is None:
        logger.warning("No thresholds were tuned for this model: %g is taken for every level.", _DEFAULT)
        chosen = (_DEFAULT,) * len(labels.levels)
    return chosen


def read_thresholds(protocol: Sequence[float] | ThresholdRule, labels: LabelSpace) -> tuple[float, ...] | None:
    """Thresholds that need no tuning, coarse → fine; None for `self` and `val`.

    Raises:
        InputError: for a number outside (0, 1) or a file without every level.
        ValueError: for numbers of more levels, or fewer.
    """
    if isinstance(protocol, str) and protocol in ("self", "val"):
        return None
    names = [level.name for level in labels.levels]
    if isinstance(protocol, str):
        protocol = _number_or_file(protocol)
    if isinstance(protocol, Path):
        try:
            content = read_json(protocol)
            values = tuple(content[name] for name in names)
            if not all(type(value) in (int, float) for value in values):
                raise TypeError(f"{named(values)} are not numbers")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{protocol} holds no thresholds for {', '.join(names)}: {error!r}.",
                f"Write a JSON object: {json.dumps(dict.fromkeys(names, 0.5))}.",
            ) from error
    elif isinstance(protocol, int | float):
        values = (float(protocol),) * len(names)
    else:
        values = tuple(map(float, protocol))
        if len(values) != len(names):
            raise ValueError(f"Expected argument `thresholds` to hold {len(names)} numbers, but got {len(values)}.")
    if not all(0 < value < 1 for value in values):
        where = f"{protocol}: thresholds" if isinstance(protocol, Path) else "Thresholds"
        raise InputError(f"{where} must lie between 0 and 1 (got {', '.join(map(str, values))}).")
    return tuple(map(float, values))


def _number_or_file(text: str) -> float | Path:
    try:
        return float(text)
    except ValueError:
        return Path(text)


def thresholds_to_exceed(thresholds: Sequence[float], *, at_threshold: bool) -> tuple[float, ...]:
    """Numbers that scores must exceed: where one that equals the threshold counts too, the next smaller ones."""
    return tuple(math.nextafter(value, 0.0) if at_threshold else value for value in thresholds)
