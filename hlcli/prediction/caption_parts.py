"""The parts of what a captioner sees of photos: how each is loaded, and what the device makes of it.

Shapes: B photos, N grid cells of width D, R region slots of width E.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from hlcli.building import build_encoder, eval_transform, normalize
from hlcli.captioning import slots
from hlcli.data.images import load_image
from hlcli.data.records import ImageSource
from hlcli.data.section import DataSection
from hlcli.errors import DataError, InputError
from hlcli.features.extractors import WINDOWS, FeatureOptions, GridExtractor, build_extractor
from hlcli.features.layout import facts_differences, feature_key
from hlcli.features.reading import FeatureFile
from hlcli.features.windows import WindowPool
from hlcli.recipe import Recipe

_Facts = Mapping[str, Any]
"""What made a feature file."""


class Photo:
    """An image on its way to the device; decoded once, and only when somebody wants to see it.

    Args:
        name: its path, or its id in a data set.
        source: the image.
    """

    def __init__(self, name: str, source: ImageSource) -> None:
        self.name, self.source = name, source
        self._decoded: dict[tuple[int, int] | None, PIL.Image.Image] = {}

    def decoded(self, enough: tuple[int, int] | None) -> PIL.Image.Image:
        """The decoded image; see `load_image` for (width, height) that is enough."""
        if enough not in self._decoded:
            self._decoded[enough] = load_image(self.source, name=self.name, shrink_to=enough)
        return self._decoded[enough]

    def ids(self) -> Iterator[str]:
        """What a feature file may call it: the whole path, less and less of it, the name without its ending."""
        parts = PurePath(self.name.replace("\\", "/")).parts
        yield self.name
        yield from ("/".join(parts[first:]) for first in range(1, len(parts)))
        yield PurePath(parts[-1]).stem

    def endings(self) -> set[str]:
        """Keys of its name with and without the ending; photos that share none share no features."""
        last = PurePath(self.name.replace("\\", "/"))
        return {feature_key(last.name), feature_key(last.stem)}


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the inputs.

    Args:
        load: a photo to a tensor, in a loader process; raises DataError.
        compute: the tensors of B photos to fields of `CaptionInputs`, on the device.
    """

    load: Callable[[Photo], Tensor]
    compute: Callable[[list[Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class _Picture:
    """Loads the image itself."""

    transform: Callable[[PIL.Image.Image], Tensor]
    decode_size: tuple[int, int] | None = None

    def __call__(self, photo: Photo) -> Tensor:
        """The image as the transform gives it."""
        return self.transform(photo.decoded(self.decode_size))


@dataclass(frozen=True)
class StoredFeatures:
    """Loads features that a file holds, [rows, width]."""

    file: FeatureFile
    max_rows: int | None = None

    def __call__(self, photo: Photo) -> Tensor:
        """Features [rows, width] under the longest name that the file knows.

        Raises:
            DataError: when it knows none.
        """
        image_id = self.find(photo)
        if image_id is None:
            raise DataError(f"{self.file.path} has no features of image {photo.name}.")
        return torch.from_numpy(self.file.read(image_id, max_rows=self.max_rows))

    def find(self, photo: Photo) -> str | None:
        """The longest name of a photo that the file knows."""
        return next((image_id for image_id in photo.ids() if image_id in self.file), None)

    def check(self, names: Iterable[str]) -> None:
        """Refuse different photos that would be given the same features.

        Raises:
            InputError: naming two.
        """
        alike: dict[str, list[Photo]] = {}
        for photo in (Photo(name, b"") for name in dict.fromkeys(names)):
            for ending in photo.endings():
                alike.setdefault(ending, []).append(photo)
        for group in (photos for photos in alike.values() if len(photos) > 1):
            owners: dict[str, str] = {}
            for photo in group:
                image_id = self.find(photo)
                if image_id is None:
                    continue
                owner = owners.setdefault(feature_key(image_id), photo.name)
                if owner != photo.name:
                    raise InputError(
                        f"{self.file.path} knows {owner} and {photo.name} by the same name, {image_id}: "
                        "one of them would be given the other's features.",
                        "Caption them one by one, or store their features under their paths.",
                    )


def _picture(data: DataSection) -> _Picture:
    transform = eval_transform(data)
    return _Picture(transform, transform.decode_size)


def picture_part(data: DataSection, device: torch.device) -> Part:
    """Images [B, 3, H, W] as a data section describes them, for a captioner's own image encoder."""
    to_floats = normalize(data).to(device)

    def compute(images: list[Tensor]) -> dict[str, Tensor]:
        return {"images": to_floats(torch.stack(images).to(device))}

    return Part(_picture(data), compute)


def stored_grid_part(path: Path, width: int, device: torch.device) -> Part:
    """Grid features [B, N, D] of a file."""
    file = _open_file(path, "grid", width)
    return Part(StoredFeatures(file), lambda grids: {"grid_features": torch.stack(grids).to(device)})


def stored_regions_part(path: Path, width: int, max_regions: int, device: torch.device) -> Part:
    """Region features [B, R, E] of a file."""
    file = _open_file(path, "region", width)
    is_published = file.facts is None
    return Part(
        StoredFeatures(file, max_regions),
        lambda regions: fill_slots(regions, max_regions, device, zeros_are_padding=is_published),
    )


def _open_file(path: Path, kind: Any, width: int) -> FeatureFile:
    file = FeatureFile(path, kind)
    if file.width != width:
        raise InputError(f"{path} holds features of width {file.width}, but the model reads {width}.")
    return file


def encoded_grid_part(recipe: Recipe, weights: Path | None, width: int, device: torch.device) -> Part:
    """Grid features by the recipe's backbone and data settings, where a file does not say what made it.

    Raises:
        InputError: when the backbone has no weights, or gives features of another width.
    """
    if weights is not None:
        recipe = recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"weights": weights})})
    if not recipe.backbone.pretrained and recipe.backbone.weights is None:
        raise InputError(
            f"Grid features of photos would come from {recipe.backbone.name} with random weights.",
            "Give --backbone-weights FILE, or --grid-features FILE.hdf5.",
        )
    encoder = build_encoder(recipe).to(device).eval()
    if encoder.num_features != width:
        raise InputError(
            f"backbone.name: {recipe.backbone.name} gives grid features of width {encoder.num_features}, "
            f"but the model reads {width}.",
            "Give the backbone that its features came from, or --grid-features FILE.hdf5.",
        )
    to_floats = normalize(recipe.data).to(device)

    def compute(images: list[Tensor]) -> dict[str, Tensor]:
        return {"grid_features": encoder(to_floats(torch.stack(images).to(device)))}

    return Part(_picture(recipe.data), compute)


