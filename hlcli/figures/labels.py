"""Figures of a data set's labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hlcli.data.labels import LabelSpace
from hlcli.data.records import Records
from hlcli.data.store import StoreSplit, open_label_space, open_records
from hlcli.figures.files import Figures
from hlcli.hub.names import hub_name
from hlcli.plain_text import counted
from hlcli.recipe import Recipe
from hlcli.visualization.branches import find_branches, keep_branches
from hlcli.visualization.labels import label_tree_figure
from hlcli.visualization.saving import save_figure

if TYPE_CHECKING:
    from hlcli.models.opening import GivenModel


def draw_labels(
    model: GivenModel,
    out: Path,
    file_format: str,
    *,
    recipe: Recipe | None = None,
    split: str | None = None,
    labels: Sequence[str] = (),
) -> Figures:
    """The label tree of a data set, with the number of images of every label: `labels.png`.

    Args:
        model: run folder, model folder, loaded model or recipe whose data set it is.
        out: folder for the file.
        file_format: png, svg or pdf.
        recipe: says what the data is instead.
        split: whose images are counted; default train.
        labels: names on any level: only these, what is above and what is below them.
    """
    recipe = recipe or recipe_of(model)
    split = split or "train"
    space = open_label_space(recipe.data).require_labels(recipe.data.name)
    records = open_records(recipe.data, split)
    counts = count_labels(records, space)
    if labels:
        branches = find_branches(space, labels)
        space = keep_branches(space, branches)
        counts = [[level[i] for i in kept] for level, kept in zip(counts, branches, strict=True)]
    title = f"{recipe.data.title}: labels of {counted(len(records), 'image')} ({split})"
    return Figures([save_figure(label_tree_figure(space, counts, title=title), out, "labels", file_format)])


def recipe_of(model: GivenModel, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a loaded model, a run folder or a model folder, or a recipe that was named itself.

    Raises:
        InputError: when there is none.
    """
    if not isinstance(model, str | Path):
        return model.recipe.changed(overrides, source="recipe of the model")
    path = Path(model)
    if hub_name(model) is not None:
        return _of_model(model, overrides)
    if (path / "recipe.yaml").is_file():
        return Recipe.from_yaml(path / "recipe.yaml", overrides)
    if not path.is_dir():
        return Recipe.from_yaml(model, overrides)
    return _of_model(model, overrides)


def _of_model(model: str | Path, overrides: Sequence[str]) -> Recipe:
    from hlcli.models.folder import read_model  # a run folder or a recipe needs no torch

    return read_model(model).recipe.changed(overrides, source=f"recipe of {model}")


def count_labels(records: Records, labels: LabelSpace) -> list[list[int]]:
    """Images of every label of every level, coarse → fine; a parent counts an image once."""
    counts = [[0] * size for size in labels.level_sizes]
    rows = records.labels() if isinstance(records, StoreSplit) else (record.labels for record in records)
    paths = [(*labels.ancestors(label), label) for label in range(labels.num_labels)]
    for row in rows:
        for depth, present in enumerate(zip(*(paths[label] for label in row), strict=True)):
            for label in set(present):
                counts[depth][label] += 1
    return counts
