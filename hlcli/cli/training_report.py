"""What `hlcli train` shows before and after training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hlcli.launching import is_first_process

if TYPE_CHECKING:
    from hlcli.methods.base import MethodSection
    from hlcli.recipe import Recipe
    from hlcli.runs import Run


def read_recipe(recipe: str | None, overrides: Sequence[str], run_dir: Path | None) -> Recipe:
    """The recipe that was named, or that of a run to resume.

    Raises:
        InputError: when neither is given.
    """
    from hlcli.errors import InputError
    from hlcli.recipe import Recipe
    from hlcli.runs import Run

    if recipe is not None:
        return Recipe.from_yaml(recipe, overrides)
    if run_dir is None:
        raise InputError(
            "No recipe was given.", "Give --recipe FILE (see `hlcli recipes list`), or --run DIR --resume."
        )
    return Recipe.from_yaml(Run(run_dir).recipe_path(), overrides)


def show_plan(recipe: Recipe, num_processes: int = 1) -> None:
    """The resolved recipe on stdout, what it would cost on stderr."""
    from hlcli.training.planning import plan

    costs = plan(recipe, num_processes)
    typer.echo(recipe.to_yaml(), nl=False)
    for line in costs.lines():
        typer.echo(line, err=True)


def show_run(run: Run, *, as_json: bool) -> None:
    """The best model's metrics, and what to do next."""
    if not is_first_process():
        return
    facts = run.best_model()
    if as_json:
        typer.echo(json.dumps({"run": str(run.folder), **facts}, ensure_ascii=False))
        return
    from rich.console import Console

    from hlcli.recipe import Recipe
    from hlcli.report import numbers_table, scores_table

    recipe = Recipe.from_yaml(run.recipe_path())
    title = f"Best model: {facts['weights']} weights of epoch {facts['epoch']}, on {facts['split']}"
    table = scores_table if recipe.model.task == "captions" else numbers_table
    Console().print(table(facts["metrics"], title=title))
    typer.echo(f"Run folder: {run.folder}", err=True)
    for command in _next_commands(recipe, facts["split"]):
        typer.echo(f"Next: hlcli {command.format(run.folder)}", err=True)


def _next_commands(recipe: Recipe, evaluated: str) -> list[str]:
    """What to do with a run of a recipe, its folder being `{}`; `evaluated` is the split of its metrics."""
    if recipe.model.task == "captions":
        return [
            f"caption {{}} --split {_unseen_split(recipe, evaluated)}",
            "caption {} FOLDER",
            "visualize captions {}",
        ]
    figures = [f"visualize {kind} {{}}" for kind in _telling_figures(recipe.model)]
    return ["eval {}", "eval {} --images FOLDER", *figures]


def _unseen_split(recipe: Recipe, evaluated: str) -> str:
    """`test` where the data set has it, else the split of the metrics."""
    from hlcli.data.store import split_names
    from hlcli.errors import HlcliError

    try:
        return "test" if "test" in split_names(recipe.data) else evaluated
    except HlcliError:  # the run is there, its data no longer
        return evaluated


def _telling_figures(method: MethodSection) -> list[str]:
    """The kinds of figures that show most of a model of a method."""
    from hlcli.methods.base import MethodSection

    kinds = []
    if type(method).level_maps is not MethodSection.level_maps:
        kinds.append("levels" if method.maps_every_level else "attention")
    if type(method).cooccurrence is not MethodSection.cooccurrence:
        kinds.append("scenes")
    return kinds or ["curves"]
