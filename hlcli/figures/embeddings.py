"""Figures of what a model finds alike: images and labels as points, and the nearest neighbours of each."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from hlcli.data.failures import Failure, write_failures
from hlcli.data.labels import LabelSpace
from hlcli.embeddings.neighbours import Neighbours, nearest_neighbours
from hlcli.embeddings.projection import Projection, check_projection, project
from hlcli.errors import InputError, nearest
from hlcli.evaluation.labels import default_split
from hlcli.figures.files import Figures, remove_older
from hlcli.figures.image_vectors import ImageVectors, image_vectors
from hlcli.figures.images import Items, choose_images, shrink
from hlcli.files import whole_file
from hlcli.models.opening import GivenModel, open_model
from hlcli.prediction.labels import Predictor
from hlcli.recipe import Recipe
from hlcli.visualization.embeddings import group_points, points_figure
from hlcli.visualization.neighbours import Thumbnail, neighbours_figure
from hlcli.visualization.saving import save_figure

_MOST_IMAGES = 1000
_QUERIES = 6
_READING = "Near is alike; long distances and directions mean little."
_READING_AXES = "Near may still differ in other directions."
_TABLE = "neighbours.csv"
_HEADER = ("kind", "name", "rank", "neighbour", "cosine")


def draw_embeddings(
    model: GivenModel,
    out: Path,
    file_format: str,
    *,
    recipe: Recipe | None = None,
    images: Sequence[Path] = (),
    split: str | None = None,
    max_images: int | None = None,
    level: str | None = None,
    top_k: int = 5,
    projection: str = "tsne",
) -> Figures:
    """Images as points, labels as points, and who is nearest to whom.

    `embeddings-images.png` and `embeddings-labels.png`, `embeddings-neighbours.png` with a few photos and those most
    like them, and `neighbours.csv` with the nearest neighbours of every image and every fine label. A vector of an
    image is the mean of its grid features.

    Args:
        model: run folder, model folder or upstream checkpoint.
        out: folder for the files.
        file_format: png, svg or pdf.
        recipe: where the data is, or what an upstream checkpoint is.
        images: files, folders and patterns.
        split: where images are taken from; default test where there is one.
        max_images: so many of the images, evenly spread; default 1,000.
        level: whose labels colour the images; default the coarsest.
        top_k: so many neighbours.
        projection: tsne, umap or pca.

    Returns:
        The files, and the images that could not be decoded (also listed in `embeddings.failures.jsonl`).

    Raises:
        InputError: for a model of captions, an unknown level or projection, or fewer than two images.
        MissingDependencyError: for umap, where it is not installed.
    """
    check_projection(projection)
    loaded = open_model(model, recipe)
    predictor = Predictor(loaded)
    depth = _find_level(loaded.labels, level)
    items = choose_images(images, loaded.recipe, loaded.labels, split, max_images or _MOST_IMAGES)
    if len(items) < 2:
        raise InputError("One image has no neighbours.", "Give several, or leave --max-images out.")
    source = "" if images else f" of {loaded.recipe.data.title} ({split or default_split(loaded.recipe)})"
    return _draw(predictor, items, _Page(out, file_format, projection, loaded.labels), depth, top_k, source)


def _draw(predictor: Predictor, items: Items, page: _Page, depth: int, top_k: int, source: str) -> Figures:
    """All figures and the table; `source` says in a heading where the images are from."""
    failures: list[Failure] = []
    found = image_vectors(predictor, items, failures)
    files, table = [], []
    if len(found.items) > 1:
        near = nearest_neighbours(found.vectors, top_k)
        table += _rows("image", [item.name for item in found.items], near)
        files += [page.draw_images(found, depth, source), page.draw_neighbours(items, found, near, source)]
    vectors = _label_vectors(predictor)
    if vectors is not None and len(vectors) > 1:
        table += _rows("label", page.labels.label_names, nearest_neighbours(vectors, top_k))
        files.append(page.draw_labels(vectors, predictor.loaded.recipe.data.title))
    if table:
        files.append(_write_table(page.out / _TABLE, table))
    else:  # an older one would be taken for that of these images
        (page.out / _TABLE).unlink(missing_ok=True)
    listed = write_failures(page.out / "embeddings.jsonl", failures)
    remove_older(page.out, page.file_format, r"embeddings-(images|labels|neighbours)", files)
    return Figures(files, failures, listed)


class _Page(NamedTuple):
    """How the figures are made."""

    out: Path
    file_format: str
    projection: str
    labels: LabelSpace

    def draw_images(self, found: ImageVectors, depth: int, source: str) -> Path:
        """Images as points, coloured by a label of that level."""
        level = self.labels.levels[depth]
        knows = found.items[0].labels is not None
        colour = (
            f"the true {level.name} label, of several the one with the highest score"
            if knows
            else f"the {level.name} label with the highest score"
        )
        points = project(found.vectors, self.projection)
        groups = group_points(colour_labels(found, self.labels, depth), level.label_names)
        if len(groups) == 1:  # then there is no legend
            colour += f"; here always {groups[0].name}"
        figure = points_figure(
            f"{len(found.items):,} images{source}: the model sees neighbours as alike",
            [f"{points.name} of the image features. {_reading(points)}", f"Colour and shape: {colour}."],
            points.points,
            groups,
            axis_names=points.axes,
        )
        return save_figure(figure, self.out, "embeddings-images", self.file_format)

    def draw_labels(self, vectors: np.ndarray, data: str) -> Path:
        """Fine labels as points, coloured by the coarsest level above them."""
        top = self.labels.levels[0]
        has_parents = len(self.labels.levels) > 1
        points = project(vectors, self.projection)
        above = [self.labels.ancestors(label)[0] if has_parents else 0 for label in range(len(vectors))]
        figure = points_figure(
            f"{len(vectors):,} labels of {data}: the model holds neighbours for alike",
            [
                f"{points.name} of what labels are scored with. {_reading(points)}",
                *[f"Colour and shape: the {top.name} label above."] * has_parents,
            ],
            points.points,
            group_points(above, top.label_names),
            names=self.labels.label_names,
            axis_names=points.axes,
        )
        return save_figure(figure, self.out, "embeddings-labels", self.file_format)

    def draw_neighbours(self, items: Items, found: ImageVectors, near: Neighbours, source: str) -> Path:
        """A few photos, each with those that are most like it."""
        queries = np.unique(np.linspace(0, len(found.items) - 1, num=_QUERIES).round().astype(int)).tolist()
        lists = [[query, *near.numbers[query].tolist()] for query in queries]
        shown = sorted({found.numbers[row] for rows in lists for row in rows})
        images = {number: shrink(image) for number, (_, image) in items.photos(shown, [])}
        rows = []
        for query, numbers in zip(queries, lists, strict=True):
            cosines = ["", *(f"{cosine:.2f}" for cosine in near.cosine[query])]
            rows.append(
                [
                    Thumbnail(
                        Path(found.items[row].name).name,
                        images[found.numbers[row]],
                        " · ".join(filter(None, [cosine, self._words(found, row)])),
                    )
                    for row, cosine in zip(numbers, cosines, strict=True)
                ]
            )
        known = all(found.items[row].labels is not None for numbers in lists for row in numbers)
        figure = neighbours_figure(
            f"Images{source} and those that the model sees as most alike",
            [
                f"Left: {len(rows)} of {len(found.items):,} images. Right: their nearest, each with its cosine.",
                f"Below the name: {'the true labels' if known else 'the label with the highest score'}.",
            ],
            rows,
        )
        return save_figure(figure, self.out, "embeddings-neighbours", self.file_format)

    def _words(self, found: ImageVectors, row: int) -> str:
        """The true fine labels of an image, or where nobody knows them the best one."""
        truth, names = found.items[row].labels, self.labels.label_names
        best = [int(found.scores[-1][row].argmax())]
        return ", ".join(names[label] for label in (best if truth is None else truth)) or "no label"


def _reading(points: Projection) -> str:
    return _READING_AXES if points.axes else _READING


def colour_labels(found: ImageVectors, labels: LabelSpace, depth: int) -> list[int | None]:
    """The label of every image that colours it: of the true ones, or where nobody knows them of all, the best one."""
    chosen = []
    for item, scores in zip(found.items, found.scores[depth], strict=True):
        truth = item.true_labels(labels, depth)
        among = range(len(scores)) if truth is None else sorted(truth)
        chosen.append(max(among, key=lambda label: scores[label], default=None))
    return chosen


def _find_level(labels: LabelSpace, name: str | None) -> int:
    """Depth of the level; the coarsest, where nobody names one."""
    names = [level.name for level in labels.levels]
    if name is None:
        return 0
    if name not in names:
        near = nearest(name, names)
        raise InputError(
            f"There is no level {name!r}.",
            f"Did you mean {near[0]!r}?" if near else f"Choose from: {', '.join(names)}.",
        )
    return names.index(name)


@torch.inference_mode()
def _label_vectors(predictor: Predictor) -> np.ndarray | None:
    """What the method has of fine labels, [L, D]; None where it has nothing."""
    with predictor.autocast():
        vectors = predictor.loaded.recipe.model.label_vectors(predictor.model)
    return None if vectors is None else vectors.float().cpu().numpy()


def _rows(kind: str, names: Sequence[str], near: Neighbours) -> list[tuple[str, str, int, str, str]]:
    """Lines of the table."""
    return [
        (kind, names[row], rank, names[other], f"{cosine:.6f}")
        for row, (others, cosines) in enumerate(zip(near.numbers.tolist(), near.cosine.tolist(), strict=True))
        for rank, (other, cosine) in enumerate(zip(others, cosines, strict=True), start=1)
    ]


def _write_table(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with whole_file(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows(rows)
    return path
