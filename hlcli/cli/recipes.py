"""`hlcli recipes`: list, show, copy and check recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hlcli
from hlcli import InputError, RecipeError
from hlcli.cli.commands import Command
from hlcli.cli.completion import recipe_names
from hlcli.cli.json_output import print_json
from hlcli.cli.options import ReplaceFile

app = typer.Typer(help="List, show, copy and check recipes.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A recipe file, or the name of a shipped recipe.", autocompletion=recipe_names),
]


@app.command("list", cls=Command)
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """List the shipped recipes.

    Example: hlcli recipes list
    """
    rows = hlcli.describe_recipes()
    if as_json:
        print_json([row._asdict() for row in rows], indent=1)
        return
    table = [("name", "method", "data set", "what it is"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        typer.echo("  ".join([*cells, row[3]]).rstrip())


@app.command("show", cls=Command)
def show(
    name: Name,
    resolved: Annotated[bool, typer.Option("--resolved", help="With every default written out.")] = False,
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
    typer.echo(hlcli.copy_recipe(name, destination, overwrite=overwrite))


@app.command("validate", cls=Command)
def validate(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Recipe files, or names of shipped recipes.", autocompletion=recipe_names),
    ],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. optim.lr=1e-4; repeatable.")
    ] = None,
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
