"""What `hlcli train` shows before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import hlcli
from hlcli import InputError
from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import figures_of, say, suggest
from hlcli.launching import is_first_process
from hlcli.progress import waiting

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


def show_plan(recipe: Recipe, num_processes: int = 1, *, as_json: bool) -> None:
    """The resolved recipe on stdout, what it would cost on stderr; as JSON both on stdout."""
    with waiting("Planning"):
        costs = hlcli.plan_training(recipe, num_processes)
    if as_json:
        print_json({"recipe": recipe.to_dict(), **costs._asdict()})
        return
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
    say(f"Run folder: {run.folder}")
    if recipe.model.task == "captions":
        suggest("caption", run.folder, "--split", _unseen_split(recipe, facts["split"]))
        suggest("caption", run.folder, "FOLDER")
        suggest("visualize", "captions", run.folder)
        return
    suggest("eval", run.folder)
    suggest("eval", run.folder, "--images", "FOLDER")
    for kind in figures_of(recipe) or ["curves"]:
        suggest("visualize", kind, run.folder)


def _unseen_split(recipe: Recipe, evaluated: str) -> str:
    """The split that is measured by default, if the data is still there."""
    try:
        return hlcli.default_split(recipe)
    except hlcli.HlcliError:
        return evaluated
