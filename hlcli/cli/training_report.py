"""What `hlcli train` shows before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import hlcli
from hlcli import InputError
from hlcli.cli.json_output import print_json
from hlcli.launching import is_first_process

if TYPE_CHECKING:
    from hlcli import Recipe, Run


def read_recipe(recipe: str | None, overrides: Sequence[str], run_dir: Path | None) -> Recipe:
    """The recipe that was named, or that of a run to resume.

    Raises:
        InputError: when neither is given.
    """
    if recipe is not None:
        return hlcli.Recipe.from_yaml(recipe, overrides)
    if run_dir is None:
        raise InputError(
            "No recipe was given.", "Give --recipe FILE (see `hlcli recipes list`), or --run DIR --resume."
        )
    return hlcli.Recipe.from_yaml(hlcli.Run(run_dir).recipe_path(), overrides)


def show_plan(recipe: Recipe, num_processes: int = 1) -> None:
    """The resolved recipe on stdout, what it would cost on stderr."""
    costs = hlcli.plan_training(recipe, num_processes)
    typer.echo(recipe.to_yaml(), nl=False)
    for line in costs.lines():
        typer.echo(line, err=True)


def show_run(run: Run, *, as_json: bool) -> None:
    """The best model's metrics, and what to do next."""
    if not is_first_process():
        return
    facts = run.best_model()
    if as_json:
        print_json({"run": str(run.folder), **facts})
        return
    from rich.console import Console

    from hlcli.cli.tables import numbers_table, scores_table

    recipe = hlcli.Recipe.from_yaml(run.recipe_path())
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
    figures = []
    if recipe.model.offers("level_maps"):
        figures.append("levels" if recipe.model.maps_every_level else "attention")
    if recipe.model.offers("cooccurrence"):
        figures.append("scenes")
    return ["eval {}", "eval {} --images FOLDER", *(f"visualize {kind} {{}}" for kind in figures or ["curves"])]


def _unseen_split(recipe: Recipe, evaluated: str) -> str:
    """The split that is measured by default, if the data is still there."""
    try:
        return hlcli.default_split(recipe)
    except hlcli.HlcliError:
        return evaluated
