"""Options that say the same thing in several commands; one that only looks alike stays with its command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hlcli.cli.completion import recipe_names

Root = Annotated[Path | None, typer.Option(help="Data root; default $HLCLI_DATA, else ./data.")]

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change a setting of the recipe, e.g. optim.lr=1e-4; may be repeated.",
    ),
]

WhichRecipe = Annotated[
    str | None, typer.Option(help="What an upstream checkpoint is, or where the data is.", autocompletion=recipe_names)
]

BatchSize = Annotated[int | None, typer.Option(min=1, help="Images per step; default the recipe's.")]

Workers = Annotated[int | None, typer.Option(min=0, help="Loader processes; default the recipe's.")]

ReplaceFile = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]

Profiled = Annotated[bool, typer.Option("--profile", help="Say at the end which part of the work took how long.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def data_keys(example: str) -> Any:
    """`--set` of commands that need no recipe but a data set; the example is the command's own."""
    return typer.Option("--set", metavar="KEY=VALUE", help=f"A key of the recipe's data section, e.g. {example}.")
