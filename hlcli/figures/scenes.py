"""Figures of the scenes that a model tells apart: its counts → clouds and heat maps; images → their scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hlcli.data.labels import LabelSpace
from hlcli.errors import InputError
from hlcli.figures.files import Figures, remove_older, safe_name
from hlcli.figures.images import Items, Photo, check_offers, choose_images, shrink
from hlcli.figures.pages import draw_pages
from hlcli.metrics.scenes import heat_map, scene_label_shares
from hlcli.models.folder import LoadedModel
from hlcli.models.opening import GivenModel, open_model
from hlcli.plain_text import counted
from hlcli.prediction.labels import Predictor
from hlcli.progress import Progress
from hlcli.recipe import Recipe
from hlcli.visualization.branches import find_branches
from hlcli.visualization.label_groups import label_groups, most_frequent, tick_names, typical_labels
from hlcli.visualization.saving import save_figure
from hlcli.visualization.scene_strips import Strip, strips_figure
from hlcli.visualization.scenes import SceneSummary, arrange_words, heat_map_figure, overview_figure, words_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hlcli.data.section import DataSection

_STRIPS_PER_PAGE = 12
_NAMING_LABELS = 3
"""So many labels tell what a scene is about."""


def draw_scenes(
    model: GivenModel,
    out: Path,
    file_format: str,
    *,
    recipe: Recipe | None = None,
    images: Sequence[Path] = (),
    split: str | None = None,
    max_images: int | None = None,
    labels: Sequence[str] = (),
) -> Figures:
    """What the scenes of a model are about; with images or a split, which scene each image was given.

    Without images: `scenes.png` with all scenes, and per scene `scene-0-words.png` and `scene-0-GROUP.png`, a heat map
    per group of labels. With images: pages `scenes-of-images.png`, or `scenes-of-images-1.png`, ….

    Args:
        model: run folder, model folder or upstream checkpoint.
        out: folder for the files.
        file_format: png, svg or pdf.
        recipe: where the data is, or what an upstream checkpoint is.
        images: files, folders and patterns.
        split: all its images.
        max_images: so many of the images, evenly spread; without images and a split: of test.
        labels: names on any level: the labels (or those below them) of the heat maps.

    Returns:
        The files, and the images that could not be decoded (also listed in `scenes-of-images.failures.jsonl`).

    Raises:
        InputError: when the method has no scenes, or for labels that there are not.
    """
    loaded = open_model(model, recipe)
    check_offers(loaded.recipe.model, "cooccurrence", "scenes")
    counts = loaded.recipe.model.cooccurrence(loaded.model)
    assert counts is not None
    numbers = counts.detach().double().cpu().numpy()  # [S, L, L]
    if not (images or split or max_images):
        return draw_counts(numbers, loaded.labels, out, file_format, labels, data=loaded.recipe.data)
    if labels:
        raise InputError("--labels chooses labels of heat maps; images have none.", "Leave one of the two out.")
    items = choose_images(images, loaded.recipe, loaded.labels, split, max_images)
    return draw_images(loaded, items, scene_names(numbers, loaded.labels), out, file_format)


def draw_counts(
    counts: np.ndarray,
    labels: LabelSpace,
    out: Path,
    file_format: str,
    names: Sequence[str] = (),
    *,
    data: DataSection | None = None,
) -> Figures:
    """Clouds and heat maps of co-occurrence counts [S, L, L]; `data` may know which labels are drawn together."""
    chosen = find_branches(labels, names)[-1] if names else ()
    if len(chosen) == 1:
        raise InputError("A heat map needs at least two labels.", "Name another one with --labels.")
    seen = counts.diagonal(axis1=1, axis2=2)  # [S, L]
    shares, adjacency = scene_label_shares(counts), heat_map(counts)
    ticks = np.array(tick_names(labels, data.short_names if data else {}))
    together = data.drawn_together if data else {}
    summaries, files = [], []
    total = 1 + int(seen.any(axis=1).sum()) * (1 + len(label_groups(labels, seen[0], chosen, together)))
    with Progress("Drawing", total=total, unit="figure") as bar:

        def save(figure_of: str, figure: Figure) -> None:
            files.append(save_figure(figure, out, figure_of, file_format))
            bar.advance()

        for scene, title in enumerate(scene_titles(seen)):
            top = list(most_frequent(seen[scene], chosen))
            words = dict(zip(labels.label_names, shares[scene].tolist(), strict=True))
            cloud = arrange_words(words) if seen[scene].any() else None
            summaries.append(SceneSummary(title, cloud, ticks[top].tolist(), adjacency[scene][np.ix_(top, top)]))
            if cloud is None:
                continue
            save(f"scene-{scene}-words", words_figure(f"{title}, and which these are", cloud))
            for group in label_groups(labels, seen[scene], chosen, together):
                members = list(group.labels)
                cells = adjacency[scene][np.ix_(members, members)]
                heading = f"scene {scene}, {group.name}: which labels are seen together"
                figure = heat_map_figure(heading, ticks[members].tolist(), cells)
                save(f"scene-{scene}-{safe_name(group.name)}", figure)
        save("scenes", overview_figure(_title(len(counts)), summaries))
    files.insert(0, files.pop())
    remove_older(out, file_format, r"scenes|scene-\d+-.+", files)
    return Figures(files)


def _title(scenes: int) -> str:
    return f"{counted(scenes, 'scene')} of the model: whose labels they are, and which are seen together"


def scene_titles(seen: np.ndarray) -> list[str]:
    """`scene 0: 23 % of the labels seen in training`; seen [S, L]."""
    total = seen.sum()
    shares = seen.sum(axis=1) / total if total > 0 else np.zeros(len(seen))
    return [f"scene {scene}: {share:.0%} of the labels seen in training" for scene, share in enumerate(shares)]


def scene_names(counts: np.ndarray, labels: LabelSpace) -> list[str]:
    """`0: fish, fir, bird`: the labels with the largest share of their images in each scene."""
    typical = typical_labels(counts.diagonal(axis1=1, axis2=2))
    words = [", ".join(labels.label_names[label] for label in row[:_NAMING_LABELS]) for row in typical]
    return [f"{scene}: {text}" if text else str(scene) for scene, text in enumerate(words)]


def draw_images(loaded: LoadedModel, items: Items, names: Sequence[str], out: Path, file_format: str) -> Figures:
    """Pages of images with the probabilities of their scenes."""
    predictor = Predictor(loaded)

    def draw(photos: Sequence[Photo]) -> Figure | None:
        predictions = predictor.predict(image for _, image in photos)
        strips = [
            Strip(Path(item.name).name, shrink(image), prediction.scene.probs)
            for (item, image), prediction in zip(photos, predictions, strict=True)
            if prediction.scene is not None
        ]
        return strips_figure(strips, names) if strips else None

    return draw_pages(items, _STRIPS_PER_PAGE, draw, out, "scenes-of-images", file_format)
