"""`hlcli train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.completion import recipe_names
from hlcli.cli.options import AsJson, Overrides, Profiled


def train(
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe file, or the name of a shipped one; needed unless resuming.", autocompletion=recipe_names
        ),
    ] = None,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run", help="Folder of the run; default the next free runs/NAME.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    from_best: Annotated[
        bool, typer.Option("--resume-best", help="Go on behind the best epoch (kept with train.keep_best_state).")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew in a folder that is in use.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe and what it would cost; train nothing.")
    ] = False,
    num_processes: Annotated[
        int | None,
        typer.Option(min=1, help="Start this many processes on this machine (one per GPU, or on the CPU); default 1."),
    ] = None,
    profile: Profiled = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe; evaluate after every epoch; keep the last state and the best model.

    Example: hlcli train --recipe quickstart
    Example: hlcli train --recipe hleg/intentonomy --set optim.lr=5e-5 --run runs/lower
    Example: hlcli train --run runs/lower --resume
    """
    from hlcli.cli.next_steps import suggest
    from hlcli.cli.training_report import read_recipe, show_plan, show_run

    chosen = read_recipe(recipe, overrides or [], run_dir if resume or from_best else None)
    if dry_run:
        show_plan(chosen, num_processes or 1, as_json=as_json)
        if as_json:
            return
        words: list[str | Path] = [] if recipe is None else ["--recipe", recipe]
        words += [] if run_dir is None else ["--run", run_dir]
        for override in overrides or []:
            words += ["--set", override]
        suggest("train", *words)
        return
    if num_processes is not None and num_processes > 1:
        from hlcli.launching import relaunch

        raise typer.Exit(relaunch(_without_processes(sys.argv[1:]), num_processes, cpu=chosen.train.cpu))
    import hlcli
    from hlcli.cli.profile_report import profiled
    from hlcli.launching import check_launch
    from hlcli.progress import waiting

    check_launch(chosen.train.cpu)  # again below, but first of all before libraries are loaded, which takes seconds
    name = Path(recipe).stem if recipe else "run"
    with profiled(profile, "train"), waiting("Loading"):
        run = hlcli.train(chosen, run_dir, name=name, resume=resume, from_best=from_best, overwrite=overwrite)
    show_run(run, as_json=as_json)


def _without_processes(arguments: list[str]) -> list[str]:
    """The command line without `--num-processes`."""
    kept = [argument for argument in arguments if not argument.startswith("--num-processes=")]
    if "--num-processes" in kept:
        index = kept.index("--num-processes")
        del kept[index : index + 2]
    return kept
