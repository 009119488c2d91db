"""What is said of a feature file before and after it is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.data.failures import Failure
from hlcli.encoders.clip_models import short_clip_name


class FeaturePlan(NamedTuple):
    """What is going to be written.

    Args:
        path: the file.
        num_images: images that are read.
        num_bytes: size of the file; with a detector the most it can be.
        free_bytes: room on its disk.
        facts: what the file will say of itself.
        at_most: whether the size is an upper bound.
    """

    path: Path
    num_images: int
    num_bytes: int
    free_bytes: int
    facts: dict[str, Any]
    at_most: bool

    @property
    def peak_bytes(self) -> int:
        """Room that is needed in the end, when the parts are put together: they and the file."""
        return 2 * self.num_bytes

    @property
    def description(self) -> str:
        """The features in words."""
        return _describe(self.facts)


class FeatureReport(NamedTuple):
    """What was written.

    Args:
        path: the file.
        num_images: images in it.
        failures: images that could not be decoded, listed in `….failures.jsonl` beside it.
        facts: what the file says of itself.
    """

    path: Path
    num_images: int
    failures: list[Failure]
    facts: dict[str, Any]

    @property
    def description(self) -> str:
        """The features in words."""
        return _describe(self.facts)


def _describe(facts: Mapping[str, Any]) -> str:
    """`grid features (16×16) of width 1024 by clip:ViT-L-14, float16`."""
    maker = short_clip_name(facts.get("backbone") or "")
    if facts["kind"] == "region":
        maker = " of ".join(filter(None, (facts["detector"], maker)))
    grid = f" ({facts['grid'][0]}×{facts['grid'][1]})" if facts["kind"] == "grid" else ""
    width = f" of width {facts['width']}" if "width" in facts else ""
    return f"{facts['kind']} features{grid}{width} by {maker}, {facts['dtype']}"
