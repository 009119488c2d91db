"""What every `objective` section of a recipe offers. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from hlcli.sections import Section

if TYPE_CHECKING:
    from hlcli.losses.base import Loss


class LossSection(Section):
    """A multi-label loss with its numbers; a subclass says `make`, or `build` where the data's size matters."""

    task: ClassVar[Literal["labels", "captions"]] = "labels"

    def build(self, num_images: int = 0, num_labels: int = 0) -> Loss:
        """The loss of a training.

        Args:
            num_images: images of the training split, for a loss that remembers something of each.
            num_labels: their fine labels.
        """
        return self.make()

    def make(self) -> Loss:
        """The loss for any data."""
        raise NotImplementedError
