"""MS-COCO's 80 categories in the order of their ids, the 12 super-categories, and the published counts."""

from __future__ import annotations

from typing import NamedTuple

_CATEGORIES = {
    "person": "1 person",
    "vehicle": "2 bicycle, 3 car, 4 motorcycle, 5 airplane, 6 bus, 7 train, 8 truck, 9 boat",
    "outdoor": "10 traffic light, 11 fire hydrant, 13 stop sign, 14 parking meter, 15 bench",
    "animal": "16 bird, 17 cat, 18 dog, 19 horse, 20 sheep, 21 cow, 22 elephant, 23 bear, 24 zebra, 25 giraffe",
    "accessory": "27 backpack, 28 umbrella, 31 handbag, 32 tie, 33 suitcase",
    "sports": "34 frisbee, 35 skis, 36 snowboard, 37 sports ball, 38 kite, 39 baseball bat, 40 baseball glove, "
    "41 skateboard, 42 surfboard, 43 tennis racket",
    "kitchen": "44 bottle, 46 wine glass, 47 cup, 48 fork, 49 knife, 50 spoon, 51 bowl",
    "food": "52 banana, 53 apple, 54 sandwich, 55 orange, 56 broccoli, 57 carrot, 58 hot dog, 59 pizza, 60 donut, "
    "61 cake",
    "furniture": "62 chair, 63 couch, 64 potted plant, 65 bed, 67 dining table, 70 toilet",
    "electronic": "72 tv, 73 laptop, 74 mouse, 75 remote, 76 keyboard, 77 cell phone",
    "appliance": "78 microwave, 79 oven, 80 toaster, 81 sink, 82 refrigerator",
    "indoor": "84 book, 85 clock, 86 vase, 87 scissors, 88 teddy bear, 89 hair drier, 90 toothbrush",
}


class _Category(NamedTuple):
    """A label: its id in the annotation files (1 to 90, with gaps) and its name."""

    id: int
    name: str


def _read(text: str) -> tuple[_Category, ...]:
    entries = [entry.partition(" ") for entry in text.split(", ")]
    return tuple(_Category(int(number), name) for number, _, name in entries)


PARENTS = {parent: tuple(category.name for category in _read(text)) for parent, text in _CATEGORIES.items()}
CATEGORIES = tuple(category for text in _CATEGORIES.values() for category in _read(text))
LABEL_NAMES = tuple(category.name for category in CATEGORIES)


class Counts(NamedTuple):
    """What is known of an annotation file.

    Args:
        images: images in it.
        labelled: those with at least one object.
        labels: labels of all images together; None where that was never published.
        is_verified: whether somebody counted; False for numbers that are only cited.
    """

    images: int
    labelled: int
    labels: int | None
    is_verified: bool = True


COUNTS = {"train": Counts(82_783, 82_081, 241_035), "val": Counts(40_504, 40_137, None, is_verified=False)}
"""By the year's own split; val is the papers' test set."""

DRAWN_TOGETHER = {
    "street": ("bicycle", "car", "motorcycle", "bus", "person", "train", "truck", "traffic light", "stop sign",
               "parking meter"),
    "animals": ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    "indoor": ("couch", "potted plant", "bed", "dining table", "person", "chair", "tv", "laptop", "mouse", "keyboard"),
    "table": ("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich"),
}  # fmt: skip
"""The labels that SALGL's program draws in one heat map."""

SHORT_NAMES = {
    "motorcycle": "mcycle",
    "traffic light": "tlight",
    "stop sign": "ssign",
    "potted plant": "pplant",
    "dining table": "dtable",
    "keyboard": "kboard",
    "parking meter": "pmeter",
}
"""How it shortens long names beside one."""
