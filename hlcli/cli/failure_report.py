"""What commands say of images that failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hlcli.plain_text import counted, printable

if TYPE_CHECKING:
    from hlcli import Failure

_FEW = 5


def show_failures(failures: Sequence[Failure], what: str, listed: Path | None) -> None:
    """Why images failed, on stderr, then how many did.

    Args:
        failures: the images.
        what: what could not be done with them, such as `predicted`.
        listed: the file that names them all, so that a few are enough here; None where there is none.
    """
    for failure in failures if listed is None else failures[:_FEW]:
        typer.echo(f"failed: {printable(failure.error)}", err=True)
    if listed is not None and len(failures) > _FEW:
        typer.echo(f"and {len(failures) - _FEW:,} more", err=True)
    if failures:
        where = "" if listed is None else f"; all are listed in {listed}"
        typer.echo(f"{counted(len(failures), 'image')} could not be {what}{where}.", err=True)