def extracted_grid_part(
    facts: _Facts, windows: _Facts | None, weights: Path | None, max_regions: int, device: torch.device
) -> Part:
    """Grid features as a file of those facts holds them; with facts of windows over the same grid, regions too."""
    extractor = _extractor(facts, weights, device)
    pool = None
    if windows is not None:
        assert isinstance(extractor, GridExtractor), "windows lie over the grid of a backbone"
        pool = WindowPool(extractor.backbone.grid).to(device)

    def compute(images: list[Tensor]) -> dict[str, Tensor]:
        found = extractor([image.to(device) for image in images], [(1, 1)] * len(images))
        grid = torch.from_numpy(np.stack([parts["features"] for parts in found])).to(device)
        inputs = {"grid_features": _as_stored(grid, facts)}
        if pool is not None and windows is not None:
            regions = _as_stored(pool(grid)[:, : windows["max_regions"]], windows)
            inputs |= fill_slots(list(regions), max_regions, device)
        return inputs

    return Part(_Picture(extractor.transform), compute)


def extracted_regions_part(facts: _Facts, weights: Path | None, max_regions: int, device: torch.device) -> Part:
    """Region features as a file of those facts holds them."""
    extractor = _extractor(facts, weights, device)

    def compute(images: list[Tensor]) -> dict[str, Tensor]:
        found = extractor([image.to(device) for image in images], [(1, 1)] * len(images))
        regions = [_as_stored(torch.from_numpy(parts["features"]), facts) for parts in found]
        return fill_slots(regions, max_regions, device)

    return Part(_Picture(extractor.transform), compute)


def are_windows_of(region: _Facts, grid: _Facts) -> bool:
    """Whether the regions of a file are windows over the grid of another."""
    return region.get("detector") == WINDOWS and not facts_differences({**region, "kind": "grid"}, grid)


def _extractor(facts: _Facts, weights: Path | None, device: torch.device) -> Any:
    """What makes features as those of a file.

    Raises:
        InputError: when it would give other ones.
    """
    is_detector = facts.get("detector", WINDOWS) != WINDOWS
    options = FeatureOptions.from_facts(facts, **({} if is_detector else {"weights": weights}))
    extractor = build_extractor(options)
    differences = facts_differences(extractor.facts, facts)
    if differences:
        raise InputError(
            f"Features of photos would not be those the model was trained on: {'; '.join(differences)}.",
            "Give the weights that made them with --backbone-weights, or the features themselves.",
        )
    return extractor.to(device)


def _as_stored(features: Tensor, facts: _Facts) -> Tensor:
    """Rounded as in the file."""
    return features.half().float() if facts.get("dtype") == "float16" else features


def fill_slots(
    regions: Sequence[Tensor], max_regions: int, device: torch.device, *, zeros_are_padding: bool = False
) -> dict[str, Tensor]:
    """Regions [rows, E] of each photo in R slots, with the mask of those that are padding; see `captioning.slots`."""
    filled = [slots.fill_slots(found, max_regions, zeros_are_padding=zeros_are_padding) for found in regions]
    features, masks = (torch.stack(parts).to(device) for parts in zip(*filled, strict=True))
    return {"region_features": features, "padding_mask": masks}
