"""Small files in COCO 2014's official layout, made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from intentonomy_files import photo

from hlcli.data.datasets.coco_labels import CATEGORIES

OBJECTS = {
    "train": {9: ["bowl", "orange", "bowl"], 25: [], 30: ["person", "toothbrush"], 34: ["zebra"]},
    "val": {42: ["dog"], 73: [], 74: ["bicycle", "dog", "person"]},
}
"""Image id → the categories of its objects, by the year's own split."""


def file_name(split: str, image_id: int) -> str:
    return f"COCO_{split}2014_{image_id:012d}.jpg"


def document(split: str) -> dict[str, Any]:
    """An `instances` file; images in descending order, the first object of a label is a crowd."""
    ids = {category.name: category.id for category in CATEGORIES}
    annotations = []
    for image_id, names in OBJECTS[split].items():
        for position, name in enumerate(names):
            outline: Any = {"counts": [3, 4], "size": [2, 4]} if position == 0 else [[0.5, 1.0, 2.0, 2.0]]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": ids[name],
                    "iscrowd": int(position == 0),
                    "area": 1.5,
                    "bbox": [0, 0, 2, 2],
                    "segmentation": outline,
                }
            )
    return {
        "info": {"year": 2014},
        "licenses": [{"id": 1, "name": "made up"}],
        "categories": [{"supercategory": "any", "id": c.id, "name": c.name} for c in CATEGORIES],
        "images": [
            {"id": i, "file_name": file_name(split, i), "height": 16, "width": 24} for i in reversed(OBJECTS[split])
        ],
        "annotations": annotations,
    }


def write_coco(folder: Path, splits: tuple[str, ...] = ("train", "val")) -> Path:
    (folder / "annotations").mkdir(parents=True)
    for split in splits:
        (folder / "annotations" / f"instances_{split}2014.json").write_text(json.dumps(document(split)))
        (folder / f"{split}2014").mkdir()
        for image_id in OBJECTS[split]:
            (folder / f"{split}2014" / file_name(split, image_id)).write_bytes(photo())
    return folder
