"""Figures of where a model looks: images → scores and maps of every level → pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from PIL import Image

from hlcli.data.image_files import find_images
from hlcli.data.images import load_image
from hlcli.data.labels import LabelSpace
from hlcli.data.records import ImageSource
from hlcli.data.store import open_records, split_names
from hlcli.errors import DataError, InputError
from hlcli.evaluation import check_labels
from hlcli.methods.base import MethodSection
from hlcli.model_folder import open_model
from hlcli.prediction import Failure, Predictor
from hlcli.prediction_files import write_failures
from hlcli.progress import Progress
from hlcli.recipe import Recipe
from hlcli.scoring import level_scores
from hlcli.visualization.branches import Branches, find_branches
from hlcli.visualization.levels import Example, LabelMap, levels_figure
from hlcli.visualization.saving import save_figure

IMAGES_OF_A_SPLIT = 6
ROWS_PER_PAGE = 6
PHOTO_SIDE = 640
"""Longer side in pixels of the photos in a figure; the model sees the original."""


class Item(NamedTuple):
    """An image to draw; labels are the indices of its fine ones, None where nobody knows them."""

    name: str
    source: ImageSource
    labels: tuple[int, ...] | None = None


def draw_levels(
    model: str | Path,
    out: Path,
    file_format: str,
    *,
    recipe: Recipe | None = None,
    images: Sequence[Path] = (),
    split: str | None = None,
    names: Sequence[str] = (),
    top_k: int = 1,
) -> tuple[list[Path], list[Failure]]:
    """Photos with the attention of each level's best labels: pages `levels.png`, or `levels-1.png`, ….

    Returns:
        The files, and the images that could not be decoded (also listed in `levels.failures.jsonl`).

    Raises:
        InputError: when the method has no such maps, or there are no images.
    """
    loaded = open_model(model, recipe)
    check_has_maps(loaded.recipe.model)
    branches = find_branches(loaded.labels, names) if names else None
    if images:
        items = [Item(str(path), path) for path in find_images(images)]
    else:
        items = some_items(recipe or loaded.recipe, loaded.labels, split)
    per_page = max(1, ROWS_PER_PAGE // top_k)
    pages = [items[start : start + per_page] for start in range(0, len(items), per_page)]
    files: list[Path] = []
    failures: list[Failure] = []
    predictor = Predictor(loaded)
    with Progress("Drawing", total=len(items), unit="image") as bar:
        for number, page in enumerate(pages, start=1):
            photos = list(_decode(page, failures))
            if photos:
                figure = levels_figure(
                    find_examples(predictor, loaded.recipe.model, photos, branches, top_k),
                    [level.name for level in loaded.labels.levels],
                )
                name = "levels" if len(pages) == 1 else f"levels-{number:0{len(str(len(pages)))}}"
                files.append(save_figure(figure, out, name, file_format))
            bar.advance(len(page))
    _remove_older_pages(out, file_format, files)
    write_failures(out / "levels.jsonl", failures)
    return files, failures


def _remove_older_pages(folder: Path, file_format: str, files: Sequence[Path]) -> None:
    """Pages of an earlier call would be taken for pages of this one."""
    for path in folder.glob(f"levels*.{file_format}"):
        if path not in files and re.fullmatch(r"levels(-\d+)?", path.stem):
            path.unlink()


def check_has_maps(method: MethodSection) -> None:
    """Refuse a method without a map per label.

    Raises:
        InputError: naming the methods that have them.
    """
    if type(method).level_maps is not MethodSection.level_maps:
        return
    annotation = Recipe.model_fields["model"].annotation
    able = [
        str(section.model_fields["method"].default)
        for section in get_args(annotation) or (annotation,)
        if section.level_maps is not MethodSection.level_maps
    ]
    raise InputError(
        f"A model of method {getattr(method, 'method', type(method).__name__)} has no attention per label and level.",
        f"Methods that have: {', '.join(able)}.",
    )


def some_items(recipe: Recipe, labels: LabelSpace, split: str | None) -> list[Item]:
    """A few images, evenly spread over a split; default test where there is one, else the recipe's own.

    Raises:
        DataError: when the split does not exist, or the data set has other labels.
    """
    check_labels(recipe, labels)
    split = split or ("test" if "test" in split_names(recipe.data) else recipe.eval.split)
    records = open_records(recipe.data, split)
    if not len(records):
        raise DataError(f"Split {split!r} has no images.")
    rows = np.linspace(0, len(records) - 1, num=min(IMAGES_OF_A_SPLIT, len(records))).round().astype(int)
    chosen = [records[row] for row in rows.tolist()]
    return [Item(record.image_id, record.image, record.labels) for record in chosen]


def find_examples(
    predictor: Predictor,
    method: MethodSection,
    photos: Sequence[tuple[Item, Image.Image]],
    branches: Branches | None = None,
    top_k: int = 1,
) -> list[Example]:
    """Score decoded images; keep the best labels of every level (within the branches) with their maps."""
    labels = predictor.labels
    batch = torch.stack([predictor.transform(image) for _, image in photos]).to(predictor.accelerator.device)
    with torch.inference_mode(), predictor.accelerator.autocast():
        found = method.level_maps(predictor.model, predictor.normalize(batch))
    assert found is not None
    scores = level_scores(found, labels, consistent=predictor.is_consistent)
    maps = [level.float().cpu().numpy() for level in found.attention_maps]
    chosen = branches or tuple(tuple(range(size)) for size in labels.level_sizes)
    return [
        _make_example(item, image, [level[i] for level in scores], [level[i] for level in maps], labels, chosen, top_k)
        for i, (item, image) in enumerate(photos)
    ]


def _make_example(
    item: Item,
    image: Image.Image,
    scores: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    labels: LabelSpace,
    branches: Branches,
    top_k: int,
) -> Example:
    """One image with its best labels; scores [L] and maps [L, h, w] per level."""
    truth = None if item.labels is None else [(*labels.ancestors(label), label) for label in item.labels]
    levels = []
    for depth, level in enumerate(labels.levels):
        allowed = list(branches[depth])
        best = [allowed[i] for i in np.argsort(-scores[depth][allowed], kind="stable")[:top_k]]
        true_here = None if truth is None else {path[depth] for path in truth}
        levels.append(
            tuple(
                LabelMap(
                    level.label_names[label],
                    float(scores[depth][label]),
                    maps[depth][label],
                    None if true_here is None else label in true_here,
                )
                for label in best
            )
        )
    photo = image.copy()
    photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    names = None if item.labels is None else tuple(labels.label_names[label] for label in item.labels)
    return Example(Path(item.name).name, np.asarray(photo), tuple(levels), names)


def _decode(items: Sequence[Item], failures: list[Failure]) -> Iterator[tuple[Item, Image.Image]]:
    """Decode what can be decoded, list the rest."""
    for item in items:
        try:
            yield item, load_image(item.source, name=item.name)
        except DataError as error:
            failures.append(Failure(item.name, error.message))
