"""`hlcli calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.next_steps import suggest
from hlcli.cli.options import AsJson, BatchSize, Overrides, WhichRecipe, Workers


def calibrate(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="Run folder or model folder; with --out whatever `hlcli eval` takes."),
    ],
    method: Annotated[
        str, typer.Option(help="temperature: one per level. platt: slope and intercept per label. none: raw scores.")
    ] = "temperature",
    thresholds: Annotated[
        str, typer.Option(help="Tune one per level (global) or per-label; keep: those there are, moved along.")
    ] = "global",
    by: Annotated[str, typer.Option(help="Tune thresholds for F1_micro, F1_macro or F1_samples.")] = "F1_macro",
    split: Annotated[str, typer.Option(help="Split to fit on.")] = "val",
    out: Annotated[Path | None, typer.Option(help="A new model folder; default MODEL itself.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model folder that is there.")] = False,
    recipe: WhichRecipe = None,
    overrides: Overrides = None,
    batch_size: BatchSize = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Make the scores of a label model probabilities, tune its thresholds, and keep both with it.

    Fits on val by maximum likelihood, and shows calibration errors (ECE, NLL, Brier) and F1 before and after, on test
    too, where nothing was fitted. `eval`, `visualize`, `export` and `push` then use what was found.

    Example: hlcli calibrate runs/quickstart
    Example: hlcli calibrate runs/quickstart --method platt --thresholds per-label --by F1_micro --out calibrated
    Example: hlcli calibrate runs/quickstart --method none --thresholds keep
    """
    import hlcli
    from hlcli.cli.calibrate_report import show
    from hlcli.progress import waiting

    given = None if recipe is None else hlcli.Recipe.from_yaml(recipe, overrides or ())
    with waiting("Loading"):
        found = hlcli.calibrate(
            model,
            method=method,  # type: ignore[arg-type]  # checked there
            thresholds=thresholds,  # type: ignore[arg-type]
            by=by,  # type: ignore[arg-type]
            split=split,
            out=out,
            overwrite=overwrite,
            recipe=given,
            overrides=() if given else overrides or (),
            batch_size=batch_size,
            workers=workers,
        )
    show(found, as_json=as_json)
    if not as_json:
        suggest("eval", model if out is None else out)
