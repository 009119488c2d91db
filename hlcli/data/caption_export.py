"""Captions from a store in the papers' own files: COCO's JSON, and the id lists that M2, DFT and HIN read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hlcli.data.datasets.karpathy import CAPTION_IDS
from hlcli.data.datasets.karpathy_annotations import ID_LISTS, YEARS
from hlcli.data.records import Record
from hlcli.data.store import open_records, split_names, store_folder
from hlcli.errors import DataError
from hlcli.files import whole_file, write_json
from hlcli.sections import DataSection


def export_captions(data: DataSection) -> list[Path]:
    """Write the captions of every split as COCO writes them, into `captions/` beside the store.

    `captions_SPLIT.json` has `images` (id, file_name) and `annotations` (id, image_id, caption). Ids of images that
    are numbers are written as such. Captions have their published ids; where there are none, they are numbered.

    Raises:
        DataError: when no image has a caption.
    """
    known = _read_caption_ids(data)
    splits = {split: [*open_records(data, split)] for split in split_names(data)}
    if not any(record.captions for records in splits.values() for record in records):
        raise DataError(f"{data.name} has no captions.", "Write its labels: --export lists, indices or npy.")
    count = sum(len(record.captions) for records in splits.values() for record in records)
    numbers = iter(range(1, count + 1))
    written = []
    for split, records in splits.items():
        rows = [
            (record, known[record.image_id]["file"], known[record.image_id]["ids"])
            if record.image_id in known
            else (record, _file_name(record), numbers)
            for record in records
        ]
        written.append(store_folder(data).parent / "captions" / f"captions_{split}.json")
        write_json(written[-1], _document(rows))
    return written


def export_m2(data: DataSection) -> list[Path]:
    """Write what M2, DFT and HIN read of COCO, into `m2/` beside the store.

    `coco_{train,restval,dev,test}_ids.npy`, int64, hold the ids of captions; `captions_{train,val}2014.json` hold the
    captions, without those of images that are in no split.

    Raises:
        DataError: for a store that does not come from Karpathy's split of COCO.
    """
    known = _read_caption_ids(data)
    if {entry["file"].partition("/")[0] for entry in known.values()} - set(YEARS.values()) or not known:
        raise DataError(f"--export m2 is for coco-karpathy; {data.name} has no captions of COCO 2014.")
    by_split: dict[str, list[Record]] = {split: [] for split in ID_LISTS}
    for split in split_names(data):
        for record in open_records(data, split):
            if record.image_id in known:  # those of the online test have no caption
                by_split[known[record.image_id]["split"]].append(record)
    folder, written = store_folder(data).parent / "m2", []
    for split, name in ID_LISTS.items():
        written.append(folder / f"{name}.npy")
        _write_ids(written[-1], [number for record in by_split[split] for number in known[record.image_id]["ids"]])
    for year in dict.fromkeys(YEARS.values()):
        records = [record for split in ID_LISTS if YEARS[split] == year for record in by_split[split]]
        rows = [(r, Path(known[r.image_id]["file"]).name, known[r.image_id]["ids"]) for r in records]
        written.append(folder / f"captions_{year}.json")
        write_json(written[-1], _document(rows))
    return written


def _read_caption_ids(data: DataSection) -> Mapping[str, Any]:
    path = store_folder(data) / CAPTION_IDS
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Run `hlcli preprocess` again.") from error


def _document(rows: Iterable[tuple[Record, str, Iterable[int]]]) -> dict[str, Any]:
    """A file of captions; a row is a record, its file name, and numbers for its captions."""
    rows = list(rows)
    return {
        "images": [{"id": _image_id(record), "file_name": file} for record, file, _ in rows],
        "annotations": [
            {"id": number, "image_id": _image_id(record), "caption": caption}
            for record, _, numbers in rows
            for caption, number in zip(record.captions, numbers, strict=False)  # takes no number too many
        ],
    }


def _image_id(record: Record) -> int | str:
    """A number where the id is one, as COCO has it; `007` is a name."""
    text = record.image_id
    is_number = text.isascii() and text.isdigit() and (text == "0" or not text.startswith("0"))
    return int(text) if is_number and len(text) < 19 else text


def _file_name(record: Record) -> str:
    """The id where it is the path below the folder of images, else the file's name."""
    is_other = isinstance(record.image, Path) and not record.image.as_posix().endswith(f"/{record.image_id}")
    return Path(str(record.image)).name if is_other else record.image_id


def _write_ids(path: Path, ids: list[int]) -> None:
    import numpy as np

    with whole_file(path, "wb") as handle:
        np.save(handle, np.array(ids, dtype=np.int64))
