"""`hlcli convert`."""

from __future__ import annotations

from collections.abc import Mapping
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
        unused = {"--recipe": recipe, "--set": overrides}
        write_upstream(checkpoint, out, unused=unused, overwrite=overwrite, as_json=as_json)
        return
    if to != "model":
        hint = f"`hlcli export MODEL --to {to}` writes it." if to in ("onnx", "torch") else None
        raise hlcli.InputError(f"--to: model or upstream was expected (got {to!r}).", hint)
    if recipe is None:
        raise hlcli.InputError("An upstream checkpoint needs --recipe to say what it is.", "See `hlcli recipes list`.")
    given = hlcli.Recipe.from_yaml(recipe, overrides or [])
    with waiting("Converting"):
        made = hlcli.convert(checkpoint, given, out=out, overwrite=overwrite)
    _show(made, as_json=as_json)
    if not as_json:
        suggest("eval", made, "--images", "FOLDER")


def write_upstream(model: Path, out: Path, *, unused: Mapping[str, object], overwrite: bool, as_json: bool) -> None:
    """Write a model as the reference's file, and say where.

    Args:
        model: run or model folder.
        out: the file.
        unused: options of the command that have no use for it, with what was given.
        overwrite: replace what is there.
        as_json: say it as JSON.

    Raises:
        InputError: for an option without use.
    """
    import hlcli
    from hlcli.progress import waiting

    for option, given in unused.items():
        if given:
            raise hlcli.InputError(
                f"--to upstream writes the weights as they are; {option} has no use.", "Leave it out."
            )
    with waiting("Converting"):
        made = hlcli.export_upstream(model, out=out, overwrite=overwrite)
    _show(made, as_json=as_json)


def _show(made: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(made)})
    else:
        typer.echo(str(made))
