"""What a comparison of models found: numbers side by side, differences, how sure they are, and what they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class MetricDifference(NamedTuple):
    """A model's metric less the first model's.

    Args:
        model: number of the model, from 1; the first one, 0, is what is compared with.
        metric: its name.
        value: the difference.
        low: where the interval of the difference begins.
        high: where it ends.
        p_value: how probable a difference as large were if there was none, two-sided.
        p_holm: the same, corrected for all differences of the comparison.
    """

    model: int
    metric: str
    value: float
    low: float
    high: float
    p_value: float
    p_holm: float


class ItemScores(NamedTuple):
    """A label, or an image with its caption, as each model has it.

    Args:
        level: the label's; empty for images.
        name: of the label, or the image.
        positives: images that have the label; 0 for images.
        scores: average precision of the label, or CIDEr of the image's caption, by model.
        f1: F1 of the label at each model's own threshold; empty for images.
    """

    level: str
    name: str
    positives: int
    scores: tuple[float, ...]
    f1: tuple[float, ...]

    def gain(self, model: int) -> float:
        """What a model has more than the first; NaN where one of them has no score."""
        return self.scores[model] - self.scores[0]


class ComparisonTable(NamedTuple):
    """A part of a comparison in words.

    Args:
        title: stands above it.
        head: names of the columns; models are called A, B, …
        rows: of text.
        note: stands below it; may be empty.
        is_numeric: whether all columns but the first hold numbers.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    is_numeric: bool = True


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models that were measured on the same images; prints as Markdown.

    Args:
        models: what they are called.
        split: what was measured.
        num_images: of the split.
        values: metric → its value of each model.
        differences: of every other model to the first, metric by metric. A metric that cannot be measured on images
            drawn anew has NaN in the place of interval and p values.
        items: every label, level by level, or every image of captioners.
        recipes: `section.key` → each recipe's value, for keys in which the recipes differ; None where one lacks it.
            `calibration` is among them.
        resamples: how often images were drawn anew.
        confidence: of the intervals.
    """

    models: tuple[str, ...]
    split: str
    num_images: int
    values: Mapping[str, tuple[float, ...]]
    differences: tuple[MetricDifference, ...]
    items: tuple[ItemScores, ...]
    recipes: Mapping[str, tuple[Any, ...]]
    resamples: int
    confidence: float

    def __str__(self) -> str:
        return self.to_markdown()

    def wins(self, model: int, level: str | None = None) -> list[ItemScores]:
        """Labels, of one level or of all, or images that a model does better than the first; largest gain first."""
        return self._apart(model, level, 1)

    def losses(self, model: int, level: str | None = None) -> list[ItemScores]:
        """Those that it does worse; largest loss first."""
        return self._apart(model, level, -1)

    def _apart(self, model: int, level: str | None, sign: int) -> list[ItemScores]:
        found = [item for item in self.items if level in (None, item.level) and sign * item.gain(model) > 0]
        return sorted(found, key=lambda item: -sign * item.gain(model))

    def to_json(self) -> dict[str, Any]:
        """Everything as one JSON-ready document, with None for what is not a number."""
        return {
            "models": list(self.models),
            "split": self.split,
            "images": self.num_images,
            "metrics": {name: _numbers(values) for name, values in self.values.items()},
            "differences": [_json_row(row._asdict()) for row in self.differences],
            "items": [_json_row(item._asdict()) for item in self.items],
            "recipes": {key: list(values) for key, values in self.recipes.items()},
            "resamples": self.resamples,
            "confidence": self.confidence,
        }

    def to_markdown(self) -> str:
        """Everything that is shown in a terminal, as a Markdown page."""
        from hlcli.comparison.tables import write_page

        return write_page(self)

    def tables(self) -> list[ComparisonTable]:
        """Everything that is shown: models, metrics, differences, labels or images furthest apart, recipes."""
        from hlcli.comparison.tables import comparison_tables

        return list(comparison_tables(self))


def _json_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _numbers(value) if isinstance(value, tuple) else _number(value) if isinstance(value, float) else value
        for key, value in row.items()
    }


def _numbers(values: tuple[float, ...]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
