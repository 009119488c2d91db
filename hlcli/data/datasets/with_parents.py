"""Data sets whose labels have published parents above them, which a recipe may use as a coarse level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from hlcli.data.labels import LabelSpace
from hlcli.errors import DataError
from hlcli.sections import DataSection


class DataWithParents(DataSection):
    """A data set with a flat list of labels and parents of them; one store serves recipes with and without parents.

    A set with more than one choice of parents has the others by name in `other_parents`, and a field `hierarchy` that
    takes these names too.
    """

    label_names: ClassVar[tuple[str, ...]]
    parents: ClassVar[Mapping[str, tuple[str, ...]]]  # every label in exactly one of them
    other_parents: ClassVar[Mapping[str, Mapping[str, tuple[str, ...]]]] = {}

    hierarchy: bool = Field(False, description="Put the published parents above the labels, as a coarse level.")

    def label_space(self) -> LabelSpace:
        """The labels alone, or with their parents as a coarse level."""
        if not self.hierarchy:
            return LabelSpace.flat(self.label_names)
        parents = self.other_parents.get(str(self.hierarchy), self.parents)
        parent_of = {label: index for index, children in enumerate(parents.values()) for label in children}
        parent_index = [parent_of[name] for name in self.label_names]
        return LabelSpace.from_parents([tuple(parents), self.label_names], [parent_index])

    def chosen_labels(self, stored: LabelSpace) -> LabelSpace:
        """The label space of this section, whether or not the store was written with parents.

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
