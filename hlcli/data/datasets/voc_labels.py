"""PASCAL VOC's 20 labels in their official, alphabetical order, the four parents of them, and the published counts."""

from __future__ import annotations

from typing import NamedTuple

LABEL_NAMES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)

PARENTS = {
    "vehicles": ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    "household": ("bottle", "chair", "diningtable", "pottedplant", "sofa", "tvmonitor"),
    "animals": ("bird", "cat", "cow", "dog", "horse", "sheep"),
    "person": ("person",),
}
"""HSPNet's."""


class Counts(NamedTuple):
    """What is known of an image list.

    Args:
        images: images on it.
        labels: labels of all images together; None where that was never published.
        positives: images with at least one object of a label that is not difficult, by label.
        difficult: images all of whose objects of a label are difficult, by label.
    """

    images: int
    labels: int | None = None
    positives: tuple[int, ...] | None = None
    difficult: tuple[int, ...] | None = None


COUNTS = {
    2007: {
        "train": Counts(2_501),
        "val": Counts(2_510),
        "trainval": Counts(
            5_011,
            7_306,
            (238, 243, 330, 181, 244, 186, 713, 337, 445, 141, 200, 421, 287, 245, 2008, 245, 96, 229, 261, 256),
            (2, 12, 3, 7, 18, 11, 48, 7, 127, 5, 63, 9, 7, 4, 87, 28, 1, 143, 2, 23),
        ),
        "test": Counts(
            4_952,
            7_013,
            (204, 239, 282, 172, 212, 174, 721, 322, 417, 127, 190, 418, 274, 222, 2007, 224, 97, 223, 259, 229),
            (1, 11, 7, 4, 28, 9, 54, 10, 128, 0, 57, 15, 5, 11, 90, 30, 1, 132, 0, 26),
        ),
    },
    2012: {"train": Counts(5_717), "val": Counts(5_823), "trainval": Counts(11_540)},
}
"""By year and image list.

The 8,856 labels that are cited for val of 2012 are those of HSPNet's list, which also counts labels with difficult
objects only, it seems; `published_lists` has them.
"""
