"""`hlcli recipes`: list, show, copy and check recipes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import hlcli
from hlcli import InputError, RecipeError
from hlcli.cli.commands import Command, Group
from hlcli.cli.completion import recipe_names
from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import suggest
from hlcli.cli.options import AsJson, Overrides, ReplaceFile

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A recipe file, or the name of a shipped recipe.", autocompletion=recipe_names),
]


@app.callback()
def recipes() -> None:
    """List, show, copy and check recipes.

    Example: hlcli recipes list
    Example: hlcli recipes copy quickstart mine.yaml
    """


@app.command("list", cls=Command)
def list_(as_json: AsJson = False) -> None:
    """List the shipped recipes.

    Example: hlcli recipes list
    """
    rows = hlcli.describe_recipes()
    if as_json:
        print_json([row._asdict() for row in rows], indent=1)
        return
    if sys.stdout.isatty():
        _show_folded(rows)
    else:
        table = [("name", "method", "data set", "what it is"), *rows]
        widths = [max(len(row[column]) for row in table) for column in range(3)]
        for row in table:
            cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
            typer.echo("  ".join([*cells, row[3]]).rstrip())
    suggest("recipes", "show", "NAME")


def _show_folded(rows: Sequence[hlcli.ShippedRecipe]) -> None:
    """Names, and what they are in as many lines as that takes; it begins with method and data set."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("what it is")
    for row in rows:
        table.add_row(row.name, Text(row.summary))
    Console(highlight=False).print(table)


@app.command("show", cls=Command)
def show(
    name: Name,
    resolved: Annotated[bool, typer.Option("--resolved", help="Print it with every default written out.")] = False,
) -> None:
    """Print a recipe.

    Example: hlcli recipes show quickstart
    """
    text = hlcli.Recipe.from_yaml(name).to_yaml() if resolved else hlcli.find_recipe(name).read_text(encoding="utf-8")
    typer.echo(text, nl=False)


@app.command("copy", cls=Command)
def copy(
    name: Name,
    destination: Annotated[Path, typer.Argument(metavar="DESTINATION", help="A new file, or a folder to put it in.")],
    overwrite: ReplaceFile = False,
) -> None:
    """Copy a recipe, to change it.

    Example: hlcli recipes copy hleg/intentonomy mine.yaml
    """
    made = hlcli.copy_recipe(name, destination, overwrite=overwrite)
    typer.echo(made)
    suggest("train", "--recipe", made)


@app.command("validate", cls=Command)
def validate(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Recipe files, or names of shipped recipes.", autocompletion=recipe_names),
    ],
    overrides: Overrides = None,
) -> None:
    """Check recipes, and name every mistake in them.

    Example: hlcli recipes validate mine.yaml --set optim.lr=1e-4
    Example: hlcli recipes validate recipes/hin/*.yaml
    """
    mistakes: list[InputError] = []
    for name in names:
        try:
            recipe = hlcli.Recipe.from_yaml(name, overrides or ())
        except InputError as error:
            mistakes.append(error)
        else:
            typer.echo(f"{name}: valid ({recipe.model.method} on {recipe.data.dataset})")
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        raise RecipeError("\n".join(map(str, mistakes)))
