"""Which labels are drawn together in a heat map: a map of all labels of a data set could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hlcli.data.labels import LabelSpace

MOST_FREQUENT = 12
LABELS_PER_GROUP = 4
"""Parents of fewer labels on average are passed over for those above them."""

COCO_SIZE = 80
# The four groups that SALGL's program draws, and how it shortens long names.
COCO_GROUPS = {
    "street": ("bicycle", "car", "motorcycle", "bus", "person", "train", "truck", "traffic light", "stop sign",
               "parking meter"),
    "animals": ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    "indoor": ("couch", "potted plant", "bed", "dining table", "person", "chair", "tv", "laptop", "mouse", "keyboard"),
    "table": ("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich"),
}  # fmt: skip
COCO_TICKS = {
    "motorcycle": "mcycle",
    "traffic light": "tlight",
    "stop sign": "ssign",
    "potted plant": "pplant",
    "dining table": "dtable",
    "keyboard": "kboard",
    "parking meter": "pmeter",
}


class Group(NamedTuple):
    """Fine labels that are drawn together, in this order."""

    name: str
    labels: tuple[int, ...]


def label_groups(labels: LabelSpace, seen: np.ndarray, chosen: Sequence[int] = ()) -> list[Group]:
    """Groups for the heat maps of a scene: chosen labels, or COCO's four, or those of parents, or the most frequent.

    Args:
        labels: the label space.
        seen: how often each label was seen in the scene, [L].
        chosen: indices of labels, for a single group.
    """
    if chosen:
        return [Group("chosen", tuple(chosen))]
    if _is_coco(labels):
        places = {name: index for index, name in enumerate(labels.label_names)}
        return [Group(name, tuple(places[label] for label in members)) for name, members in COCO_GROUPS.items()]
    return _parent_groups(labels) or [Group("frequent", most_frequent(seen))]


def _is_coco(labels: LabelSpace) -> bool:
    """Whether the fine labels are COCO's, in whatever order."""
    names = {name for members in COCO_GROUPS.values() for name in members}
    return labels.num_labels == COCO_SIZE and names <= set(labels.label_names)


def tick_names(labels: LabelSpace) -> list[str]:
    """Names of the fine labels for the sides of a heat map."""
    short = COCO_TICKS if _is_coco(labels) else {}
    return [short.get(name, name) for name in labels.label_names]


def _parent_groups(labels: LabelSpace) -> list[Group]:
    """The labels below each parent, if there are at least two: of the lowest level whose parents have a few labels."""
    above = range(len(labels.levels) - 2, -1, -1)
    depth = next((i for i in above if labels.num_labels >= LABELS_PER_GROUP * len(labels.levels[i])), 0)
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
    order = np.argsort(-seen[allowed], kind="stable")[:MOST_FREQUENT]
    return tuple(allowed[i] for i in order)


def typical_labels(seen: np.ndarray) -> list[tuple[int, ...]]:
    """Per scene the labels that it has seen, largest share of the label's images first; of equal ones the frequent.

    Args:
        seen: [S, L].
    """
    shares = seen / np.maximum(seen.sum(axis=0), np.finfo(np.float64).tiny)  # [S, L]
    orders = [np.lexsort((-row, -share)).tolist() for row, share in zip(seen, shares, strict=True)]
    return [tuple(i for i in order if row[i] > 0) for order, row in zip(orders, seen, strict=True)]
