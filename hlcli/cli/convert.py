"""`hlcli convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.completion import recipe_names
from hlcli.cli.json_output import print_json
from hlcli.cli.options import AsJson, Overrides


def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="Upstream checkpoint; with --to upstream a run or model folder."),
    ],
    out: Annotated[Path, typer.Option(help="Model folder to make; with --to upstream a file.")],
    recipe: Annotated[
        str | None, typer.Option(help="What the upstream checkpoint is.", autocompletion=recipe_names)
    ] = None,
    overrides: Overrides = None,
    to: Annotated[str, typer.Option(help="model (our folder) or upstream (the reference's file).")] = "model",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a reference implementation's checkpoint into a model folder, or back.

    Example: hlcli convert model_best.pth.tar --recipe hleg/intentonomy --out models/hleg
    Example: hlcli convert runs/quickstart --to upstream --out model_best.pth.tar
    """
    import hlcli
    from hlcli.cli.next_steps import suggest
    from hlcli.progress import waiting

    if to == "upstream":
        with waiting("Converting"):
            made = hlcli.export_upstream(checkpoint, out=out, overwrite=overwrite)
    elif to != "model":
        hint = f"`hlcli export MODEL --to {to}` writes it." if to in ("onnx", "torch") else None
        raise hlcli.InputError(f"--to: model or upstream was expected (got {to!r}).", hint)
    elif recipe is None:
        raise hlcli.InputError("An upstream checkpoint needs --recipe to say what it is.", "See `hlcli recipes list`.")
    else:
        given = hlcli.Recipe.from_yaml(recipe, overrides or [])
        with waiting("Converting"):
            made = hlcli.convert(checkpoint, given, out=out, overwrite=overwrite)
    if as_json:
        print_json({"path": str(made)})
        return
    typer.echo(str(made))
    if to == "model":
        suggest("eval", made, "--images", "FOLDER")
