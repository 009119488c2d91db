"""The `hlcli` command: its global options and the list of its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from hlcli import __version__
from hlcli.cli import debug, embed, preprocess, recipes
from hlcli.cli.calibrate import calibrate
from hlcli.cli.caption import caption
from hlcli.cli.commands import Command, Commands, ignore_warnings_of_pillow, set_up_logging, stop_on_signals
from hlcli.cli.compare import compare
from hlcli.cli.convert import convert
from hlcli.cli.download import download
from hlcli.cli.env import env
from hlcli.cli.evaluate import evaluate
from hlcli.cli.export import export
from hlcli.cli.init import init
from hlcli.cli.push import push
from hlcli.cli.train import train
from hlcli.cli.visualize import visualize

app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hlcli {__version__}")
        raise typer.Exit


_GREETING = f"""\
hlcli {__version__}: hierarchical and multi-label image understanding.

Three ways to begin:
  hlcli train --recipe quickstart
      learn from drawn scenes, in minutes on a laptop
  hlcli init mine --images PHOTOS --labels TABLE.csv
      learn from photos of your own
  hlcli recipes list
      repeat the experiments of the papers

hlcli --help lists all commands, hlcli COMMAND --help shows examples of one."""


@app.callback(invoke_without_command=True)
def hlcli(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and more messages.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show warnings and errors only: no progress, no hints.")
    ] = False,
) -> None:
    """Hierarchical and multi-label image understanding: download, preprocess, train, evaluate, predict, look.

    Example: hlcli train --recipe quickstart
    """
    if context.invoked_subcommand is None:
        typer.echo(_GREETING)
        return
    set_up_logging(quiet=quiet, debug=debug)
    ignore_warnings_of_pillow()


app.command("download", cls=Command, short_help="Fetch a data set's files; safe to interrupt.")(download)
app.add_typer(preprocess.app, name="preprocess", short_help="Turn a data set's files into a store for training.")
app.add_typer(embed.app, name="embed", short_help="Make label vectors, label graphs, image features.")
app.command("init", cls=Command, short_help="Make a recipe for your own photos.")(init)
app.add_typer(debug.app, name="debug", short_help="Find what is wrong with a data set before training.")
app.command("train", cls=Command, short_help="Train a recipe; keep the last state and the best model.")(train)
app.command("eval", cls=Command, short_help="Measure a model, predict images, score captions.")(evaluate)
app.command("compare", cls=Command, short_help="Compare models on the same images, with intervals.")(compare)
app.command("calibrate", cls=Command, short_help="Make scores probabilities; tune thresholds.")(calibrate)
app.command("caption", cls=Command)(caption)
app.command("visualize", cls=Command)(visualize)
app.command("convert", cls=Command, short_help="Turn a reference's checkpoint into a model, or back.")(convert)
app.command("export", cls=Command, short_help="Write a model for programs without hlcli: ONNX, torch.export.")(export)
app.command("push", cls=Command, short_help="Put a model on the Hugging Face hub.")(push)
app.add_typer(recipes.app, name="recipes", short_help="List, show, copy and check recipes.")
app.command("env", cls=Command, short_help="Versions, devices and data sets found, for bug reports.")(env)


def main() -> None:
    """Run the command line."""
    stop_on_signals()
    app(prog_name="hlcli")
