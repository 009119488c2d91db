"""What `hlcli preprocess` shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from hlcli.data.preparation import Preparation


def show(made: Preparation, *, as_json: bool) -> None:
    """Where the store is and what is in it."""
    for path in made.exported:
        typer.echo(f"Exported {path}", err=True)
    counts = {split: counts["images"] for split, counts in made.meta["counts"].items()}
    if as_json:
        document = {"store": str(made.folder), "images": counts, "failures": len(made.failures)}
        typer.echo(json.dumps({**document, "notes": made.meta["notes"]}, ensure_ascii=False))
        return
    typer.echo(f"{made.folder}: " + ", ".join(f"{split} {count:,}" for split, count in counts.items()))
