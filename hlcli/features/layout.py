"""How a feature file is laid out: names of its datasets, and what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

FeatureKind = Literal["grid", "region", "global"]

ATTRIBUTE = "hlcli"
PARTS = ("features", "global", "boxes", "size", "cls_prob")
"""What there can be of an image."""

CAST_PARTS = PARTS[:2]
"""What is stored in the file's own precision."""

BYTES_PER_DATASET = 350
"""What HDF5 itself needs for a dataset, more or less: its header and its name."""

_IDENTITY = ("kind", "backbone", "weights", "image_size", "resize", "normalization", "detector", "detector_weights")
"""Facts that must agree for features of two files to mean the same."""

_NUMBER = re.compile(r"(?:COCO_(?:train|val|test)20\d\d_)?0*(\d+)(?:(?<=\d{12})\.jpg)?")


def feature_key(image_id: str) -> str:
    """What stands for an image in the names of its datasets: numbers without leading zeros, other ids as they are.

    `COCO_val2014_000000391895` and its file name are the number 391895.
    """
    found = _NUMBER.fullmatch(image_id)
    return found[1] if found else image_id


def facts_differences(facts: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """In words, where features made in two ways do not mean the same; empty when they do."""
    return [
        f"{name} is {facts[name]}, expected {expected[name]}"
        for name in _IDENTITY
        if name in facts and name in expected and _plain(facts[name]) != _plain(expected[name])
    ]


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value
