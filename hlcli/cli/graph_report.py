"""What `hlcli embed graph` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hlcli.cli.embedding_report import neighbour_table
from hlcli.cli.json_output import print_json
from hlcli.plain_text import counted

if TYPE_CHECKING:
    from hlcli.embeddings.graphs import LabelGraph
    from hlcli.embeddings.vectors import Neighbour


def show(path: Path, made: LabelGraph, count: int, *, as_json: bool) -> None:
    """The nearest of every label and of every parent, and where the file is."""
    labels, parents = made.nearest(count)
    names, above = (*made.label_names, *made.parent_names), len(labels)
    if as_json:
        words = made.texts or (None,) * len(names)
        document = {
            "file": str(path),
            "encoder": made.encoder,
            "settings": made.settings,
            "shape": list(made.relation.shape),
            "labels": _entries(labels, words[:above]),
            "parents": _entries(parents, words[above:]),
        }
        print_json(document)
        return
    from rich.console import Console

    texts = made.texts or names
    console = Console(highlight=False)
    console.print(neighbour_table("label", labels, texts[:above]))
    if len(parents) > 1:
        console.print(neighbour_table("parent", parents, texts[above:]))
    sizes = f"{counted(len(labels), 'label')} and {counted(len(parents), 'parent')}"
    typer.echo(f"{path}: {sizes} by {made.encoder}")


def _entries(neighbours: Mapping[str, Sequence[Neighbour]], texts: Sequence[str | None]) -> list[dict[str, Any]]:
    """JSON-ready."""
    return [
        {
            "name": name,
            "text": text,
            "neighbours": [{"name": other.label, "cosine": round(other.cosine, 6)} for other in near],
        }
        for (name, near), text in zip(neighbours.items(), texts, strict=True)
    ]
