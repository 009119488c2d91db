"""The `visualize` verb: a run, a model or a recipe → figures in files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hlcli.data.labels import LabelSpace
from hlcli.data.records import Records
from hlcli.data.store import StoreSplit, open_label_space, open_records
from hlcli.errors import InputError
from hlcli.recipe import Recipe
from hlcli.runs import Run
from hlcli.visualization.branches import find_branches, keep_branches
from hlcli.visualization.curves import curves_figure
from hlcli.visualization.labels import label_tree_figure
from hlcli.visualization.saving import check_format, save_figure

if TYPE_CHECKING:
    from hlcli.prediction import Failure

OPTIONS = {
    "curves": (),
    "labels": ("split", "labels", "recipe"),
    "levels": ("images", "split", "labels", "top_k", "recipe"),
}
"""The kinds of figures, and what each can be asked for besides its folder and format."""


class Figures(NamedTuple):
    """The files that were written, and the images that could not be decoded."""

    files: list[Path]
    failures: list[Failure]


def visualize(
    kind: str,
    model: str | Path,
    *,
    images: Sequence[Path] = (),
    split: str | None = None,
    labels: Sequence[str] = (),
    top_k: int | None = None,
    recipe: Recipe | None = None,
    out: Path | None = None,
    file_format: str = "png",
) -> Figures:
    """Draw figures and write them to files.

    Args:
        kind: `curves` (how a run went), `labels` (the label tree with counts), `levels` (where the model looks).
        model: a run folder; for `labels` and `levels` also a model folder; for `labels` also a recipe, for
            `levels` also an upstream checkpoint (then with `recipe`).
        images: for `levels`: files, folders and patterns; default some images of a split.
        split: for `labels` the split that is counted, default train; for `levels` the split that images are
            taken from, default test where there is one.
        labels: names of labels on any level: draw nothing but them, their parents and their children.
        top_k: for `levels`: this many labels of each level; default 1.
        recipe: says where the data is, or what an upstream checkpoint is; default the model's own.
        out: folder for the files; default `figures` inside the run or model folder, else `./figures`.
        file_format: png, svg or pdf.

    Raises:
        InputError: for an unknown kind, or options that it has no use for.
        MissingDependencyError: when matplotlib is not installed.
    """
    given = {"images": images, "split": split, "labels": labels, "top_k": top_k, "recipe": recipe}
    check_options(kind, [name for name, value in given.items() if value])
    check_format(file_format)
    folder = figures_folder(model) if out is None else out
    if kind == "curves":
        return Figures([draw_curves(Path(model), folder, file_format)], [])
    if kind == "labels":
        return Figures([draw_labels(recipe or recipe_of(model), folder, file_format, split=split, names=labels)], [])
    from hlcli.level_figures import draw_levels  # the only kind that needs torch

    files, failures = draw_levels(
        model, folder, file_format, recipe=recipe, images=images, split=split, names=labels, top_k=top_k or 1
    )
    return Figures(files, failures)


def check_options(kind: str, given: Sequence[str]) -> None:
    """Refuse an unknown kind, and options that a kind has no use for.

    Raises:
        InputError: naming what there is instead.
    """
    if kind not in OPTIONS:
        near = difflib.get_close_matches(kind, OPTIONS, n=1)
        raise InputError(
            f"There is no figure {kind!r}; there are {', '.join(OPTIONS)}.",
            f"Did you mean {near[0]}?" if near else None,
        )
    for name in given:
        if name not in OPTIONS[kind]:
            users = [other for other, options in OPTIONS.items() if name in options]
            raise InputError(f"{kind} has no use for --{name.replace('_', '-')}; it is for {' and '.join(users)}.")
    if "images" in given and "split" in given:
        raise InputError("--images and --split exclude each other.", "Leave one of them out.")


def figures_folder(model: str | Path) -> Path:
    """Where figures go when nobody says."""
    return Path(model) / "figures" if Path(model).is_dir() else Path("figures")


def recipe_of(model: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a run folder or a model folder, or a recipe that was named itself.

    Raises:
        InputError: when there is none.
    """
    path = Path(model)
    if (path / "recipe.yaml").is_file():
        return Recipe.from_yaml(path / "recipe.yaml", overrides)
    if not path.is_dir():
        return Recipe.from_yaml(model, overrides)
    from hlcli.model_folder import open_model  # a run folder or a recipe needs no torch

    return Recipe.from_dict(open_model(path).recipe.to_dict(), overrides, source=f"recipe of {model}")


def draw_curves(folder: Path, out: Path, file_format: str) -> Path:
    """Losses, learning rate and metrics of a run.

    Raises:
        CheckpointError: when the folder is not a run.
        InputError: when the run has recorded nothing yet.
    """
    run = Run(folder)
    recipe = Recipe.from_yaml(run.recipe_path())
    events = run.events()
    if not events:
        raise InputError(f"{run.metrics_file} is empty.", "Wait until the run has made its first steps.")
    figure = curves_figure(events, select_by=recipe.eval.select_by, title=str(folder))
    return save_figure(figure, out, "curves", file_format)


def draw_labels(
    recipe: Recipe, out: Path, file_format: str, *, split: str | None = None, names: Sequence[str] = ()
) -> Path:
    """The label tree of a recipe's data set, with the number of images of every label."""
    split = split or "train"
    labels = open_label_space(recipe.data)
    records = open_records(recipe.data, split)
    counts = count_labels(records, labels)
    if names:
        branches = find_branches(labels, names)
        labels = keep_branches(labels, branches)
        counts = [[level[i] for i in kept] for level, kept in zip(counts, branches, strict=True)]
    title = f"{recipe.data.name}: labels of {len(records):,} images ({split})"
    return save_figure(label_tree_figure(labels, counts, title=title), out, "labels", file_format)


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
