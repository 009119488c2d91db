"""`hlcli debug`: look for mistakes before they cost a training."""

from __future__ import annotations

from typing import Annotated

import typer

from hlcli.cli.commands import SOME_FAILED, Command, Group
from hlcli.cli.completion import data_set_and_recipe_names
from hlcli.cli.options import AsJson, Root

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def debug() -> None:
    """Find what is wrong with a data set before training.

    Example: hlcli debug data coco --sample 5000
    """


@app.command("data", cls=Command, short_help="Damaged images, copies across splits, labels without support, ….")
def data(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|RECIPE",
            help="A data set, a recipe file or a shipped recipe.",
            autocompletion=data_set_and_recipe_names,
        ),
    ],
    root: Root = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key of the data section, or SECTION.KEY of the recipe."),
    ] = None,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Decode images, or look at lists alone.")] = True,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Decode so many images, drawn at random; default all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="--sample: another seed draws others.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode.")] = 2,
    min_positives: Annotated[int, typer.Option(min=1, help="Warn of labels with fewer positives in train.")] = 10,
    all_rows: Annotated[bool, typer.Option("--all", help="Show all labels, and all images of every finding.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look for damaged images, copies across splits, labels without support and more, before the first epoch.

    Example: hlcli debug data coco --sample 5000
    Example: hlcli debug data folder --set images=photos --set labels=labels.csv
    Example: hlcli debug data hleg/photos --set data.labels=labels.csv
    """
    import hlcli
    from hlcli.cli.debug_report import find_source, show
    from hlcli.cli.next_steps import suggest, suggest_training

    found = hlcli.debug_data(
        find_source(name, root, overrides or []),
        images=images,
        sample=sample,
        seed=seed,
        workers=workers,
        min_positives=min_positives,
    )
    show(found, as_json=as_json, all_rows=all_rows)
    if found.count("error"):
        raise typer.Exit(SOME_FAILED)
    if as_json:
        return
    if hlcli.data_set_name(name) is not None:
        suggest_training(found.name)
    else:
        given = [word for override in overrides or [] for word in ("--set", override)]
        suggest("train", "--recipe", name, *given)
