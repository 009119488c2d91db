"""Small files in NUS-WIDE's official format and in those of its re-crawls, made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hlcli.data.datasets.nuswide_labels import LABEL_NAMES

OFFICIAL = {
    "actor\\0001_11.jpg": ("train", ("person",)),
    "zebra\\0002_12.jpg": ("train", ("animal", "grass", "zebra")),
    "sky\\0003_13.jpg": ("train", ()),
    "lake\\0004_14.jpg": ("test", ("lake", "water")),
    "sun\\0005_15.jpg": ("test", ()),
    "map\\0006_16.jpg": ("neither", ("map",)),
    "fox\\0007_17.jpg": ("both", ("fox", "animal")),
}
"""Line of `Imagelist.txt` → split and labels."""


def write_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (seed * 37 % 256, seed * 91 % 256, seed * 53 % 256)
    Image.new("RGB", (20 + seed % 7, 16), colour).save(path, "JPEG")


def write_official(
    folder: Path, *, concepts_at: str = "ConceptsList", labels_at: str = "Groundtruth/AllLabels"
) -> None:
    """Lists, labels and photos, with the oddities of the real ones: backslashes and blanks at the ends of lines."""
    splits = {"Imagelist": {"train", "test", "both", "neither"}, "TrainImagelist": {"train", "both"}}
    splits["TestImagelist"] = {"test", "both"}
    for name in ("ImageList", concepts_at, labels_at):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, members in splits.items():
        lines = [file for file, (split, _) in OFFICIAL.items() if split in members]
        (folder / "ImageList" / f"{name}.txt").write_text("".join(f"{line} \r\n" for line in lines), newline="")
    (folder / concepts_at / "Concepts81.txt").write_text("".join(f"{name} \n" for name in LABEL_NAMES))
    for concept in LABEL_NAMES:
        marks = "".join(f"{int(concept in labels)}\n" for _, labels in OFFICIAL.values())
        (folder / labels_at / f"Labels_{concept}.txt").write_text(marks)
    for seed, file in enumerate(OFFICIAL):
        write_photo(folder / "Flickr" / file.replace("\\", "/"), seed)


ASL = {
    "nus_train_full.txt": ("0_11_a_m.jpg,42", "1_12_b_m.jpg,80 30 1", "2_13_c_m.jpg,"),
    "nus_train_singlelabel.txt": ("0_11_a_m.jpg,42", "1_12_b_m.jpg, 30"),
    "nus_val.txt": ("3_14_d_m.jpg,34 75",),
}


def write_asl(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in ASL.items():
        (folder / name).write_text("\n".join(lines) + "\n")
        for seed, line in enumerate(lines):
            write_photo(folder / "images" / line.partition(",")[0], seed)


def write_spml(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, files in (("train", ("a.jpg", "b.jpg")), ("val", ("c.jpg",))):
        matrix = np.zeros((len(files), len(LABEL_NAMES)))
        matrix[0, [3, 5]] = 1
        np.save(folder / f"formatted_{split}_images.npy", np.array(files))
        np.save(folder / f"formatted_{split}_labels.npy", matrix)
        for seed, file in enumerate(files):
            write_photo(folder / "images" / file, seed)
