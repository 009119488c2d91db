"""Where the files of the caption data sets come from, and how many images they have."""

from __future__ import annotations

from typing import NamedTuple

from hlcli.data.datasets.base import Source
from hlcli.data.datasets.coco_sources import LICENCE as COCO_LICENCE
from hlcli.data.datasets.coco_sources import SOURCES as COCO

LICENCE = f"{COCO_LICENCE} The split is by A. Karpathy and L. Fei-Fei."
FLICKR_LICENCE = (
    "The photos are Flickr's and their photographers', for research and education without profit only; they are not "
    "fetched. The captions and their split are by M. Hodosh, P. Young, J. Hockenmaier and A. Karpathy."
)

_SPLIT = next(source for source in COCO if source.part == "karpathy")._replace(is_optional=False)

COCO_SOURCES = (
    _SPLIT,
    *(source._replace(is_optional=source.part != "images") for source in COCO if source.part != "karpathy"),
)
"""The same files as for `coco`, in the same folder; `annotations` has COCO's own caption files, `test` the images
of the online test."""


class Counts(NamedTuple):
    """Numbers of images; `is_verified` says whether anybody confirmed them."""

    train: int
    val: int
    test: int
    is_verified: bool = False


COCO_COUNTS = Counts(113_287, 5_000, 5_000, is_verified=True)
FLICKR8K_COUNTS = Counts(6_000, 1_000, 1_000)
FLICKR30K_COUNTS = Counts(29_000, 1_014, 1_000)


def flickr_sources(photos: str, address: str) -> tuple[Source, ...]:
    """The split, and the photos that must be placed by hand.

    Args:
        photos: name of their archive.
        address: where to ask for them.
    """
    by_hand = f"Ask for the photos at {address}, and put them into `images`, or give their folder with --images."
    return _SPLIT, Source(photos, unpack_to="images", by_hand=by_hand)
