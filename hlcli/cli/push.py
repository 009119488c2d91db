"""`hlcli push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.json_output import print_json
from hlcli.cli.options import AsJson


def push(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Run folder or model folder.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Only its owner sees a new one.")] = False,
    message: Annotated[str, typer.Option(help="What to call this version; default one that names hlcli.")] = "",
    as_json: AsJson = False,
) -> None:
    """Put a model on the Hugging Face hub, with a card that says what it is.

    Wherever a model is expected, hf://OWNER/NAME then stands for it.

    Example: hlcli push runs/quickstart jane/shapes
    Example: hlcli eval hf://jane/shapes --images photos
    """
    import hlcli
    from hlcli.cli.next_steps import suggest
    from hlcli.progress import waiting

    with waiting("Loading"):
        address = hlcli.push(model, repository, private=private, message=message)
    name = f"hf://{repository.removeprefix('hf://')}"
    if as_json:
        print_json({"model": name, "address": address})
    else:
        typer.echo(f"{name}: {address}")
        suggest("eval", name, "--images", "FOLDER")
