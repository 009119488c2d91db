"""What `hlcli embed labels` shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hlcli.cli.json_output import print_json
from hlcli.plain_text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from hlcli.embeddings.labels import LabelEmbeddings, Neighbour

MOST_LABELS = 30
"""With more labels than this a table of all cosines is not shown."""

TITLE_WIDTH = 28
CELL_WIDTH = 5
"""Characters: `-100` and a blank."""


def show(path: Path, made: LabelEmbeddings, count: int, *, as_json: bool) -> None:
    """Every label's nearest neighbours, all cosines if they are few, and where the file is."""
    neighbours = made.nearest(count)
    num_labels, width = made.vectors.shape
    if as_json:
        document = {
            "file": str(path),
            "encoder": made.encoder,
            "settings": made.settings,
            "shape": [num_labels, width],
            "labels": [
                {
                    "name": name,
                    "text": text,
                    "neighbours": [{"name": near.label, "cosine": round(near.cosine, 6)} for near in neighbours[name]],
                }
                for name, text in zip(made.label_names, made.texts, strict=True)
            ],
        }
        print_json(document)
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(neighbour_table("label", neighbours, made.texts))
    if num_labels <= MOST_LABELS:
        for table in _cosine_tables(made, console.width):
            console.print(table)
    typer.echo(f"{path}: {num_labels} vectors of width {width} by {made.encoder}")


def neighbour_table(kind: str, neighbours: Mapping[str, Sequence[Neighbour]], texts: Sequence[str]) -> Table:
    """One row per name, a label's or a parent's, with those closest to it."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column(kind, overflow="fold")
    table.add_column("nearest (cosine)", overflow="fold")
    for (name, near), text in zip(neighbours.items(), texts, strict=True):
        title = name if text == name else f"{name} ({text})"
        others = ", ".join(f"{other.label} {other.cosine:.2f}" for other in near)
        table.add_row(Text(printable(title)), Text(printable(others)))
    return table


def _cosine_tables(made: LabelEmbeddings, width: int) -> Iterator[Table]:
    """All cosines in hundredths; columns are numbered like the rows, as many in one table as fit its width."""
    from rich.table import Table
    from rich.text import Text

    rows = made.cosines().tolist()
    titles = [Text(printable(f"{number} {name}")) for number, name in enumerate(made.label_names, start=1)]
    for title in titles:
        title.truncate(TITLE_WIDTH, overflow="ellipsis")
    step = max(1, (width - TITLE_WIDTH) // CELL_WIDTH)
    for first in range(0, len(rows), step):
        columns = range(first, min(first + step, len(rows)))
        table = Table(title="cosines × 100", title_justify="left", box=None, padding=(0, 0, 0, 1), pad_edge=False)
        table.add_column("")
        for column in columns:
            table.add_column(str(column + 1), justify="right")
        for number, (title, row) in enumerate(zip(titles, rows, strict=True)):
            table.add_row(title, *("·" if column == number else str(round(100 * row[column])) for column in columns))
        yield table
