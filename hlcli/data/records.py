"""One item of a data set, before anything is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image


class Drawable(Protocol):
    """An image that is drawn when it is needed."""

    def draw(self) -> Image:
        """Draw the image, RGB."""


ImageSource = bytes | Path | Drawable


@dataclass(frozen=True, slots=True)
class Record:
    """One image with its labels and captions.

    Args:
        image_id: unique within the data set.
        image: encoded bytes, a file, or something that draws itself.
        labels: indices of its fine labels, ascending.
        ignore: indices of fine labels left out of training and scores.
        captions: true sentences for the image.
        object_mask: share of each cell of a square grid that belongs to an object, row by row
            (only used by the localisation loss).
    """

    image_id: str
    image: ImageSource
    labels: tuple[int, ...] = ()
    ignore: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    object_mask: tuple[float, ...] = ()

    def with_labels(self, labels: tuple[int, ...]) -> Record:
        """The record with other labels; a label that it has is not ignored."""
        return replace(self, labels=labels, ignore=tuple(label for label in self.ignore if label not in labels))


Records = Sequence[Record]
"""A split: random access, records made when they are asked for."""
