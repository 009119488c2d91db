"""`hlcli env`."""

from __future__ import annotations

from typing import Annotated

import typer

from hlcli.cli.json_output import print_json
from hlcli.cli.options import AsJson


def env(
    distributed: Annotated[
        bool, typer.Option("--distributed", help="Also let two processes add numbers for at most ten seconds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Versions, devices and data sets found: paste it into bug reports.

    Example: hlcli env
    """
    import hlcli

    facts = hlcli.describe_system(distributed=distributed)
    if as_json:
        print_json(facts, indent=1)
        return
    for name, value in facts.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        typer.echo(f"- {name}: {text}")
