"""`hlcli compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.completion import recipe_names
from hlcli.cli.next_steps import suggest
from hlcli.cli.options import AsJson, BatchSize, Overrides, Workers


def compare(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL", help="Two or more of what `hlcli eval` takes; the first is compared with."),
    ],
    split: Annotated[str | None, typer.Option(help="Split to measure; default test where there is one.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Names separated by commas, or all; default mAP and the F1s of every level.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, help="How often images are drawn anew.")] = 2000,
    recipe: Annotated[
        str | None, typer.Option(help="What the upstream checkpoints are.", autocompletion=recipe_names)
    ] = None,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Also write the comparison to FILE.json or FILE.md.")] = None,
    batch_size: BatchSize = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Measure models on the same images, and tell differences from chance.

    Shows metrics side by side, differences to the first model with intervals and p values (paired bootstrap over
    images, corrected by Holm's procedure), labels that a model does better or worse, and what differs in the recipes.

    Example: hlcli compare runs/a runs/b
    Example: hlcli compare runs/a runs/b runs/c --split val --metrics mAP,CF1 --out comparison.md
    """
    import hlcli
    from hlcli.cli.compare_report import show
    from hlcli.progress import waiting

    given = None if recipe is None else hlcli.Recipe.from_yaml(recipe)
    with waiting("Loading"):
        found = hlcli.compare(
            models,
            split=split,
            metrics=None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()],
            resamples=resamples,
            recipe=given,
            overrides=overrides or (),
            out=out,
            batch_size=batch_size,
            workers=workers,
        )
    show(found, out, as_json=as_json)
    if out is None and not as_json:
        suggest("compare", *models, "--out", "comparison.md")
