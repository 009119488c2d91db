"""What `hlcli preprocess` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import say

if TYPE_CHECKING:
    from hlcli.data.preparation import Preparation


def show(made: Preparation, *, as_json: bool) -> None:
    """Where the store is and what is in it."""
    for path in made.exported:
        say(f"Exported {path}")
    counts = {split: counts["images"] for split, counts in made.meta["counts"].items()}
    if as_json:
        document = {"store": str(made.folder), "images": counts, "failures": len(made.failures)}
        print_json({**document, "notes": made.meta["notes"]})
        return
    typer.echo(f"{made.folder}: " + ", ".join(f"{split} {count:,}" for split, count in counts.items()))
