"""Images to draw: those that somebody names or those of a split, decoded, and what a model sees in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image

from hlcli.data.failures import Failure, printable_path
from hlcli.data.image_files import find_images
from hlcli.data.images import load_image
from hlcli.data.labels import LabelSpace
from hlcli.data.records import ImageSource, Records
from hlcli.data.store import StoreSplit, open_records
from hlcli.errors import DataError, InputError
from hlcli.evaluation.labels import check_labels, default_split
from hlcli.methods.base import LevelMaps, MethodSection
from hlcli.models.tasks import check_task
from hlcli.prediction.labels import Predictor
from hlcli.recipe import Recipe, section_classes
from hlcli.visualization.panels import LabelMap

IMAGES_OF_A_SPLIT = 6
IMAGES_AT_A_TIME = 8
"""Decoded images are kept in full while they are drawn, so these are few."""

_PHOTO_SIDE = 640
"""Longer side in pixels of the photos in a figure; the model sees the original."""


class Item(NamedTuple):
    """An image to draw; labels are the indices of its fine ones, None where nobody knows them; captions true ones."""

    name: str
    source: ImageSource
    labels: tuple[int, ...] | None = None
    captions: tuple[str, ...] = ()

    def true_labels(self, labels: LabelSpace, depth: int) -> frozenset[int] | None:
        """Indices of its labels on a level, None where nobody knows them."""
        if self.labels is None:
            return None
        return frozenset((*labels.ancestors(label), label)[depth] for label in self.labels)


Photo = tuple[Item, Image.Image]


class Items:
    """The images of a figure; those of a split are read when they are asked for.

    Args:
        names: of all images.
        read: gives the image of that number.
    """

    def __init__(self, names: Sequence[str], read: Callable[[int], Item]) -> None:
        self.names, self.read = names, read

    def __len__(self) -> int:
        return len(self.names)

    def photos(
        self, numbers: Iterable[int], failures: list[Failure], *, shrink_to: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, Photo]]:
        """Decode what can be decoded, with its number, and list the rest; `shrink_to` is that of `load_image`."""
        for number in numbers:
            item = self.read(number)
            try:
                yield number, (item, load_image(item.source, name=item.name, shrink_to=shrink_to))
            except DataError as error:
                failures.append(Failure(item.name, error.message))


def choose_images(
    images: Sequence[Path], recipe: Recipe, labels: LabelSpace | None, split: str | None, count: int | None
) -> Items:
    """The named images, or where none are named those of a split; of either `count`, evenly spread, if it is given."""
    return named_images(images, count) if images else _images_of_split(recipe, labels, split, count)


def named_images(places: Sequence[Path], count: int | None = None) -> Items:
    """Files, folders and patterns; at most so many of the images found, evenly spread."""
    paths = find_images(places)
    paths = [paths[row] for row in _spread(len(paths), count)]
    return Items(list(map(printable_path, paths)), lambda number: Item(printable_path(paths[number]), paths[number]))


def _images_of_split(recipe: Recipe, labels: LabelSpace | None, split: str | None, count: int | None) -> Items:
    """The images of a split, default test where there is one, else the recipe's own.

    Args:
        recipe: says where the data is.
        labels: the model's; None where they play no part.
        split: name of the split.
        count: at most so many, evenly spread; None takes all.

    Raises:
        DataError: when the split does not exist, or the data set has other labels.
    """
    if labels is not None:
        check_labels(recipe, labels)
    records = open_records(recipe.data, split or default_split(recipe))
    rows = _spread(len(records), count)
    names = _image_ids(records, rows)

    def read(number: int) -> Item:
        record = records[rows[number]]
        return Item(record.image_id, record.image, record.labels, record.captions)

    return Items(names, read)


def _spread(total: int, count: int | None) -> list[int]:
    """At most so many numbers below `total`, evenly spread; None takes all."""
    return np.linspace(0, total - 1, num=min(count or total, total)).round().astype(int).tolist()


def _image_ids(records: Records, rows: Sequence[int]) -> list[str]:
    if isinstance(records, StoreSplit):
        ids = records.image_ids()
        return [ids[row] for row in rows]
    return [records[row].image_id for row in rows]


def shrink(image: Image.Image) -> np.ndarray:
    """The image [H, W, 3] uint8, small enough for a figure."""
    photo = image.copy()
    photo.thumbnail((_PHOTO_SIDE, _PHOTO_SIDE))
    return np.asarray(photo)


class Look(NamedTuple):
    """What a model sees in one image, coarse → fine: scores [L] of all levels, maps [L, h, w] of all or the finest."""

    scores: tuple[np.ndarray, ...]
    maps: tuple[np.ndarray, ...]

    def map_of(self, depth: int, label: int) -> np.ndarray:
        """Where a label of a level looks, [h, w]."""
        return self.maps[depth - len(self.scores)][label]


def look_at(predictor: Predictor, method: MethodSection, images: Sequence[Image.Image]) -> list[Look]:
    """Scores and maps of decoded images; at least one."""
    found = _level_maps(predictor, method, torch.stack([predictor.transform(image) for image in images]))
    scores = predictor.level_scores(found)
    maps = [level.float().cpu().numpy() for level in found.attention_maps]
    return [Look(tuple(level[i] for level in scores), tuple(level[i] for level in maps)) for i in range(len(images))]


def label_map(photo: Photo, look: Look, labels: LabelSpace, depth: int, label: int) -> LabelMap:
    """What a figure shows of one label."""
    truth = photo[0].true_labels(labels, depth)
    name, score = labels.levels[depth].label_names[label], float(look.scores[depth][label])
    return LabelMap(name, score, look.map_of(depth, label), None if truth is None else label in truth)


def levels_with_maps(predictor: Predictor, method: MethodSection) -> range:
    """Depths of the levels that have maps, found out with a black image."""
    side = predictor.transform.image_size
    height, width = (side, side) if isinstance(side, int) else side
    found = _level_maps(predictor, method, torch.zeros(1, 3, height, width, dtype=torch.uint8))
    depth = len(predictor.labels.levels)
    return range(depth - len(found.attention_maps), depth)


def _level_maps(predictor: Predictor, method: MethodSection, images: torch.Tensor) -> LevelMaps:
    with torch.inference_mode(), predictor.autocast():
        found = method.level_maps(predictor.model, predictor.normalize(images.to(predictor.device)))
    assert found is not None, "check_offers comes first"
    return found


def check_offers(method: MethodSection, offer: Literal["level_maps", "cooccurrence"], what: str) -> None:
    """Refuse a method that does not offer what a figure shows.

    Raises:
        InputError: naming the methods that do.
    """
    if method.offers(offer):
        return
    check_task(method, "labels")
    methods: Mapping[str, type[MethodSection]] = section_classes("model")  # type: ignore[assignment]
    able = [name for name, section in methods.items() if section.offers(offer)]
    raise InputError(
        f"A model of method {getattr(method, 'method', type(method).__name__)} has no {what}.",
        f"Methods that have: {', '.join(able)}.",
    )
