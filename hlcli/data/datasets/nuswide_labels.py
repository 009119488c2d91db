"""NUS-WIDE's 81 labels in their order, HSPNet's six parents of them, and the published counts."""

from __future__ import annotations

from typing import NamedTuple

_CONCEPTS = {
    "activity": "dancing earthquake fire protest running soccer surf swimmers wedding",
    "program": "sports",
    "scene": "airport beach bridge buildings castle cityscape clouds frost garden glacier grass harbor house lake moon "
    "mountain nighttime ocean plants railroad rainbow reflection road sky snow street sunset temple town valley water "
    "waterfall window",
    "people": "military person police tattoo",
    "object": "animal bear birds boats book cars cat computer coral cow dog elk fish flags flowers food fox horses "
    "leaf plane rocks sand sign statue sun tiger tower toy train tree vehicle whales zebra",
    "graphics": "map",
}
PARENTS = {parent: tuple(names.split()) for parent, names in _CONCEPTS.items()}
LABEL_NAMES = tuple(sorted(name for names in PARENTS.values() for name in names))
"""The official order is the alphabetical one."""


class Counts(NamedTuple):
    """What is known of a split.

    Args:
        images: images listed; for the official split without regard to labels.
        labels: labels of all images together, where that was published.
        labelled: images with at least one label, where not all have one.
    """

    images: int
    labels: int | None = None
    labelled: int | None = None


NUM_LISTED = 269_648
"""Lines of the official `Imagelist.txt`, and of each of the 81 files of labels."""

OFFICIAL = {"train": Counts(161_789, labelled=125_449), "test": Counts(107_859, labelled=83_898)}
ASL = {"train": Counts(119_103, 289_460), "test": Counts(50_720, 123_567)}
ASL_SINGLE = {"train": Counts(119_103, 119_103), "test": ASL["test"]}
SPML = {"train": Counts(150_000), "test": Counts(60_260)}
