"""Metrics and decoding that know the label tree. Pure functions of NumPy arrays.

Levels are lists of arrays [N, L_level], coarse → fine. `parents` holds the parent index of every level but the top
one: `parents[d][j]` is the parent, on level d, of label j on level d + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hlcli.metrics.arguments import Flags, Floats, as_flags, as_scores
from hlcli.metrics.multilabel import harmonic_mean

_Parents = Sequence[Sequence[int]]


class _HierarchicalF1(NamedTuple):
    """Hierarchical precision and recall, and their F1."""

    precision: float
    recall: float
    F1: float


def hierarchical_f1(
    level_predictions: Sequence[ArrayLike], level_targets: Sequence[ArrayLike], parents: _Parents
) -> _HierarchicalF1:
    """Pooled precision, recall and F1 of label sets to which all ancestors are added (Kiritchenko et al.; Silla).

    A wrong label under the right parent is half a success; a wrong branch counts on every level.

    Args:
        level_predictions: coarse → fine, [N, L_level], 0 or 1.
        level_targets: the same shapes.
        parents: parent indices of every level but the top one.
    """
    predicted = with_ancestors(_as_levels(level_predictions, "level_predictions", parents), parents)
    actual = with_ancestors(_as_levels(level_targets, "level_targets", parents), parents)
    if [level.shape for level in predicted] != [level.shape for level in actual]:
        raise ValueError(
            "Expected arguments `level_predictions` and `level_targets` to have the same shapes, but got "
            f"{[level.shape for level in predicted]} and {[level.shape for level in actual]}"
        )
    hits = sum(np.count_nonzero(p & a) for p, a in zip(predicted, actual, strict=True))
    precision = hits / max(1, sum(np.count_nonzero(level) for level in predicted))
    recall = hits / max(1, sum(np.count_nonzero(level) for level in actual))
    return _HierarchicalF1(precision, recall, harmonic_mean(precision, recall))


def orphan_share(level_predictions: Sequence[ArrayLike], parents: _Parents) -> float:
    """Share of the predicted labels below the top level whose parent is not predicted; 0 when there are none."""
    levels = _as_levels(level_predictions, "level_predictions", parents)
    orphans = children = 0
    for above, level, index in zip(levels, levels[1:], parents, strict=False):
        children += int(np.count_nonzero(level))
        orphans += int(np.count_nonzero(level & ~above[:, index]))
    return orphans / max(1, children)


def with_ancestors(level_flags: Sequence[Flags], parents: _Parents) -> list[Flags]:
    """The label sets [N, L_level], coarse → fine, with the ancestors of every label in them."""
    extended = [level_flags[-1]]
    for level, index in zip(reversed(level_flags[:-1]), reversed(parents), strict=True):
        extended.append(level | _highest_child(extended[-1], index))
    return extended[::-1]


def consistent_scores(level_scores: Sequence[ArrayLike], parents: _Parents) -> list[Floats]:
    """Scores [N, L_level], coarse → fine, in which no label is above its parent: children are lowered, top down."""
    levels = [as_scores(level, f"level_scores[{depth}]") for depth, level in enumerate(level_scores)]
    _check_tree([level.shape for level in levels], parents)
    capped = levels[:1]
    for level, index in zip(levels[1:], parents, strict=True):
        capped.append(np.minimum(level, capped[-1][:, index]))
    return capped


def lift_scores(fine_scores: ArrayLike, parents: _Parents) -> list[Floats]:
    """Scores of all levels, coarse → fine, from the finest alone: a parent scores as its best child."""
    return _lift(as_scores(fine_scores, "fine_scores"), parents)


def lift_targets(fine_targets: ArrayLike, parents: _Parents) -> list[Flags]:
    """Targets of all levels, coarse → fine, from the finest alone: a parent is true when a child is."""
    return _lift(as_flags(fine_targets, "fine_targets"), parents)


def lift_ignored(fine_targets: ArrayLike, fine_ignore: ArrayLike, parents: _Parents) -> list[Flags]:
    """Ignored labels of all levels, coarse → fine.

    Nothing is known of a parent when one of its children is ignored and none is on.
    """
    ignore = as_flags(fine_ignore, "fine_ignore")
    known = lift_targets(as_flags(fine_targets, "fine_targets") & ~ignore, parents)
    return [level & ~on for level, on in zip(_lift(ignore, parents), known, strict=True)]


def _lift(fine: NDArray, parents: _Parents) -> list[NDArray]:
    sizes = [max(index, default=-1) + 1 for index in parents] + [fine.shape[1]]
    _check_tree([(len(fine), size) for size in sizes], parents)
    levels = [fine]
    for index in reversed(parents):
        levels.append(_highest_child(levels[-1], index))
    return levels[::-1]


def _highest_child(level: NDArray, parent_index: Sequence[int]) -> NDArray:
    """Maximum over the children of each parent: [N, L_child] → [N, L_parent]."""
    index = np.asarray(parent_index)
    by_parent = np.argsort(index, kind="stable")  # children of one parent side by side
    firsts = np.searchsorted(index[by_parent], np.arange(index.max() + 1))
    return np.maximum.reduceat(level[:, by_parent], firsts, axis=1)


def _as_levels(level_flags: Sequence[ArrayLike], name: str, parents: _Parents) -> list[Flags]:
    levels = [as_flags(level, f"{name}[{depth}]") for depth, level in enumerate(level_flags)]
    _check_tree([level.shape for level in levels], parents)
    return levels


def _check_tree(shapes: Sequence[tuple[int, ...]], parents: _Parents) -> None:
    """Refuse levels that do not fit the tree: every label needs a parent, every parent a child."""
    if len(shapes) != len(parents) + 1:
        raise ValueError(f"Expected argument `parents` to hold {len(shapes) - 1} lists, but got {len(parents)}")
    if len({rows for rows, _ in shapes}) != 1:
        raise ValueError(f"Expected all levels to have the same number of images, but got {[s[0] for s in shapes]}")
    for depth, index in enumerate(parents):
        above, below = shapes[depth][1], shapes[depth + 1][1]
        if len(index) != below:
            raise ValueError(f"Expected `parents[{depth}]` to hold {below} indices, but got {len(index)}")
        if set(index) != set(range(above)):
            raise ValueError(f"Expected `parents[{depth}]` to use every index in 0..{above - 1}, but got {list(index)}")
