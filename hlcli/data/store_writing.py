"""Writing the prepared data set to disk, as `hlcli.data.store` reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hlcli.data.image_files import places_below
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record, Records
from hlcli.data.store import STORE_VERSION
from hlcli.errors import DataError
from hlcli.files import sha256_of, whole_folder, write_json

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 1000, 16 * 2**20
"""What is written at once, at most. Opening a store takes time and memory for each such piece."""


def write_store(
    folder: Path,
    labels: LabelSpace,
    splits: Mapping[str, Records],
    meta: Mapping[str, Any],
    *,
    encode: Callable[[Iterable[Record]], Iterator[Record]],
    complete: Callable[[Path], None] | None = None,
) -> dict[str, Any]:
    """Write a store; it replaces an older one only when it is whole. Identical inputs give identical bytes.

    Args:
        folder: the store.
        labels: its label space.
        splits: records by split.
        meta: JSON-ready facts to keep: options, source sums, notes.
        encode: turns records into records whose image is encoded bytes, or a file that stays where it is;
            may leave records out.
        complete: adds to the folder what else belongs there, when the records are written.

    Returns:
        What was written to `meta.json`.

    Raises:
        DataError: when no record is left.
    """
    counts: dict[str, Any] = {}
    with whole_folder(folder) as building:
        for split, records in splits.items():
            counts[split] = _write_split(building / split, encode(records), folder.parent, labels.num_labels)
        if not any(count["images"] for count in counts.values()):
            raise DataError(f"{folder}: not one image could be prepared.")
        written = {"version": STORE_VERSION, "splits": list(splits), "image_root": "..", "counts": counts, **meta}
        write_json(building / "labels.json", labels.to_json())
        write_json(building / "meta.json", written)
        if complete is not None:
            complete(building)
    return written


def _write_split(folder: Path, records: Iterator[Record], image_root: Path, num_labels: int) -> dict[str, Any]:
    """One Arrow file with its description, as `datasets.load_from_disk` expects it; returns the counts."""
    import datasets
    from datasets.arrow_writer import ArrowWriter

    features = datasets.Features(
        {
            "image_id": datasets.Value("string"),
            "image": datasets.Image(decode=False),
            "labels": datasets.Sequence(datasets.Value("int32")),
            "ignore": datasets.Sequence(datasets.Value("int32")),
            "captions": datasets.Sequence(datasets.Value("string")),
            "object_mask": datasets.Sequence(datasets.Value("float32")),
        }
    )
    folder.mkdir()
    path = folder / "data-00000-of-00001.arrow"
    positives, images, place_of, waiting = [0] * num_labels, 0, places_below(image_root), 0
    with ArrowWriter(features=features, path=str(path), writer_batch_size=_ROWS_AT_ONCE) as writer:
        for record in records:
            waiting += len(record.image) if isinstance(record.image, bytes) else 0
            writer.write(_row(record, place_of))
            if waiting >= _BYTES_AT_ONCE:
                writer.write_examples_on_file()
                waiting = 0
            images += 1
            for label in record.labels:
                positives[label] += 1
        writer.finalize()
    digest = sha256_of(path)
    datasets.DatasetInfo(features=features).write_to_directory(str(folder))
    state: dict[str, Any] = {
        "_data_files": [{"filename": path.name}],
        "_fingerprint": digest[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": folder.name,
    }
    write_json(folder / "state.json", state)
    return {"images": images, "positives": positives, "sha256": digest}


def _row(record: Record, place_of: Callable[[Path], str]) -> dict[str, Any]:
    if isinstance(record.image, bytes):
        image: dict[str, bytes | str | None] = {"bytes": record.image, "path": None}
    elif isinstance(record.image, Path):
        image = {"bytes": None, "path": place_of(record.image)}
    else:
        raise DataError(f"Image {record.image_id} was not encoded before it was stored.")
    return {
        "image_id": record.image_id,
        "image": image,
        "labels": list(record.labels),
        "ignore": list(record.ignore),
        "captions": list(record.captions),
        "object_mask": list(record.object_mask),
    }
