"""Photos → what captioners see: pictures for their own image encoders, features computed as those they were trained
on, or features that files hold. What several captioners share is loaded and computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hlcli.captioning.batch import CaptionInputs
from hlcli.data.records import ImageSource
from hlcli.errors import DataError, InputError
from hlcli.models.folder import LoadedModel
from hlcli.prediction.caption_parts import (
    Part,
    Photo,
    are_windows_of,
    encoded_grid_part,
    extracted_grid_part,
    extracted_regions_part,
    picture_part,
    stored_grid_part,
    stored_regions_part,
)


class FeatureSources(NamedTuple):
    """Where features come from, for models that do not see the image itself.

    Args:
        grid: file of grid features of the images to caption.
        regions: file of their region features.
        backbone_weights: local weights of the backbone that computes features.
        of_data: the images are those of the recipe's data set, whose files hold their features.
    """

    grid: str | Path | None = None
    regions: str | Path | None = None
    backbone_weights: str | Path | None = None
    of_data: bool = False


class LoadedPhoto(NamedTuple):
    """A photo's parts, one tensor each; or why there are none."""

    row: int
    name: str
    parts: list[Tensor] | str


class NamedImages(NamedTuple):
    """Images by number; none is touched before it is asked for.

    Args:
        names: of all images.
        source: gives the image of a number.
    """

    names: Sequence[str]
    source: Callable[[int], ImageSource]


@dataclass(frozen=True)
class PhotoLoader:
    """Loads photos.

    Args:
        loads: how each part is loaded.
    """

    loads: Sequence[Callable[[Photo], Tensor]]

    def __call__(self, numbered: tuple[int, str, ImageSource]) -> LoadedPhoto:
        """The photo of that number, name and source."""
        row, name, source = numbered
        photo = Photo(name, source)
        try:
            return LoadedPhoto(row, name, [load(photo) for load in self.loads])
        except DataError as error:
            return LoadedPhoto(row, name, error.message)


@dataclass(frozen=True)
class RowLoader:
    """Loads photos by their numbers alone.

    Args:
        images: where they come from.
        load: loads one.
    """

    images: NamedImages
    load: PhotoLoader

    def __call__(self, row: int) -> LoadedPhoto:
        """The photo of that number."""
        return self.load((row, self.images.names[row], self.images.source(row)))


class InputMaker:
    """Makes the inputs of one or several captioners.

    Args:
        models: the captioners.
        sources: where their features come from.
        device: where they are computed.

    Raises:
        InputError: when features of photos cannot be had, or a file has no use; the message names it.
    """

    def __init__(self, models: Sequence[LoadedModel], sources: FeatureSources, device: torch.device) -> None:
        self.sources, self.device = sources, device
        self._parts: dict[Hashable, Part] = {}
        self._members = [self._choose(loaded) for loaded in models]  # keys of each captioner's parts
        self._check_use()

    @property
    def loads(self) -> list[Callable[[Photo], Tensor]]:
        """How each part is loaded."""
        return [part.load for part in self._parts.values()]

    def compute(self, photos: Sequence[LoadedPhoto]) -> list[CaptionInputs]:
        """What each captioner sees of at least one photo that could be loaded."""
        columns = zip(*(photo.parts for photo in photos), strict=True)
        found = {
            key: part.compute(list(column))  # type: ignore[arg-type]
            for (key, part), column in zip(self._parts.items(), columns, strict=True)
        }
        return [CaptionInputs(**{k: v for key in member for k, v in found[key].items()}) for member in self._members]

    def _choose(self, loaded: LoadedModel) -> list[Hashable]:
        """The parts that a captioner needs."""
        network: Any = loaded.model
        keys, has_regions = self._choose_grid(loaded) if network.backbone is None else (self._picture(loaded), False)
        if network.windows is None and not has_regions:
            keys.append(self._choose_regions(loaded))
        return keys

    def _picture(self, loaded: LoadedModel) -> list[Hashable]:
        data = loaded.recipe.data
        return [self._part(("picture", _view(loaded)), lambda: picture_part(data, self.device))]

    def _choose_grid(self, loaded: LoadedModel) -> tuple[list[Hashable], bool]:
        """What gives the grid, and whether it gives the regions too."""
        recipe, weights, device = loaded.recipe, _path(self.sources.backbone_weights), self.device
        width, slots = _method(loaded).grid_width, recipe.data.max_regions
        path = _path(self.sources.grid) or (recipe.data.grid_features if self.sources.of_data else None)
        if path is not None:
            return [self._part(("grid file", path), lambda: stored_grid_part(path, width, device))], False
        facts, region = _facts(loaded, "grid"), _facts(loaded, "region")
        key: Hashable
        if facts is None:
            key = ("encoded grid", repr(recipe.backbone), _view(loaded))
            return [self._part(key, lambda: encoded_grid_part(recipe, weights, width, device))], False
        has_windows = self.sources.regions is None and region is not None and are_windows_of(region, facts)
        windows = region if has_windows else None
        key = ("extracted grid", repr(facts), repr(windows), slots)
        return [self._part(key, lambda: extracted_grid_part(facts, windows, weights, slots, device))], has_windows

    def _choose_regions(self, loaded: LoadedModel) -> Hashable:
        """What gives the regions."""
        data, method, device = loaded.recipe.data, _method(loaded), self.device
        path = _path(self.sources.regions) or (data.region_features if self.sources.of_data else None)
        if path is not None:
            width = method.region_width
            return self._part(
                ("region file", path, data.max_regions),
                lambda: stored_regions_part(path, width, data.max_regions, device),
            )
        facts, weights = _facts(loaded, "region"), _path(self.sources.backbone_weights)
        if facts is None:
            raise InputError(
                "The model was trained on region features, and nothing says how these were made: regions of photos "
                "cannot be computed.",
                "Give a file of them with --region-features FILE.hdf5.",
            )
        key = ("extracted regions", repr(facts), data.max_regions)
        return self._part(key, lambda: extracted_regions_part(facts, weights, data.max_regions, device))

    def _part(self, key: Hashable, build: Callable[[], Part]) -> Hashable:
        if key not in self._parts:
            self._parts[key] = build()
        return key

    def _check_use(self) -> None:
        """Refuse files that nobody reads."""
        used = {str(key[0]) for key in self._parts if isinstance(key, tuple)}
        computes = used & {"encoded grid", "extracted grid", "extracted regions"}
        for option, path, needed in (
            ("--grid-features", self.sources.grid, "grid file" in used),
            ("--region-features", self.sources.regions, "region file" in used),
            ("--backbone-weights", self.sources.backbone_weights, bool(computes)),
        ):
            if path is not None and not needed:
                raise InputError(f"{option} {path} has no use: no feature of this kind is read.", "Leave it out.")


def _path(place: str | Path | None) -> Path | None:
    return None if place is None else Path(place)


def _facts(loaded: LoadedModel, kind: str) -> dict[str, Any] | None:
    """What made the features that the model was trained on; None where nobody knows."""
    return (loaded.facts.get("features") or {}).get(kind)


def _method(loaded: LoadedModel) -> Any:
    """The model's section, which knows the widths of the features it reads."""
    return loaded.recipe.model


def _view(loaded: LoadedModel) -> tuple[Any, ...]:
    """How images become tensors."""
    data = loaded.recipe.data
    return data.height_width, data.resize, data.normalization, data.pixels
