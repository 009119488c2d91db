"""`hlcli init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.completion import own_method_names
from hlcli.cli.options import AsJson


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A new folder for the recipe; `hlcli train --recipe FOLDER` then.")
    ],
    images: Annotated[Path, typer.Option(help="Folder of the photos.")],
    labels: Annotated[Path, typer.Option(help="CSV file: names of the photos, and their labels or captions.")],
    hierarchy: Annotated[Path | None, typer.Option(help="YAML tree whose leaves are the labels.")] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="A method that needs no further files, such as query2label; default what fits the photos.",
            autocompletion=own_method_names,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at your own photos and their labels, and write a recipe that trains at once.

    The CSV file may separate labels by ; | or commas in quotes, have a row for each label of a photo, or a column of
    0 and 1 for each label. It is never changed.

    Example: hlcli init birds --images photos --labels labels.csv
    Example: hlcli init birds --images photos --labels labels.csv --hierarchy tree.yaml
    """
    import hlcli
    from hlcli.cli.init_report import show

    show(hlcli.init_recipe(folder, images=images, labels=labels, hierarchy=hierarchy, method=method), as_json=as_json)
