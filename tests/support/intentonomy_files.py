"""Small files in Intentonomy's official format, made up."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from hlcli.data.datasets.intentonomy_labels import FINE_NAMES

ROWS = {"train": [(0, 19), (27,), (2, 5, 9), (11,)], "val": [(3,), (6, 19)], "test": [(0,), (12, 26), (25,)]}


def image_id(split: str, position: int) -> str:
    return hashlib.md5(f"{split}{position}".encode()).hexdigest()


def document(split: str, base_url: str = "https://images.unsplash.com") -> dict[str, Any]:
    """An annotation file; the first chosen label of a train photo has three votes, the others one."""
    ids = [image_id(split, position) for position in range(len(ROWS[split]))]
    annotations: list[dict[str, Any]] = []
    for position, labels in enumerate(ROWS[split]):
        entry: dict[str, Any] = {"id": position, "image_id": ids[position]}
        if split == "train":
            shares = [0.0] * 28
            for label in labels:
                shares[label] = 1.0 if label == labels[0] else 1 / 3
            entry["category_ids_softprob"] = shares
        else:
            entry["category_ids"] = list(labels)
        annotations.append(entry)
    return {
        "info": {"year": 2020, "version": 2, "description": "made up", "date_created": "2020-02-22 21:01:48"},
        "categories": [{"id": index, "name": name} for index, name in enumerate(FINE_NAMES)],
        "images": [
            {"id": i, "filename": f"low/{i}.jpg", "original_id": i[:11], "unsplash_url": f"{base_url}/{i}?ixid=x&q=30"}
            for i in ids
        ],
        "annotations": annotations,
    }


def write_annotations(
    folder: Path, splits: tuple[str, ...] = ("train", "val", "test"), base_url: str = "https://x"
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in splits:
        (folder / f"intentonomy_{split}2020.json").write_text(json.dumps(document(split, base_url)))


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((24, 16), 40).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def write_photos(folder: Path, splits: tuple[str, ...] = ("train", "val", "test")) -> None:
    (folder / "low").mkdir(parents=True, exist_ok=True)
    for split in splits:
        for position in range(len(ROWS[split])):
            (folder / "low" / f"{image_id(split, position)}.jpg").write_bytes(photo())
