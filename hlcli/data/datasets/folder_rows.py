"""Rows of a label file, and the records that they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hlcli.data.records import Record


class FolderRow(NamedTuple):
    """One line of the label file."""

    line: int
    image: str
    labels: tuple[str, ...]
    split: str
    captions: tuple[str, ...]


class FolderRecords(Sequence[Record]):
    """Records of rows, made when they are asked for: a million of them would hold as much memory as the rows again.

    Args:
        rows: lines of the label file.
        images: the folder of images.
        label_index: the place of every label, by its name.
    """

    def __init__(self, rows: Sequence[FolderRow], images: Path, label_index: Mapping[str, int]) -> None:
        self.rows, self.images, self.label_index = rows, images, label_index

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Record:  # type: ignore[override]
        row = self.rows[number]
        return Record(row.image, self.images / row.image, self._indices(row), captions=row.captions)

    def _indices(self, row: FolderRow) -> tuple[int, ...]:
        return tuple(sorted(self.label_index[name] for name in set(row.labels)))

    def image_ids(self) -> list[str]:
        """Names of all images, as they are written."""
        return [row.image for row in self.rows]

    def labels(self) -> list[tuple[int, ...]]:
        """Labels of all images."""
        return [*map(self._indices, self.rows)]

    def captions(self) -> list[tuple[str, ...]]:
        """Captions of all images."""
        return [row.captions for row in self.rows]

    def image_paths(self) -> list[Path | None]:
        """Files of all images."""
        return [self.images / row.image for row in self.rows]
