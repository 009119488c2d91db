"""Figures of where a model looks on every level: images → scores and maps → pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hlcli.data.labels import LabelSpace
from hlcli.figures.files import Figures
from hlcli.figures.images import (
    IMAGES_OF_A_SPLIT,
    Look,
    Photo,
    check_offers,
    choose_images,
    label_map,
    look_at,
    shrink,
)
from hlcli.figures.pages import draw_pages
from hlcli.methods.base import MethodSection
from hlcli.models.opening import GivenModel, open_model
from hlcli.prediction.labels import Predictor
from hlcli.recipe import Recipe
from hlcli.visualization.branches import Branches, find_branches
from hlcli.visualization.levels import Example, levels_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS_PER_PAGE = 6


def draw_levels(
    model: GivenModel,
    out: Path,
    file_format: str,
    *,
    recipe: Recipe | None = None,
    images: Sequence[Path] = (),
    split: str | None = None,
    max_images: int | None = None,
    labels: Sequence[str] = (),
    top_k: int = 1,
) -> Figures:
    """Photos with the attention of each level's best labels: pages `levels.png`, or `levels-1.png`, ….

    Args:
        model: run folder, model folder or upstream checkpoint.
        out: folder for the pages.
        file_format: png, svg or pdf.
        recipe: where the data is, or what an upstream checkpoint is.
        images: files, folders and patterns; default some images of a split.
        split: where they are taken from; default test where there is one.
        max_images: so many of the images, evenly spread; default all that are named, six of a split.
        labels: names on any level: no others but these, what is above and what is below them.
        top_k: so many labels of each level.

    Returns:
        The files, and the images that could not be decoded (also listed in `levels.failures.jsonl`).

    Raises:
        InputError: when the method has no such maps, or there are no images.
    """
    loaded = open_model(model, recipe)
    method = loaded.recipe.model
    check_offers(method, "level_maps", "attention per label")
    branches = find_branches(loaded.labels, labels) if labels else None
    count = max_images or (None if images else IMAGES_OF_A_SPLIT)
    items = choose_images(images, loaded.recipe, loaded.labels, split, count)
    predictor = Predictor(loaded)

    def draw(photos: Sequence[Photo]) -> Figure:
        examples = find_examples(predictor, method, photos, branches, top_k)
        shown = loaded.labels.levels[-len(examples[0].levels) :]
        return levels_figure(examples, [level.name for level in shown])

    return draw_pages(items, max(1, _ROWS_PER_PAGE // top_k), draw, out, "levels", file_format)


def find_examples(
    predictor: Predictor,
    method: MethodSection,
    photos: Sequence[Photo],
    branches: Branches | None = None,
    top_k: int = 1,
) -> list[Example]:
    """Score decoded images; keep the best labels (within the branches) of every level that has maps."""
    labels = predictor.labels
    looks = look_at(predictor, method, [image for _, image in photos])
    chosen = branches or tuple(tuple(range(size)) for size in labels.level_sizes)
    return [_make_example(photo, look, labels, chosen, top_k) for photo, look in zip(photos, looks, strict=True)]


def _make_example(photo: Photo, look: Look, labels: LabelSpace, branches: Branches, top_k: int) -> Example:
    """One image with its best labels."""
    item, image = photo
    depths = range(len(labels.levels) - len(look.maps), len(labels.levels))
    levels = []
    for depth in depths:
        allowed, scores = list(branches[depth]), look.scores[depth]
        best = [allowed[i] for i in np.argsort(-scores[allowed], kind="stable")[:top_k]]
        levels.append(tuple(label_map(photo, look, labels, depth, label) for label in best))
    names = None if item.labels is None else tuple(labels.label_names[label] for label in item.labels)
    return Example(Path(item.name).name, shrink(image), tuple(levels), names)
