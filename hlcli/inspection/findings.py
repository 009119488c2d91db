"""What an inspection of a data set says: counts, and findings with what to do about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

FindingLevel = Literal["error", "warning", "note"]
FindingTopic = Literal["files", "images", "duplicates", "labels", "hierarchy", "recipe"]

_LEVELS: tuple[FindingLevel, ...] = ("error", "warning", "note")
"""Worst first."""


class Finding(NamedTuple):
    """Something about a data set that a person should know before the first epoch.

    Args:
        level: an `error` spoils training or its scores, a `warning` may, a `note` is good to know.
        about: the kind of check.
        what: the finding in a sentence.
        where: all images (`train a.jpg`), labels or files that it is about.
        mend: what to do; empty where nothing needs to be done.
        splits: where it was found; empty for the whole data set.
    """

    level: FindingLevel
    about: FindingTopic
    what: str
    where: tuple[str, ...] = ()
    mend: str = ""
    splits: tuple[str, ...] = ()


class SplitCounts(NamedTuple):
    """What a split holds; `train` as it is trained on, without the labels that the settings leave out. Captions are
    those with a word."""

    split: str
    images: int
    labels_per_image: float
    without_labels: int
    captions: int
    without_captions: int


class Inspection(NamedTuple):
    """All that was found.

    Args:
        name: the data set.
        splits: counts of every split that could be read.
        positives: fine label → split → number of its positives.
        findings: worst first.
    """

    name: str
    splits: tuple[SplitCounts, ...]
    positives: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]

    def count(self, level: FindingLevel) -> int:
        """Number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "dataset": self.name,
            "splits": [counts._asdict() for counts in self.splits],
            "positives": self.positives,
            "findings": [finding._asdict() for finding in self.findings],
        }


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings that are about something, by level; those of a level stay in their order."""
    return tuple(sorted(findings, key=lambda finding: _LEVELS.index(finding.level)))


def in_number(text: str, number: int) -> str:
    """A text for one or for many: `{} {image is|images are} grey` says `1 image is grey` or `2 images are grey`."""
    chosen = re.sub(r"\{([^{|}]*)\|([^{|}]*)\}", r"\1" if number == 1 else r"\2", text)
    return chosen.replace("{}", f"{number:,}")


def finding_on(
    where: Iterable[str],
    level: FindingLevel,
    about: FindingTopic,
    what: str,
    mend: str = "",
    splits: tuple[str, ...] = (),
) -> list[Finding]:
    """A finding on some images, labels or files, or none where there are none.

    Args:
        where: their names.
        level: how bad it is.
        about: the kind of check.
        what: the finding, see `in_number`.
        mend: what to do, likewise.
        splits: where it was found.
    """
    names = tuple(where)
    if not names:
        return []
    return [Finding(level, about, in_number(what, len(names)), names, in_number(mend, len(names)), splits)]
