"""Small files of the VG-500 partition and of Visual Genome's metadata, made up."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from nuswide_files import write_photo

LABELS = {"101.jpg": [3, 7], "102.jpg": [499], "103.jpg": [7, 0], "201.jpg": [3], "202.jpg": [12, 7]}
TRAIN, TEST = ("103.jpg", "101.jpg", "102.jpg"), ("202.jpg", "201.jpg")


def write_partition(folder: Path) -> None:
    """Lists, labels and photos: 10x.jpg in the first folder, 20x.jpg in the second, 103.jpg in both."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train_list_500.txt").write_text("\r\n".join(TRAIN) + "\r\n", newline="")
    (folder / "test_list_500.txt").write_text("\n".join(TEST))
    (folder / "vg_category_500_labels_index.json").write_text(json.dumps(LABELS))
    for seed, file in enumerate(LABELS):
        write_photo(folder / ("VG_100K" if file.startswith("1") else "VG_100K_2") / file, seed)
    write_photo(folder / "VG_100K_2" / "103.jpg", 99)


def make_objects(labels: dict[str, list[int]], names: list[str], *, noise: float) -> list[dict[str, Any]]:
    """Visual Genome's `objects.json` for a partition: every label as an object, some lost, some strangers added."""
    rng = random.Random(0)
    document = []
    for file, row in labels.items():
        things = [[names[label].upper() + " ", "other"] for label in row if rng.random() >= noise]
        things += [[f"rare thing {rng.randrange(3000)}"] for _ in range(3)]
        document.append(
            {"image_id": int(file.partition(".")[0]), "objects": [{"object_id": 1, "names": given} for given in things]}
        )
    return document


def random_labels(num_images: int, per_image: int, seed: int = 0) -> dict[str, list[int]]:
    """Labels of many images; every one of the 500 occurs."""
    rng = random.Random(seed)
    return {
        f"{1000 + i}.jpg": sorted({i % 500, *(rng.randrange(500) for _ in range(per_image - 1))})
        for i in range(num_images)
    }
