"""The images of which features are made: those of a data set's splits, or of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset

from hlcli.data.failures import printable_path
from hlcli.data.image_files import find_images
from hlcli.data.images import load_image
from hlcli.data.records import ImageSource, Records
from hlcli.data.store import open_records, split_labels, split_names
from hlcli.errors import DataError
from hlcli.features.layout import feature_key
from hlcli.sections import DataSection

_LINE = "\n"


@dataclass(frozen=True)
class _ImagesOfSplits:
    """Images of records of several splits, looked for when they are asked for; loader processes get a copy.

    Args:
        places: the split of each image, and its row in there.
    """

    places: Sequence[tuple[Records, int]]

    def __call__(self, number: int) -> ImageSource:
        """The image of that number."""
        records, row = self.places[number]
        return records[row].image


class ImageList:
    """Images by number; none is touched before it is asked for.

    Args:
        image_ids: their ids; the keys of no two may be the same.
        source: gives the image of a number.

    Raises:
        DataError: naming ids that would share a key.
    """

    def __init__(self, image_ids: Sequence[str], source: Callable[[int], ImageSource]) -> None:
        self.image_ids = list(image_ids)
        self.source = source
        taken: dict[str, str] = {}
        for image_id in self.image_ids:
            other = taken.setdefault(feature_key(image_id), image_id)
            if other != image_id:
                raise DataError(
                    f"Images {other} and {image_id} would both be stored as {feature_key(image_id)}.", "Rename one."
                )

    def __len__(self) -> int:
        return len(self.image_ids)

    def digest(self) -> str:
        """`sha256:…` of the ids in their order."""
        return f"sha256:{hashlib.sha256(_LINE.join(self.image_ids).encode()).hexdigest()}"


def list_images(source: DataSection | Path, splits: Sequence[str] = ()) -> ImageList:
    """The images of a data set, or of a folder and everything below it.

    Args:
        source: the data set, or a folder, whose images are called by their paths in it.
        splits: of the data set; empty for all. An image of several splits counts once.

    Raises:
        InputError: when there is no image.
        DataError: for a split that the data set does not have.
    """
    if isinstance(source, Path):
        paths = find_images([source])
        names = [(path.relative_to(source) if path != source else path).as_posix() for path in paths]
        return ImageList(list(map(printable_path, names)), paths.__getitem__)
    places: dict[str, tuple[Records, int]] = {}
    for split in splits or split_names(source):
        records = open_records(source, split)
        for row, (image_id, _) in enumerate(split_labels(records)):
            places.setdefault(image_id, (records, row))
    return ImageList(list(places), _ImagesOfSplits(tuple(places.values())))


class Loaded(NamedTuple):
    """An image on its way to the network: uint8 [3, H, W], or the reason why not, and its own height and width."""

    row: int
    image: Tensor | None
    size: tuple[int, int]
    error: str


class LoadedImages(Dataset):
    """Decoded, resized images, or the reason why not."""

    def __init__(self, images: ImageList, transform: Callable[[Image], Tensor]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Loaded:
        try:
            image = load_image(self.images.source(row), name=self.images.image_ids[row])
        except DataError as error:
            return Loaded(row, None, (0, 0), error.message)
        return Loaded(row, self.transform(image), (image.height, image.width), "")
