"""Which labels are drawn together in a heat map: a map of all labels of a data set could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from hlcli.data.labels import LabelSpace

_MOST_FREQUENT = 12
_LABELS_PER_GROUP = 4
"""Parents of fewer labels on average are passed over for those above them."""


class Group(NamedTuple):
    """Fine labels that are drawn together, in this order."""

    name: str
    labels: tuple[int, ...]


def label_groups(
    labels: LabelSpace,
    seen: np.ndarray,
    chosen: Sequence[int] = (),
    together: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Group]:
    """Groups for the heat maps of a scene: chosen labels, or the data set's, or those of parents, or the most frequent.

    Args:
        labels: the label space.
        seen: how often each label was seen in the scene, [L].
        chosen: indices of labels, for a single group.
        together: names of labels that belong together in the data set; groups with names it has not are left out.
    """
    if chosen:
        return [Group("chosen", tuple(chosen))]
    places = {name: index for index, name in enumerate(labels.label_names)}
    known = {name: members for name, members in together.items() if places.keys() >= set(members)}
    if known:
        return [Group(name, tuple(places[label] for label in members)) for name, members in known.items()]
    return _parent_groups(labels) or [Group("frequent", most_frequent(seen))]


def tick_names(labels: LabelSpace, short: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Names of the fine labels for the sides of a heat map, long ones as `short` has them."""
    return [short.get(name, name) for name in labels.label_names]


def _parent_groups(labels: LabelSpace) -> list[Group]:
    """The labels below each parent, if there are at least two: of the lowest level whose parents have a few labels."""
    above = range(len(labels.levels) - 2, -1, -1)
    depth = next((i for i in above if labels.num_labels >= _LABELS_PER_GROUP * len(labels.levels[i])), 0)
    if len(labels.levels) == 1:
        return []
    members: list[list[int]] = [[] for _ in labels.levels[depth].label_names]
    for label in range(labels.num_labels):
        members[labels.ancestors(label)[depth]].append(label)
    named = zip(labels.levels[depth].label_names, members, strict=True)
    return [Group(name, tuple(below)) for name, below in named if len(below) > 1]


def most_frequent(seen: np.ndarray, among: Sequence[int] = ()) -> tuple[int, ...]:
    """The labels that were seen most, at most twelve, most frequent first; those never seen come last."""
    allowed = list(among) or list(range(len(seen)))
    order = np.argsort(-seen[allowed], kind="stable")[:_MOST_FREQUENT]
    return tuple(allowed[i] for i in order)


def typical_labels(seen: np.ndarray) -> list[tuple[int, ...]]:
    """Per scene the labels that it has seen, largest share of the label's images first; of equal ones the frequent.

    Args:
        seen: [S, L].
    """
    shares = seen / np.maximum(seen.sum(axis=0), np.finfo(np.float64).tiny)  # [S, L]
    orders = [np.lexsort((-row, -share)).tolist() for row, share in zip(seen, shares, strict=True)]
    return [tuple(i for i in order if row[i] > 0) for order, row in zip(orders, seen, strict=True)]
