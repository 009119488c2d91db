"""Figures of where a model looks for chosen labels: images → scores and maps → a page per image."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hlcli.data.failures import Failure
from hlcli.data.labels import LabelSpace
from hlcli.errors import InputError, nearest
from hlcli.figures.files import Figures, file_stems, number_repeated
from hlcli.figures.images import (
    IMAGES_OF_A_SPLIT,
    Item,
    Look,
    Photo,
    check_offers,
    choose_images,
    label_map,
    levels_with_maps,
    look_at,
    shrink,
)
from hlcli.figures.pages import draw_groups
from hlcli.files import whole_file
from hlcli.metrics.multilabel import LevelThreshold, above_threshold
from hlcli.models.opening import GivenModel, open_model
from hlcli.prediction.labels import Predictor
from hlcli.recipe import Recipe
from hlcli.visualization.attention import overlay, resize_bilinear
from hlcli.visualization.attention_page import attention_figure
from hlcli.visualization.branches import find_branches
from hlcli.visualization.saving import save_figure

TRUE, PREDICTED = "true", "predicted"
_JPEG_QUALITY = 95
_MOST_SUGGESTED = 6

_Place = tuple[int, int]
"""A label: depth of its level (0 is the coarsest), index on it."""


def draw_attention(
    model: GivenModel,
    out: Path,
    file_format: str,
    *,
    recipe: Recipe | None = None,
    images: Sequence[Path] = (),
    split: str | None = None,
    max_images: int | None = None,
    labels: Sequence[str] = (),
    level: str | None = None,
    raw: bool = False,
) -> Figures:
    """A page per image, `attention/NAME.png`: the photo, and the attention of every chosen label over it.

    Args:
        model: run folder, model folder or upstream checkpoint.
        out: folder for the folder `attention`.
        file_format: png, svg or pdf.
        recipe: where the data is, or what an upstream checkpoint is.
        images: files, folders and patterns.
        split: all its images; without one and without images, a few of test.
        max_images: so many of the images, evenly spread.
        labels: names, `true`, `predicted`; default the true ones, where nobody knows them the predicted ones.
        level: of the labels; default fine.
        raw: also write `attention/NAME/raw_image.jpg` and `_LABEL.jpg` of the size that the network sees.

    Returns:
        The files, and the images that could not be decoded (also listed in `attention.failures.jsonl`).

    Raises:
        InputError: when the method has no maps, for an unknown label or level, or when there are no images.
    """
    loaded = open_model(model, recipe)
    method = loaded.recipe.model
    check_offers(method, "level_maps", "attention per label")
    predictor = Predictor(loaded)
    wanted = find_wanted(loaded.labels, levels_with_maps(predictor, method), labels, level)
    if images and wanted.true:
        raise InputError(
            "--labels true: nobody knows the true labels of images.", "Give a --split, or `--labels predicted`."
        )
    count = max_images or (None if images or split else IMAGES_OF_A_SPLIT)
    items = choose_images(images, loaded.recipe, loaded.labels, split, count)
    size = loaded.recipe.data.height_width if raw else None
    page = _Page(out / "attention", file_format, loaded.labels, wanted, predictor.thresholds, size)
    stems = file_stems(items.names)

    def draw(_: int, found: list[tuple[int, Photo]], __: list[Failure]) -> list[Path]:
        looks = look_at(predictor, method, [image for _, (_, image) in found]) if found else []
        drawn = (page.draw(stems[number], photo, look) for (number, photo), look in zip(found, looks, strict=True))
        return [file for files in drawn for file in files]

    return draw_groups(items, draw, out / "attention.jsonl")


class Wanted(NamedTuple):
    """Which labels are shown: the true ones, the predicted ones (of a level), some by name; nothing: see `choose`."""

    depth: int
    true: bool
    predicted: bool
    named: tuple[_Place, ...]


def find_wanted(labels: LabelSpace, depths: range, words: Sequence[str], level: str | None) -> Wanted:
    """What somebody asks for, as places in the label space; names are looked for on the finest level first.

    Args:
        labels: the model's.
        depths: of the levels that have maps.
        words: names, `true` and `predicted`.
        level: the level; None stands for all for names, and for the finest for the others.

    Raises:
        InputError: for a level without maps, or a name that is on none.
    """
    levels = {labels.levels[depth].name: depth for depth in reversed(depths)}
    if level is not None and level not in levels:
        raise InputError(f"There are no maps on level {level!r}.", f"Choose from: {', '.join(reversed(levels))}.")
    searched = list(levels.values()) if level is None else [levels[level]]
    named = [_find_label(labels, searched, word) for word in words if word not in (TRUE, PREDICTED)]
    return Wanted(searched[0], TRUE in words, PREDICTED in words, tuple(named))


def _find_label(labels: LabelSpace, depths: Sequence[int], name: str) -> _Place:
    for depth in depths:
        if name in labels.levels[depth].label_names:
            return depth, labels.levels[depth].label_names.index(name)
    searched = " or ".join(labels.levels[depth].name for depth in depths)
    for level in labels.levels:
        if name in level.label_names:
            raise InputError(
                f"Label {name!r} is on level {level.name}; there are maps of level {searched}.",
                _suggest_children(labels, depths[0], name),
            )
    known = [label for depth in depths for label in labels.levels[depth].label_names]
    near = nearest(name, [*known, TRUE, PREDICTED])
    raise InputError(
        f"There is no label {name!r} on level {searched}.",
        f"Did you mean {near[0]!r}?" if near else "`hlcli visualize labels MODEL` shows all labels.",
    )


def _suggest_children(labels: LabelSpace, depth: int, name: str) -> str | None:
    """Ask for the labels of that level that lie below (or above) the one that has no map itself."""
    near = find_branches(labels, [name])[depth]
    names = [f"--labels {shlex.quote(labels.levels[depth].label_names[i])}" for i in near[:_MOST_SUGGESTED]]
    return f"Try {' '.join(names)}{' …' if len(near) > _MOST_SUGGESTED else ''}"


def choose(
    item: Item, look: Look, labels: LabelSpace, wanted: Wanted, thresholds: Sequence[LevelThreshold]
) -> tuple[_Place, ...]:
    """The labels to show of one image: the named ones as named, then true and predicted ones, best first.

    Where nothing was asked for: the true labels, or if there are none or nobody knows them, the predicted ones, which
    are those above the threshold of their level, or else the best one.
    """
    depth, scores = wanted.depth, look.scores[wanted.depth]
    truth = item.true_labels(labels, depth) or frozenset()
    automatic = not (wanted.true or wanted.predicted or wanted.named)
    found: set[int] = set(truth) if wanted.true or automatic else set()
    if wanted.predicted or (automatic and not truth):
        above = np.flatnonzero(above_threshold(scores[None], thresholds[depth])[0])
        found |= set(above.tolist()) if len(above) else {int(scores.argmax())}
    ranked = sorted(found, key=lambda label: (-scores[label], label))
    return tuple(dict.fromkeys([*wanted.named, *((depth, label) for label in ranked)]))


class _Page(NamedTuple):
    """How the files of one image are made; `raw_size` (height, width) asks for separate overlays too."""

    folder: Path
    file_format: str
    labels: LabelSpace
    wanted: Wanted
    thresholds: Sequence[LevelThreshold]
    raw_size: tuple[int, int] | None

    def draw(self, stem: str, photo: Photo, look: Look) -> list[Path]:
        """Write the page, and the overlays if they are asked for."""
        item, image = photo
        places = choose(item, look, self.labels, self.wanted, self.thresholds)
        maps = [label_map(photo, look, self.labels, *place) for place in places]
        true = item.true_labels(self.labels, self.wanted.depth)
        names = self.labels.levels[self.wanted.depth].label_names
        true_names = None if true is None else [names[label] for label in sorted(true)]
        figure = attention_figure(Path(item.name).name, shrink(image), maps, true_names)
        files = [save_figure(figure, self.folder, stem, self.file_format)]
        if self.raw_size is not None:
            resized = np.rint(resize_bilinear(np.asarray(image), self.raw_size)).astype(np.uint8)
            files.append(_save_jpeg(resized, self.folder / stem / "raw_image.jpg"))
            for name, label in zip(number_repeated([label.name for label in maps]), maps, strict=True):
                overlaid = overlay(resized, label.attention_map)
                files.append(_save_jpeg(overlaid, self.folder / stem / f"_{name}.jpg"))
        return files


def _save_jpeg(image: np.ndarray, path: Path) -> Path:
    with whole_file(path, "wb") as handle:
        Image.fromarray(image).save(handle, format="JPEG", quality=_JPEG_QUALITY)
    return path
