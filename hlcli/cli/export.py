"""`hlcli export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hlcli.cli.completion import recipe_names
from hlcli.cli.convert import write_upstream
from hlcli.cli.json_output import print_json
from hlcli.cli.options import AsJson, Overrides

if TYPE_CHECKING:
    from hlcli import Exported


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Run or model folder, hf://OWNER/NAME, or an upstream checkpoint.")
    ],
    to: Annotated[str, typer.Option(help="onnx, torch (for torch.export.load), or upstream (the reference's file).")],
    out: Annotated[Path, typer.Option(help="File to make: *.onnx, *.pt2, any for upstream; of a captioner a folder.")],
    recipe: Annotated[
        str | None, typer.Option(help="What an upstream checkpoint is.", autocompletion=recipe_names)
    ] = None,
    overrides: Overrides = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Photos to compare on: a folder, files, or a pattern in quotes; default drawn scenes."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier export wrote.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model for programs without hlcli; compared with PyTorch before it gets its name.

    Example: hlcli export runs/quickstart --to onnx --out quickstart.onnx
    Example: hlcli export runs/quickstart --to torch --out quickstart.pt2 --images photos
    Example: hlcli export runs/quickstart-caption --to onnx --out captioner
    Example: hlcli export runs/quickstart --to upstream --out model_best.pth.tar
    """
    import hlcli
    from hlcli.progress import waiting

    if to == "upstream":
        unused = {"--recipe": recipe, "--set": overrides, "--images": images}
        write_upstream(model, out, unused=unused, overwrite=overwrite, as_json=as_json)
        return
    given = None if recipe is None else hlcli.Recipe.from_yaml(recipe, overrides or [])
    with waiting("Exporting"):
        made = hlcli.export(
            model, out=out, to=to, recipe=given, overrides=() if given else overrides or (), images=images or (),
            overwrite=overwrite,
        )  # fmt: skip
    _show(made, as_json=as_json)


def _show(made: Exported, *, as_json: bool) -> None:
    """The place, and the greatest difference for each of the inputs that were tried."""
    if as_json:
        rows = [difference._asdict() for difference in made.differences]
        files = [str(path) for path in made.files]
        document = {"path": str(made.path), "files": files, "any_size": made.any_size, "differences": rows}
        print_json(document)
        return
    from rich.console import Console

    from hlcli.cli.tables import differences_table

    Console().print(differences_table(made.differences))
    typer.echo(str(made.path))
