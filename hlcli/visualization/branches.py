"""A part of the label tree: the labels somebody names, with everything above and below them."""

from __future__ import annotations

from collections.abc import Sequence

from hlcli.data.labels import LabelSpace
from hlcli.errors import InputError, nearest

Branches = tuple[tuple[int, ...], ...]


def find_branches(labels: LabelSpace, names: Sequence[str]) -> Branches:
    """Indices per level (coarse → fine) of the named labels, their ancestors and their descendants.

    Raises:
        InputError: for a name that is on no level.
    """
    known = {name for level in labels.levels for name in level.label_names}
    unknown = [name for name in names if name not in known]
    if unknown:
        near = nearest(unknown[0], known)
        raise InputError(
            f"There is no label {unknown[0]!r}.",
            f"Did you mean {near[0]!r}?" if near else "`hlcli visualize labels MODEL` shows all labels.",
        )
    wanted = [{i for i, name in enumerate(level.label_names) if name in names} for level in labels.levels]
    below, above = [set(level) for level in wanted], [set(level) for level in wanted]
    for depth, parents in enumerate(labels.parents, start=1):
        below[depth] |= {child for child, parent in enumerate(parents) if parent in below[depth - 1]}
    for depth in range(len(labels.parents), 0, -1):
        above[depth - 1] |= {labels.parents[depth - 1][child] for child in above[depth]}
    return tuple(tuple(sorted(down | up)) for down, up in zip(below, above, strict=True))


def keep_branches(labels: LabelSpace, branches: Branches) -> LabelSpace:
    """A label space of those labels only."""
    names = [[level.label_names[i] for i in kept] for level, kept in zip(labels.levels, branches, strict=True)]
    parents = [
        [above.index(parent_index[i]) for i in kept]
        for parent_index, above, kept in zip(labels.parents, branches, branches[1:], strict=False)
    ]
    return LabelSpace.from_parents(names, parents)
