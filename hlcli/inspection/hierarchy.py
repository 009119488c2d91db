"""Names and levels of a label space: what its readers accept, though it may not be meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from hlcli.data.labels import LabelSpace
from hlcli.inspection.findings import Finding, finding_on


def hierarchy_findings(labels: LabelSpace, train_positives: np.ndarray | None) -> list[Finding]:
    """Parents that nobody learns or that add nothing, and names that may confuse people or text encoders.

    Args:
        labels: the label space; its reader has refused uneven trees, repeated names and childless parents.
        train_positives: of every fine label in train, [L]; None without that split.
    """
    return [*_parents(labels, train_positives), *_names(labels)]


def _parents(labels: LabelSpace, positives: np.ndarray | None) -> Iterable[Finding]:
    """Levels from fine to coarse: parents without positives, and with a single child."""
    for above, below in reversed([*pairwise(labels.levels)]):
        if positives is not None:
            positives = np.bincount(below.parent_index or (), weights=positives, minlength=len(above))
            never = [name for name, count in zip(above.label_names, positives, strict=True) if not count]
            what = f"{{}} {{parent|parents}} of level {above.name} {{has|have}} no child with a positive in train."
            yield from finding_on(never, "warning", "hierarchy", what, "Merge {it|them}, or get images.", ("train",))
        children = np.bincount(below.parent_index or (), minlength=len(above))
        single = [name for name, count in zip(above.label_names, children, strict=True) if count == 1]
        what = f"{{}} of {len(above):,} parents of level {above.name} {{has|have}} one child, and {{says|say}} no more."
        yield from finding_on(single, "note", "hierarchy", what)


def _names(labels: LabelSpace) -> Iterable[Finding]:
    """Names that are numbers, that differ in case alone, or that stand on several levels."""
    homes: dict[str, list[str]] = {}
    for level in labels.levels:
        spellings: dict[str, list[str]] = {}
        for name in level.label_names:
            spellings.setdefault(_spelling(name), []).append(name)
            homes.setdefault(name, []).append(level.name)
        numbers = [name for name in level.label_names if name.strip().isdecimal()]
        what = f"{{}} of {len(level):,} labels of level {level.name} {{is a bare number|are bare numbers}}."
        mend = "Text encoders need words: name {it|them} in the data, or with `hlcli embed labels --names FILE`."
        yield from finding_on(numbers, "warning", "hierarchy", what, mend)
        same = [" / ".join(names) for names in spellings.values() if len(names) > 1]
        what = f"{{}} {{label|labels}} of level {level.name} {{is|are}} spelt in several ways, each a label of its own."
        yield from finding_on(same, "warning", "hierarchy", what, "Give {it|them} one spelling, or clearer names.")
    repeated = [f"{name} ({', '.join(levels)})" for name, levels in homes.items() if len(levels) > 1]
    mend = "Right where a name is repeated to fill a level; else rename one of them."
    yield from finding_on(repeated, "note", "hierarchy", "{} {name stands|names stand} on several levels.", mend)


def _spelling(name: str) -> str:
    """What names have in common that people read as the same: no case, no doubled spaces, no zero-width characters."""
    seen = "".join(letter for letter in unicodedata.normalize("NFC", name) if unicodedata.category(letter) != "Cf")
    return " ".join(seen.casefold().replace("_", " ").split())
