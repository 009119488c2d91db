"""From which scores on a label is predicted: numbers, a file of them, or tuned on a split."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hlcli.errors import InputError

if TYPE_CHECKING:
    from hlcli.data.labels import LabelSpace

ThresholdRule = Literal["self", "val"] | float | Path


def read_thresholds(protocol: ThresholdRule, labels: LabelSpace) -> tuple[float, ...] | None:
    """Thresholds that need no tuning, coarse → fine; None for `self` and `val`.

    Raises:
        InputError: for a number outside (0, 1) or a file without every level.
    """
    names = [level.name for level in labels.levels]
    if isinstance(protocol, Path):
        try:
            content = json.loads(protocol.read_text(encoding="utf-8"))
            values = tuple(float(content[name]) for name in names)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{protocol} holds no thresholds for {', '.join(names)}: {error!r}.",
                f"Write a JSON object: {json.dumps(dict.fromkeys(names, 0.5))}.",
            ) from error
    elif isinstance(protocol, int | float):
        values = (float(protocol),) * len(names)
    elif protocol in ("self", "val"):
        return None
    else:
        raise ValueError(f"Expected argument `thresholds` to be self, val, a number or a Path, but got {protocol!r}")
    if not all(0 < value < 1 for value in values):
        raise InputError(f"Thresholds must lie between 0 and 1 (got {', '.join(map(str, values))}).")
    return values


def thresholds_to_exceed(thresholds: Sequence[float], *, at_threshold: bool) -> tuple[float, ...]:
    """Numbers that scores must exceed: where one that equals the threshold counts too, the next smaller ones."""
    return tuple(math.nextafter(value, 0.0) if at_threshold else value for value in thresholds)
