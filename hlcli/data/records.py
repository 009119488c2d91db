"""One item of a data set, before anything is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

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


class Selection(Sequence[Record]):
    """Some rows of a split, in the order given."""

    def __init__(self, records: Records, rows: Sequence[int]) -> None:
        self.records, self.rows = records, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Record:  # type: ignore[override]
        return self.records[self.rows[row]]


@runtime_checkable
class Columns(Protocol):
    """A split that gives what is known of all its rows at once, without touching an image."""

    def image_ids(self) -> Sequence[str]:
        """Ids of all rows."""

    def labels(self) -> Sequence[Sequence[int]]:
        """Labels of all rows."""

    def captions(self) -> Sequence[Sequence[str]]:
        """Captions of all rows."""

    def image_paths(self) -> Sequence[Path | None]:
        """Files of the images of all rows, None for an image that is no file."""
