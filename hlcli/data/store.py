"""Reading the prepared data set on disk: a Hugging Face `datasets` folder per split, `labels.json`, `meta.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hlcli.data.labels import LabelSpace
from hlcli.data.records import Columns, Record, Records, Selection
from hlcli.data.remote_store import local_store, refuse_absent_images
from hlcli.errors import DataError
from hlcli.files import recover_folder
from hlcli.json_text import read_json
from hlcli.sections import DataSection

STORE_VERSION = 1
_AGAIN = "Run `hlcli preprocess` again."
_COLUMNS = {"image_id", "image", "labels", "ignore", "captions", "object_mask"}


class StoreSplit(Sequence[Record]):
    """One split of a store; rows are read from the memory-mapped file when they are asked for.

    Raises:
        DataError: when the folder is not a split of a store.
    """

    def __init__(self, folder: Path, image_root: Path) -> None:
        self.folder, self.image_root = folder, image_root
        import datasets

        try:
            self.table = datasets.load_from_disk(str(folder)).with_format(None)
        except (OSError, ValueError, TypeError, LookupError, RuntimeError, AttributeError) as error:
            raise DataError(f"{folder} cannot be read: {error}", _AGAIN) from error
        if missing := _COLUMNS - set(self.table.column_names):
            raise DataError(f"{folder} is no split of a store: it has no column {min(missing)}.", _AGAIN)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Record:  # type: ignore[override]
        value = self.table[row]
        image = value["image"]
        source = image["bytes"] if image["bytes"] is not None else self.image_root / image["path"]
        return Record(
            value["image_id"],
            source,
            tuple(value["labels"]),
            tuple(value["ignore"]),
            tuple(value["captions"]),
            tuple(value["object_mask"]),
        )

    def image_ids(self) -> list[str]:
        """Ids of all rows, without touching an image."""
        return self.table["image_id"][:]

    def labels(self) -> list[list[int]]:
        """Labels of all rows, without touching an image."""
        return self.table["labels"][:]

    def captions(self) -> list[list[str]]:
        """Captions of all rows, without touching an image."""
        return self.table["captions"][:]

    def image_paths(self) -> list[Path | None]:
        """Files of the images of all rows, None where the store holds an image itself, whose bytes are not read."""
        import pyarrow.compute

        paths = pyarrow.compute.struct_field(self.table.with_format("arrow")["image"][:], "path").to_pylist()
        return [None if path is None else self.image_root / path for path in paths]


def store_folder(data: DataSection) -> Path:
    """Where a data set's store is; one that shares another's folder has its name in it.

    Raises:
        DataError: when `data.store` is an address where there is no store.
    """
    if data.store is not None:
        return data.store if isinstance(data.store, Path) else local_store(data.store)
    folder = data.folder()
    return folder / ("store" if folder.name == data.name else f"store-{data.name}")


def open_label_space(data: DataSection) -> LabelSpace:
    """The labels of a data set: the store's where one is read, else the data set's own."""
    if data.store is None and data.reads_directly:
        return data.label_space()
    path = store_folder(data) / "labels.json"
    with faults_of_copy(data):
        value = _read_json(path, data)
        try:
            stored = LabelSpace.from_json(value)
        except DataError as error:
            raise DataError(f"{path}: {error.message}", "Run `hlcli preprocess` again, with --overwrite.") from error
    return data.chosen_labels(stored)


def open_records(data: DataSection, split: str) -> Records:
    """A split of a data set, ready for a loader.

    Raises:
        DataError: when the store or the split does not exist, naming the command that makes it.
    """
    if data.store is None and data.reads_directly:
        records = data.records(split)
    else:
        folder = store_folder(data)
        with faults_of_copy(data):
            meta = _read_meta(folder, data)
        if split not in meta["splits"]:
            has = meta["splits"]
            raise DataError(f"{folder} has no split {split!r}; it has {', '.join(has)}.", _split_hint(has))
        with faults_of_copy(data):
            records = StoreSplit(folder / split, folder / meta["image_root"])
        if isinstance(data.store, str):
            refuse_absent_images(records, data.store)
    if data.skip:
        left_out = set(data.skip)
        ids = records.image_ids() if isinstance(records, Columns) else [record.image_id for record in records]
        kept = [row for row, image_id in enumerate(ids) if image_id not in left_out]
        records = Selection(records, kept)
    if not len(records):
        raise DataError(
            f"Split {split!r} of {data.name} has no image.", "Does data.skip leave one?" if data.skip else None
        )
    return records


def _split_hint(splits: Sequence[str]) -> str | None:
    """A split to measure on in the place of one that is not there."""
    measured = [split for split in ("val", "test") if split in splits]
    return f"Use --split {measured[0]}." if measured else None


def split_names(data: DataSection) -> tuple[str, ...]:
    """The splits a data set offers."""
    if data.store is None and data.reads_directly:
        return data.split_names()
    folder = store_folder(data)
    with faults_of_copy(data):
        return tuple(_read_meta(folder, data)["splits"])


def split_labels(records: Records) -> list[tuple[str, tuple[int, ...]]]:
    """Id and labels of every record, without touching an image where that can be avoided."""
    if isinstance(records, Selection):
        known = split_labels(records.records)
        return [known[row] for row in records.rows]
    if isinstance(records, Columns):
        return [(name, tuple(labels)) for name, labels in zip(records.image_ids(), records.labels(), strict=True)]
    return [(record.image_id, record.labels) for record in records]


def split_captions(records: Records) -> list[tuple[str, ...]]:
    """Captions of every record, without touching an image where that can be avoided."""
    if isinstance(records, Selection):
        known = split_captions(records.records)
        return [known[row] for row in records.rows]
    if isinstance(records, Columns):
        return [tuple(captions) for captions in records.captions()]
    return [record.captions for record in records]


def split_files(records: Records) -> list[tuple[str, Path | None]]:
    """Id and file of every record, None for an image that is no file, without touching an image."""
    if isinstance(records, Selection):
        known = split_files(records.records)
        return [known[row] for row in records.rows]
    if isinstance(records, Columns):
        return list(zip(records.image_ids(), records.image_paths(), strict=True))
    return [(record.image_id, record.image if isinstance(record.image, Path) else None) for record in records]


@contextmanager
def faults_of_copy(data: DataSection) -> Iterator[None]:
    """A block that reads a store: faults of one that lies elsewhere are told with what to do about its copy."""
    try:
        yield
    except DataError as error:
        if isinstance(data.store, str):
            error.hint = (
                f"This is the copy of {data.store}. If that is sound, remove {store_folder(data)}: it is copied again."
            )
        raise


def _read_meta(folder: Path, data: DataSection) -> dict[str, Any]:
    path = folder / "meta.json"
    meta = _read_json(path, data)
    facts = meta if isinstance(meta, dict) else {}
    splits = facts.get("splits")
    if not isinstance(splits, list) or not all(isinstance(value, str) for value in (*splits, facts.get("image_root"))):
        raise DataError(f"{path} does not describe a store.", _AGAIN)
    if facts.get("version") != STORE_VERSION:
        raise DataError(
            f"{path} has version {facts.get('version')!r}; this hlcli reads version {STORE_VERSION}.",
            "Run `hlcli preprocess` again, with --overwrite.",
        )
    return facts


def _read_json(path: Path, data: DataSection) -> Any:
    recover_folder(path.parent)
    try:
        return read_json(path)
    except FileNotFoundError as error:
        root = "" if data.root is None else f" --root {data.root}"
        raise DataError(f"{path} is missing.", f"Run `hlcli preprocess {data.name}{root}` first.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", _AGAIN) from error
