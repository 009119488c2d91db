"""Captions from a store in the papers' own files: COCO's JSON, and the id lists that M2, DFT and HIN read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.data.datasets.karpathy import CAPTION_IDS
from hlcli.data.datasets.karpathy_annotations import ID_LISTS, YEARS
from hlcli.data.store import open_records, split_captions, split_files, split_names, store_folder
from hlcli.errors import DataError
from hlcli.files import whole_file, write_json
from hlcli.json_text import read_json
from hlcli.sections import DataSection


class _Described(NamedTuple):
    """What is told of an image: all of its record but the pixels."""

    image_id: str
    path: Path | None
    captions: tuple[str, ...]


def export_captions(data: DataSection) -> list[Path]:
    """Write the captions of every split as COCO writes them, into `captions/` beside the store.

    `captions_SPLIT.json` has `images` (id, file_name) and `annotations` (id, image_id, caption). Ids of images that
    are numbers are written as such. Captions have their published ids; where there are none, they are numbered.

    Raises:
        DataError: when no image has a caption.
    """
    known = _read_caption_ids(data)
    splits = {split: _described(data, split) for split in split_names(data)}
    if not any(image.captions for images in splits.values() for image in images):
        raise DataError(f"{data.name} has no captions.", "Write its labels: --export lists, indices or npy.")
    count = sum(len(image.captions) for images in splits.values() for image in images)
    numbers = iter(range(1, count + 1))
    written = []
    for split, images in splits.items():
        rows = [
            (image, known[image.image_id]["file"], known[image.image_id]["ids"])
            if image.image_id in known
            else (image, _file_name(image), numbers)
            for image in images
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
    by_split: dict[str, list[_Described]] = {split: [] for split in ID_LISTS}
    for split in split_names(data):
        for image in _described(data, split):
            if image.image_id in known:  # those of the online test have no caption
                by_split[known[image.image_id]["split"]].append(image)
    folder, written = store_folder(data).parent / "m2", []
    for split, name in ID_LISTS.items():
        written.append(folder / f"{name}.npy")
        _write_ids(written[-1], [number for image in by_split[split] for number in known[image.image_id]["ids"]])
    for year in dict.fromkeys(YEARS.values()):
        images = [image for split in ID_LISTS if YEARS[split] == year for image in by_split[split]]
        rows = [(i, Path(known[i.image_id]["file"]).name, known[i.image_id]["ids"]) for i in images]
        written.append(folder / f"captions_{year}.json")
        write_json(written[-1], _document(rows))
    return written


def _described(data: DataSection, split: str) -> list[_Described]:
    """The images of a split; their bytes, which a store may hold, are not read."""
    records = open_records(data, split)
    files = split_files(records)
    return [_Described(*file, captions) for file, captions in zip(files, split_captions(records), strict=True)]


def _read_caption_ids(data: DataSection) -> Mapping[str, Any]:
    path = store_folder(data) / CAPTION_IDS
    if not path.is_file():
        return {}
    try:
        known = read_json(path)
        if any(not isinstance(entry["file"], str) or not isinstance(entry["ids"], list) for entry in known.values()):
            raise TypeError("an entry has no file or no ids")
        return known
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Run `hlcli preprocess` again.") from error


def _document(rows: Iterable[tuple[_Described, str, Iterable[int]]]) -> dict[str, Any]:
    """A file of captions; a row is an image, its file name, and numbers for its captions."""
    rows = list(rows)
    return {
        "images": [{"id": _coco_id(image), "file_name": file} for image, file, _ in rows],
        "annotations": [
            {"id": number, "image_id": _coco_id(image), "caption": caption}
            for image, _, numbers in rows
            for caption, number in zip(image.captions, numbers, strict=False)  # takes no number too many
        ],
    }


def _coco_id(image: _Described) -> int | str:
    """A number where the id is one, as COCO has it; `007` is a name."""
    text = image.image_id
    is_number = text.isascii() and text.isdigit() and (text == "0" or not text.startswith("0"))
    return int(text) if is_number and len(text) < 19 else text


def _file_name(image: _Described) -> str:
    """The id where it is the path below the folder of images, else the file's name."""
    is_other = image.path is not None and not image.path.as_posix().endswith(f"/{image.image_id}")
    return image.path.name if image.path is not None and is_other else image.image_id


def _write_ids(path: Path, ids: list[int]) -> None:
    import numpy as np

    with whole_file(path, "wb") as handle:
        np.save(handle, np.array(ids, dtype=np.int64))
