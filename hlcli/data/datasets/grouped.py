"""Data sets whose labels have published groups above them, which a recipe may use as a coarse level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from hlcli.data.labels import LabelSpace
from hlcli.errors import DataError
from hlcli.sections import DataSection


class GroupedData(DataSection):
    """A data set with a flat list of labels and groups of them; one store serves recipes with and without groups.

    A set with more than one grouping has the others by name in `groupings`, and a field `hierarchy` that takes these
    names too.
    """

    label_names: ClassVar[tuple[str, ...]]
    groups: ClassVar[Mapping[str, tuple[str, ...]]]  # every label in exactly one of them
    groupings: ClassVar[Mapping[str, Mapping[str, tuple[str, ...]]]] = {}

    hierarchy: bool = Field(False, description="Put the published groups of labels above them, as a coarse level.")

    def label_space(self) -> LabelSpace:
        """The labels alone, or with their groups as a coarse level."""
        if not self.hierarchy:
            return LabelSpace.flat(self.label_names)
        groups = self.groupings.get(str(self.hierarchy), self.groups)
        group_of = {label: index for index, members in enumerate(groups.values()) for label in members}
        parents = [group_of[name] for name in self.label_names]
        return LabelSpace.from_parents([tuple(groups), self.label_names], [parents])

    def chosen_labels(self, stored: LabelSpace) -> LabelSpace:
        """The label space of this section, whether or not the store was written with groups.

        Raises:
            DataError: when the store has other labels.
        """
        if stored.label_names != self.label_names:
            raise DataError(
                f"The store of {self.name} has {stored.num_labels} labels that are not the {len(self.label_names)} of "
                "the data set.",
                f"Run `hlcli preprocess {self.name} --overwrite`.",
            )
        return self.label_space()
