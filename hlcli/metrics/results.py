"""What an evaluation found: metrics by name and a row per label; as text, as JSON, and which values are better."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hlcli.metrics.multilabel import EmptyLabels, LevelThreshold

_EMPTY_POLICY: Mapping[str, str] = {"skip": "left out of mAP", "zero": "counted as 0 in mAP", "nan": "mAP is n/a"}
LOWER_IS_BETTER = frozenset({"loss", "hierarchy/orphans"})
"""Names, without their level, of what is best when it is smallest; of everything else more is better."""


class LabelRow(NamedTuple):
    """What was measured for one label, predicted above its `threshold`; `AP` is NaN where it has no positives and is
    not counted as 0."""

    level: str
    name: str
    positives: int
    AP: float
    F1: float
    precision: float
    recall: float
    threshold: float = float("nan")


@dataclass(frozen=True, eq=False)
class Metrics(Mapping[str, float]):
    """Metrics by name, in a fixed order; prints as a table.

    The finest level has plain names (`mAP`, `F1_macro`, `threshold`), others their level in front (`coarse/mAP`);
    `hierarchy/…` concern all levels, `subset/…` are mean F1 over named subsets of fine labels.

    Args:
        numbers: name → value, a fraction in 0..1.
        labels: one row per label, level by level, coarse → fine.
        levels: names of the levels, coarse → fine.
        num_images: number of images that were scored.
        empty_labels: number of labels, over all levels, without a positive image.
        empty_policy: what average precision does with them: `skip`, `zero` or `nan`.
        label_thresholds: level → thresholds of its labels, where these differ; the level's `threshold` is NaN then.

    Examples:
        >>> numbers = {"mAP": 0.5, "threshold": 0.3, "coarse/mAP": 0.75, "coarse/threshold": 0.4}
        >>> metrics = Metrics(numbers, levels=("coarse", "fine"), num_images=10)
        >>> metrics["mAP"]
        0.5
        >>> metrics.thresholds
        (0.4, 0.3)
        >>> print(metrics)
                   coarse    fine
        mAP        0.7500  0.5000
        threshold  0.4000  0.3000
        10 images; every label has positives.
    """

    numbers: Mapping[str, float]
    labels: tuple[LabelRow, ...] = field(default=(), repr=False)
    levels: tuple[str, ...] = ("fine",)
    num_images: int = 0
    empty_labels: int = 0
    empty_policy: EmptyLabels = "skip"
    label_thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> float:
        return self.numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __str__(self) -> str:
        header = ("", *self.levels)
        rows = [header, *((name, *cells) for name, cells in self.by_level().items())]
        rows += [(name, *[""] * (len(self.levels) - 1), cell) for name, cell in self.others().items()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        ]
        return "\n".join([*(line.rstrip() for line in lines), self.note()])

    @property
    def thresholds(self) -> tuple[LevelThreshold, ...]:
        """The thresholds that were used, coarse → fine; those of one split can be given to the next evaluation."""
        return tuple(
            self.label_thresholds.get(level, self.numbers[metric_name(level, "threshold", self.levels)])
            for level in self.levels
        )

    def by_level(self) -> dict[str, tuple[str, ...]]:
        """Plain metric name → its values as text, coarse → fine; empty where a level lacks that metric."""
        plain = [name for name in self.numbers if "/" not in name]
        return {name: tuple(self._cell(level, name) for level in self.levels) for name in plain}

    def _cell(self, level: str, name: str) -> str:
        if name == "threshold" and level in self.label_thresholds:
            return "per label"
        full = metric_name(level, name, self.levels)
        return _as_text(self.numbers[full]) if full in self.numbers else ""

    def others(self) -> dict[str, str]:
        """The metrics that belong to no level, as text."""
        above = tuple(f"{level}/" for level in self.levels[:-1])
        return {
            name: _as_text(value)
            for name, value in self.numbers.items()
            if "/" in name and not name.startswith(above or " ")
        }

    def note(self) -> str:
        """What was measured: images, and labels without positives with what is done about them."""
        images = f"{self.num_images:,} image{'' if self.num_images == 1 else 's'}"
        if not self.empty_labels:
            return f"{images}; every label has positives."
        return (
            f"{images}; {self.empty_labels} of {len(self.labels)} labels have no positives: "
            f"{_EMPTY_POLICY[self.empty_policy]}, F1 counts as 0."
        )

    def to_json(self) -> dict[str, float | None]:
        """Name → number, with None for what is not a number."""
        return {name: None if math.isnan(value) else value for name, value in self.numbers.items()}

    def labels_to_json(self) -> list[dict[str, Any]]:
        """The rows of all labels, with None for what is not a number."""
        return [row._asdict() | {"AP": None if math.isnan(row.AP) else row.AP} for row in self.labels]


def metric_name(level: str, name: str, levels: Sequence[str]) -> str:
    """Name under which a level's metric is kept: plain on the last, finest level."""
    return name if level == levels[-1] else f"{level}/{name}"


def _as_text(value: float) -> str:
    """A fraction with four digits, or `n/a`."""
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def as_gain(name: str, value: float) -> float:
    """A metric's value, turned so that more is better; applied twice it is the value again."""
    is_lower_better = name in LOWER_IS_BETTER or name.partition("/")[2] in LOWER_IS_BETTER
    return -value if is_lower_better else value
