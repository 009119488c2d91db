"""Small files of Karpathy's split in the official formats, made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from intentonomy_files import photo


class Image(NamedTuple):
    """One image; its captions are called after their numbers."""

    number: int
    split: str
    folder: str
    sentids: tuple[int, ...]

    @property
    def filename(self) -> str:
        return f"COCO_{self.folder}_{self.number:012d}.jpg"


COCO = (
    Image(522418, "train", "train2014", (681330, 686718, 688839, 693159, 693204)),
    Image(391895, "test", "val2014", (770337, 771687, 772707, 776154, 781998)),
    Image(318219, "restval", "val2014", (20, 10, 30, 40, 50, 60, 70)),
    Image(554625, "restval", "val2014", (15, 25, 35, 45, 55, 65)),
    Image(184613, "val", "val2014", (474921, 479322, 479334, 481560, 483594)),
    Image(9, "train", "train2014", (1, 2, 3, 4, 5)),
)
"""In the order of the file; `restval` is part of val2014, and two images have more than five captions."""


def caption(number: int) -> str:
    """What a caption says; some captions of the real files have line ends in them or after them."""
    text = f"A sentence with the number {number} ."
    return {20: 'Two\nlines, "quoted" .', 10: f"{text}\n", 2: f"  {text} "}.get(number, text)


def sentence(number: int, image: int) -> dict[str, Any]:
    return {"tokens": ["a", "sentence"], "raw": caption(number), "imgid": image, "sentid": number}


def coco_document() -> dict[str, Any]:
    """`dataset_coco.json`; the sentences of an image stand in another order than their numbers."""
    images = [
        {
            "filepath": image.folder,
            "sentids": list(image.sentids),
            "filename": image.filename,
            "imgid": place,
            "split": image.split,
            "sentences": [sentence(number, place) for number in reversed(image.sentids)],
            "cocoid": image.number,
        }
        for place, image in enumerate(COCO)
    ]
    return {"images": images, "dataset": "coco"}


def flickr_document(splits: tuple[str, ...] = ("train", "train", "val", "test")) -> dict[str, Any]:
    """`dataset_flickr8k.json`: no folder, no number of the image."""
    images = []
    for place, split in enumerate(splits):
        numbers = list(range(5 * place, 5 * place + 5))
        sentences = [sentence(number, place) for number in numbers]
        name = f"{1000 + place}_ab{place}.jpg"
        images.append({"sentids": numbers, "imgid": place, "sentences": sentences, "split": split, "filename": name})
    return {"images": images, "dataset": "flickr8k"}


def caption_document(folder: str) -> dict[str, Any]:
    """`captions_train2014.json` or `captions_val2014.json`, in no particular order."""
    images = [image for image in reversed(COCO) if image.folder == folder]
    return {
        "info": {"year": 2014},
        "images": [
            {"id": image.number, "file_name": image.filename, "height": 16, "width": 24, "license": 3}
            for image in images
        ],
        "licenses": [],
        "annotations": [
            {"image_id": image.number, "id": number, "caption": caption(number)}
            for image in images
            for number in sorted(image.sentids)
        ],
    }


def write_json(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def write_coco_photos(folder: Path) -> None:
    for image in COCO:
        (folder / image.folder).mkdir(parents=True, exist_ok=True)
        (folder / image.folder / image.filename).write_bytes(photo())


def write_coco_karpathy(folder: Path) -> Path:
    write_json(folder / "karpathy" / "dataset_coco.json", coco_document())
    write_coco_photos(folder)
    return folder


def write_id_lists(folder: Path) -> Path:
    """The four lists and COCO's captions, as M2, DFT and HIN have them."""
    names = {"train": "coco_train_ids", "restval": "coco_restval_ids", "val": "coco_dev_ids", "test": "coco_test_ids"}
    for year in ("train2014", "val2014"):
        write_json(folder / f"captions_{year}.json", caption_document(year))
    for split, name in names.items():
        ids = [number for image in COCO if image.split == split for number in image.sentids]
        np.save(folder / f"{name}.npy", np.array(ids))
    return folder


def write_flickr(folder: Path, document: dict[str, Any] | None = None) -> Path:
    document = document or flickr_document()
    write_json(folder / "karpathy" / "dataset_flickr8k.json", document)
    (folder / "images").mkdir(exist_ok=True)
    for image in document["images"]:
        (folder / "images" / image["filename"]).write_bytes(photo())
    return folder
