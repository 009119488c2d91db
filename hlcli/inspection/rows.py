"""The splits of a data set as an inspection reads them: everything about their images but the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hlcli.data.datasets.folder import Folder
from hlcli.data.kept_labels import KeptLabels, open_training_records
from hlcli.data.records import Columns, Records, Selection
from hlcli.data.store import open_records, split_captions, split_files, split_labels, split_names
from hlcli.errors import DataError
from hlcli.inspection.findings import Finding
from hlcli.sections import DataSection


class SplitRows(NamedTuple):
    """A split, row by row.

    Args:
        split: its name.
        records: gives the images.
        image_ids: their ids.
        labels: their fine labels; of `train` those that the settings leave.
        captions: how many with a word there are of each image.
        files: the images' files as text, None for images that are no file.
    """

    split: str
    records: Records
    image_ids: list[str]
    labels: list[tuple[int, ...]]
    captions: list[int]
    files: list[str | None]

    def name(self, row: int) -> str:
        """`train a.jpg`: how findings call an image."""
        return f"{self.split} {self.image_ids[row]}"


def read_splits(data: DataSection) -> tuple[list[SplitRows], list[Finding]]:
    """All splits that can be read, and why others cannot; a folder's images need not be there.

    Raises:
        DataError: when the data set is not there, or none of its splits can be read.
    """
    splits, findings = [], []
    refusal = DataError(f"{data.name} has no split.", "Set its keys that name the splits (data.train_split, …).")
    listed = data.as_listed() if isinstance(data, Folder) and data.store is None else data
    for split in split_names(listed):
        try:
            splits.append(_read_split(listed, split))
        except DataError as error:
            what = f"Split {split} cannot be read: {error.message}"
            findings.append(Finding("error", "files", what, (), error.hint or "", (split,)))
            refusal = error
    if not splits:
        raise refusal
    return splits, findings


def _read_split(data: DataSection, split: str) -> SplitRows:
    return read_rows(split, open_training_records(data) if split == "train" else open_records(data, split))


def read_rows(split: str, records: Records) -> SplitRows:
    """A split that is open: column by column where there are columns; else every record is made once."""
    if isinstance(records, KeptLabels):
        whole = read_rows(split, Selection(records.records, records.rows))
        return whole._replace(records=records, labels=list(records.kept))
    if _has_columns(records):
        ids, labels = zip(*split_labels(records), strict=True)
        captions = list(map(_count_told, split_captions(records)))
        files = [None if path is None else str(path) for _, path in split_files(records)]
        return SplitRows(split, records, list(ids), list(labels), captions, files)
    rows = SplitRows(split, records, [], [], [], [])
    for record in records:
        rows.image_ids.append(record.image_id)
        rows.labels.append(record.labels)
        rows.captions.append(_count_told(record.captions))
        rows.files.append(str(record.image) if hasattr(record.image, "is_file") else None)
    return rows


def _count_told(captions: Sequence[str]) -> int:
    """Captions that say something: `...` does not."""
    return sum(any(map(str.isalnum, caption)) for caption in captions)


def _has_columns(records: Records) -> bool:
    while isinstance(records, Selection):
        records = records.records
    return isinstance(records, Columns)
