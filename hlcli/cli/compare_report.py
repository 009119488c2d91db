"""What `hlcli compare` shows: tables that fit 80 columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import say
from hlcli.launching import is_first_process
from hlcli.plain_text import printable

if TYPE_CHECKING:
    from hlcli.comparison.results import Comparison, ComparisonTable


def show(found: Comparison, out: Path | None, *, as_json: bool) -> None:
    """All tables, each with its note; a note that says the same as the one before it is left out."""
    if not is_first_process():
        return
    if out is not None:
        say(f"Comparison: {out}")
    if as_json:
        print_json(found.to_json())
        return
    console, said = Console(highlight=False), set()
    for table in found.tables():
        if table.rows:
            console.print(_as_rich(table))
        if table.note and table.note not in said:
            console.print(Text(printable(table.note)))
            said.add(table.note)


def _as_rich(table: ComparisonTable) -> Table:
    """Columns of text give way; numbers, letters of models and keys of recipes do not."""
    shown = Table(title=Text(printable(table.title)), title_justify="left")
    for place, head in enumerate(table.head):
        is_number = table.is_numeric and place > 0
        is_key = not table.is_numeric and place == 0
        shown.add_column(head, overflow="fold", justify="right" if is_number else "left", no_wrap=is_number or is_key)
    for row in table.rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    return shown
