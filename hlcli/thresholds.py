"""From which scores on a label is predicted: numbers, a file of them, or tuned on a split."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hlcli.errors import InputError, named
from hlcli.json_text import read_json
from hlcli.metrics.multilabel import LevelThreshold

if TYPE_CHECKING:
    from hlcli.data.labels import LabelSpace, Level

logger = logging.getLogger(__name__)

ThresholdRule = Literal["self", "val"] | float | str | Path
"""Tuned on the very split that is measured or on val, a number for all levels, or a file of one per level by name, or
of an object with one per label; other text is a number where it looks like one, else a file."""

_DEFAULT = 0.5


def choose_thresholds(
    rule: Sequence[LevelThreshold] | ThresholdRule, labels: LabelSpace, tuned: tuple[LevelThreshold, ...] | None
) -> tuple[LevelThreshold, ...]:
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


def read_thresholds(
    protocol: Sequence[LevelThreshold] | ThresholdRule, labels: LabelSpace
) -> tuple[LevelThreshold, ...] | None:
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
            values = _from_file(read_json(protocol), labels.levels)
        except (OSError, ValueError) as error:
            reason = "there is no such file" if isinstance(error, FileNotFoundError) else error
            raise InputError(
                f"{protocol} holds no thresholds for {', '.join(names)}: {reason}.",
                f"Write a JSON object: {json.dumps(dict.fromkeys(names, 0.5))}.",
            ) from error
    elif isinstance(protocol, int | float):
        values = (float(protocol),) * len(names)
    else:
        values = tuple(tuple(map(float, one)) if isinstance(one, Sequence) else float(one) for one in protocol)
        if len(values) != len(names):
            raise ValueError(f"Expected argument `thresholds` to hold {len(names)} numbers, but got {len(values)}.")
    flat = [number for value in values for number in (value if isinstance(value, tuple) else (value,))]
    if not all(0 < number < 1 for number in flat):
        where = f"{protocol}: thresholds" if isinstance(protocol, Path) else "Thresholds"
        raise InputError(
            f"{where} must lie between 0 and 1 (got {named(flat)}).",
            "0 and 1 themselves are refused: 0.000001 predicts nearly every label.",
        )
    return values


def _from_file(content: Any, levels: Sequence[Level]) -> tuple[LevelThreshold, ...]:
    """Thresholds of all levels; other levels may be there too.

    Raises:
        ValueError: when something else is there.
    """
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    for level in levels:
        if level.name not in content:
            raise ValueError(f"level {level.name!r} is missing")
    return tuple(_of_level(content[level.name], level) for level in levels)


def _of_level(value: Any, level: Level) -> LevelThreshold:
    """A level's threshold, or those of its labels by name, as numbers.

    Raises:
        ValueError: when it is something else.
    """
    if isinstance(value, dict):
        _check_labels(value, level)
    numbers = [value[name] for name in level.label_names] if isinstance(value, dict) else [value]
    for number in numbers:
        if type(number) not in (int, float):
            raise ValueError(f"{number!r:.40} is no number")
    return tuple(map(float, numbers)) if isinstance(value, dict) else float(value)


def _check_labels(given: Mapping[str, Any], level: Level) -> None:
    """Refuse thresholds of other labels.

    Raises:
        ValueError: naming a label that is missing, or not the model's.
    """
    known = set(level.label_names)
    for name in (*level.label_names, *given):
        if name not in given:
            raise ValueError(f"label {name!r} of level {level.name} is missing")
        if name not in known:
            raise ValueError(f"label {name!r} is none of level {level.name}")


def _number_or_file(text: str) -> float | Path:
    try:
        return float(text)
    except ValueError:
        return Path(text)


def thresholds_to_exceed(thresholds: Sequence[LevelThreshold], *, at_threshold: bool) -> tuple[LevelThreshold, ...]:
    """Numbers that scores must exceed: where one that equals the threshold counts too, the next smaller ones."""
    if not at_threshold:
        return tuple(thresholds)
    return tuple(
        tuple(math.nextafter(number, 0.0) for number in value)
        if isinstance(value, tuple)
        else math.nextafter(value, 0.0)
        for value in thresholds
    )
