"""The label space: names, levels and parents of labels; the one source of label order."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hlcli.errors import DataError

_LEVEL_NAMES = {1: ("fine",), 2: ("coarse", "fine"), 3: ("coarse", "middle", "fine")}


@dataclass(frozen=True)
class Level:
    """One level of the tree.

    Args:
        name: `coarse`, `middle`, `fine`, or `level1`… in deeper trees.
        label_names: names in index order, unique within the level.
        parent_index: for each label the index of its parent on the level above; None on the top level.
    """

    name: str
    label_names: tuple[str, ...]
    parent_index: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.label_names)


@dataclass(frozen=True)
class LabelSpace:
    """All labels of a data set, on one level or in a tree of levels ordered coarse → fine.

    Args:
        levels: coarse → fine; models are trained on the finest and on every level above it. There are none in
            `LabelSpace.empty()` alone, for data sets of captions.
        subsets: named subsets of fine labels for reports, e.g. `{"easy": (0, 7, 19)}`.

    Raises:
        DataError: when names repeat or are none, or when a label has no parent or a parent no label.

    Examples:
        >>> space = LabelSpace.from_tree({"animals": ["cat", "dog"], "food": ["apple"]})
        >>> space.label_names
        ('cat', 'dog', 'apple')
        >>> space.level_sizes
        (2, 3)
        >>> [level.name for level in space.levels]
        ['coarse', 'fine']
        >>> space.ancestors(2)  # of apple: food
        (1,)
    """

    levels: tuple[Level, ...]
    subsets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.levels or any(len(level) == 0 for level in self.levels):
            raise DataError("A label space needs at least one label on every level.")
        for depth, level in enumerate(self.levels):
            odd = [name for name in level.label_names if not _is_name(name)]
            if odd:
                raise DataError(f"Level {level.name}: {odd[0]!r} is no name of a label: it must be text, in one line.")
            repeated = sorted(name for name, count in Counter(level.label_names).items() if count > 1)
            if repeated:
                raise DataError(f"Level {level.name}: label {repeated[0]!r} is listed more than once.")
            if (level.parent_index is None) != (depth == 0):
                raise DataError(f"Level {level.name}: every level but the top one needs parents.")
            if depth and level.parent_index is not None:
                self._check_parents(level, self.levels[depth - 1])
        for name, members in self.subsets.items():
            if any(not 0 <= index < self.num_labels for index in members):
                raise DataError(f"Subset {name!r} names a label outside 0..{self.num_labels - 1}.")

    @staticmethod
    def _check_parents(level: Level, above: Level) -> None:
        parents = level.parent_index or ()
        if len(parents) != len(level):
            raise DataError(f"Level {level.name}: {len(level)} labels but {len(parents)} parents.")
        outside = [p for p in parents if not 0 <= p < len(above)]
        if outside:
            raise DataError(f"Level {level.name}: parent {outside[0]} is not on level {above.name}.")
        childless = sorted(set(range(len(above))) - set(parents))
        if childless:
            raise DataError(f"Level {above.name}: {above.label_names[childless[0]]!r} has no label below it.")

    @property
    def has_labels(self) -> bool:
        """Whether there is any label; a data set of captions has none."""
        return bool(self.levels)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the finest level, in target order."""
        return self.levels[-1].label_names if self.levels else ()

    @property
    def num_labels(self) -> int:
        """Number of labels on the finest level, L."""
        return len(self.label_names)

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Number of labels per level, coarse → fine."""
        return tuple(len(level) for level in self.levels)

    @property
    def parents(self) -> tuple[tuple[int, ...], ...]:
        """Parent index of every label, for each level below the top one, coarse → fine."""
        return tuple(level.parent_index for level in self.levels if level.parent_index is not None)

    @classmethod
    def empty(cls) -> LabelSpace:
        """The label space of a data set that has captions and no label."""
        space = object.__new__(cls)  # the one way around the check that there are labels
        object.__setattr__(space, "levels", ())
        object.__setattr__(space, "subsets", {})
        return space

    def require_labels(self, name: str) -> LabelSpace:
        """This label space, for work that cannot be done without labels.

        Args:
            name: the data set, for the message.

        Raises:
            DataError: when there is no label.
        """
        if not self.has_labels:
            raise DataError(
                f"There are no labels in {name}, only captions.",
                "Take a data set that has labels; methods that learn from captions are trained on this one.",
            )
        return self

    @classmethod
    def flat(cls, label_names: Sequence[str]) -> LabelSpace:
        """A label space of one level.

        Examples:
            >>> LabelSpace.flat(["cat", "dog"]).num_labels
            2
        """
        return cls((Level("fine", tuple(label_names)),))

    @classmethod
    def from_parents(
        cls,
        names: Sequence[Sequence[str]],
        parents: Sequence[Sequence[int]],
        subsets: Mapping[str, Sequence[int]] | None = None,
    ) -> LabelSpace:
        """Build from names per level (coarse → fine) and the parent index of every level but the first."""
        titles = level_titles(len(names))
        indices: list[tuple[int, ...] | None] = [None, *(tuple(int(p) for p in row) for row in parents)]
        if len(indices) != len(names):
            raise DataError(f"{len(names)} levels need {len(names) - 1} lists of parents, got {len(parents)}.")
        levels = tuple(
            Level(title, tuple(row), index) for title, row, index in zip(titles, names, indices, strict=True)
        )
        return cls(levels, {name: tuple(members) for name, members in (subsets or {}).items()})

    @classmethod
    def from_tree(cls, tree: Any) -> LabelSpace:
        """Build from nested mappings that end in lists of fine label names.

        Raises:
            DataError: when branches differ in depth or a leaf is not a name.
        """
        names: list[list[str]] = []
        parents: list[list[int]] = []
        _read_branch(tree, 0, None, names, parents)
        return cls.from_parents(names, parents[1:])

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready form, read back by `from_json`."""
        return {
            "levels": [
                {
                    "name": level.name,
                    "label_names": list(level.label_names),
                    "parent_index": None if level.parent_index is None else list(level.parent_index),
                }
                for level in self.levels
            ],
            "subsets": {name: list(members) for name, members in self.subsets.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LabelSpace:
        """Read what `to_json` wrote.

        Raises:
            DataError: when a key is missing or has the wrong type.
        """
        if value == cls.empty().to_json():
            return cls.empty()
        try:
            levels = tuple(
                Level(
                    row["name"],
                    tuple(_listed(row["label_names"], str)),
                    None if row["parent_index"] is None else tuple(_listed(row["parent_index"], int)),
                )
                for row in value["levels"]
            )
            subsets = {name: tuple(_listed(members, int)) for name, members in value.get("subsets", {}).items()}
            titles = [level.name for level in levels]
            if len(set(_listed(titles, str))) < len(titles):
                raise ValueError(f"levels {titles} are not called by different names")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"The label space cannot be read: {error!r}.") from error
        return cls(levels, subsets)

    def ancestors(self, label: int) -> tuple[int, ...]:
        """Index of a fine label's ancestor on every level above, coarse → fine."""
        path: list[int] = []
        for level in reversed(self.levels[1:]):
            assert level.parent_index is not None
            label = level.parent_index[label]
            path.append(label)
        return tuple(reversed(path))


def refuse_other_labels(
    first: LabelSpace, other: LabelSpace, first_name: str, other_name: str, hint: str | None = None
) -> None:
    """Refuse label spaces that differ; names are what the message calls them, as `the model`.

    Raises:
        DataError: naming the first label that differs.
    """
    if first.levels == other.levels:
        return
    for own, theirs in zip(first.levels, other.levels, strict=False):
        for index, (name, foreign) in enumerate(zip(own.label_names, theirs.label_names, strict=False)):
            if name != foreign:
                raise DataError(
                    f"Label {index} of level {own.name} is {name!r} in {first_name} but {foreign!r} in {other_name}.",
                    hint,
                )
    sizes = f"{first.level_sizes} in {first_name} but {other.level_sizes} in {other_name}"
    raise DataError(f"Labels per level are {sizes}, or their parents are others.", hint)


def _is_name(name: object) -> bool:
    """Whether it is text that a line of a file can hold."""
    is_text = isinstance(name, str) and bool(name.strip())
    return is_text and (
        str(name).isprintable() or not {*map(unicodedata.category, str(name))} & {"Cc", "Cs", "Zl", "Zp"}
    )


def _listed(values: Any, kind: type) -> list[Any]:
    """A list of values of one type.

    Raises:
        TypeError: when it is something else.
    """
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise TypeError(f"a list of {kind.__name__} was expected, got {values!r:.80}")
    return values


def level_titles(depth: int) -> tuple[str, ...]:
    """Names of the levels of a tree with that many levels, coarse → fine."""
    return _LEVEL_NAMES.get(depth) or (*(f"level{i + 1}" for i in range(depth - 1)), "fine")


def _read_branch(node: Any, depth: int, parent: int | None, names: list[list[str]], parents: list[list[int]]) -> None:
    """Append the labels of one branch, depth first, to the lists of their levels."""
    if not isinstance(node, Mapping | list) or not node:
        raise DataError(
            f"The hierarchy ends in {node!r} where a list of label names was expected.",
            "Write parents above parents, ending in lists: `animals: {pets: [cat, dog]}`.",
        )
    if len(names) == depth:
        names.append([])
        parents.append([])
    for entry in node:
        if not isinstance(entry, str):  # numbers lose their zeros on the way: 007, 1.10
            raise DataError(
                f"The hierarchy has {entry!r} where a label name was expected.", "Put it in quotes if it is one."
            )
        names[depth].append(entry)
        if parent is not None:
            parents[depth].append(parent)
        if isinstance(node, Mapping):
            _read_branch(node[entry], depth + 1, len(names[depth]) - 1, names, parents)
    if isinstance(node, list) and depth + 1 != len(names):
        raise DataError(
            f"The hierarchy is deeper in one branch than at {names[depth][-1]!r}.",
            "Every label needs the same number of levels above it; repeat a name to fill a level.",
        )
    if isinstance(node, Mapping) and depth + 1 == len(names):
        raise DataError("The hierarchy has a parent without labels.")
