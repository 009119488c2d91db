"""What `hlcli debug data` reads and shows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import hlcli
from hlcli import InputError, RecipeError
from hlcli.cli.json_output import print_json
from hlcli.plain_text import counted, printable

if TYPE_CHECKING:
    from rich.table import Table

    from hlcli.inspection.findings import Finding, Inspection
    from hlcli.recipe import Recipe
    from hlcli.sections import DataSection

FEW_LABELS = 10
"""So many of the rarest labels are shown, and of the commonest."""

FEW_NAMES = 5
"""So many images or labels of a finding."""

_LABEL_HEADINGS = ("labels per image", "without labels")
_CAPTION_HEADINGS = ("captions", "without captions")

COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def find_source(name: str, root: Path | None, overrides: Sequence[str]) -> DataSection | Recipe:
    """The data set of that name, else the recipe.

    Raises:
        InputError: when there is neither.
        RecipeError: for mistakes in the recipe or the overrides.
    """
    if hlcli.data_set_name(name) is not None:
        return hlcli.data_section(name, root, overrides, source="hlcli debug data")
    try:
        path = hlcli.find_recipe(name)
    except RecipeError as error:
        near = None if "/" in name else hlcli.near_data_set(name)
        hint = f"Did you mean {near}?" if near else error.hint
        raise InputError(f"{name or 'An empty name'} is no data set, recipe file or shipped recipe.", hint) from error
    in_root = [] if root is None else [f"data.root={os.fspath(root)}"]
    return hlcli.Recipe.from_yaml(path, [*in_root, *overrides])


def show(found: Inspection, *, as_json: bool, all_rows: bool) -> None:
    """Counts, labels, sizes; then the findings, worst first."""
    if as_json:
        print_json(found.to_json())
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_split_table(found))
    if found.positives:
        console.print(_label_table(found, None if all_rows else FEW_LABELS))
    for finding in found.findings:
        console.print(f"\n{finding.level}: ", style=COLOURS[finding.level], end="")
        _show_finding(finding, None if all_rows else FEW_NAMES)
    levels = {level: found.count(level) for level in COLOURS}  # type: ignore[arg-type]
    told = ", ".join(counted(count, level) for level, count in levels.items())
    typer.echo(f"\n{found.name}: {told}")


def _split_table(found: Inspection) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("split")
    has_captions = any(counts.captions for counts in found.splits)
    has_labels = bool(found.positives) or not has_captions
    headings = ("images", *_LABEL_HEADINGS[: 2 * has_labels], *_CAPTION_HEADINGS[: 2 * has_captions])
    for heading in headings:
        table.add_column(heading, justify="right")
    for counts in found.splits:
        labels = (f"{counts.labels_per_image:.2f}", f"{counts.without_labels:,}")[: 2 * has_labels]
        captions = (f"{counts.captions:,}", f"{counts.without_captions:,}")[: 2 * has_captions]
        table.add_row(Text(printable(counts.split)), f"{counts.images:,}", *labels, *captions)
    return table


def _label_table(found: Inspection, few: int | None) -> Table:
    """Positives by split, the rarest of the first split first; with `few`, as many from both ends."""
    from rich.table import Table
    from rich.text import Text

    splits = [counts.split for counts in found.splits]
    table = Table("label")
    for split in splits:
        table.add_column(Text(printable(f"in {split}")), justify="right")
    ordered = sorted(found.positives.items(), key=lambda label: label[1][splits[0]])
    left_out = len(ordered) - 2 * (few or len(ordered))
    for place, (name, positives) in enumerate(ordered):
        if few is None or left_out <= 0 or not few <= place < len(ordered) - few:
            table.add_row(Text(printable(name)), *(f"{positives[split]:,}" for split in splits))
        elif place == few:
            table.add_row(f"… {left_out:,} more (--all)", *("…" for _ in splits))
    return table


def _show_finding(finding: Finding, few: int | None) -> None:
    """What, where and how to mend, a line each."""
    typer.echo(f"{finding.about}: {printable(finding.what)}")
    where = finding.where[:few]
    if where:
        more = len(finding.where) - len(where)
        typer.echo(f"  where: {printable('; '.join(where))}" + (f"; and {more:,} more" if more else ""))
    if finding.mend:
        typer.echo(f"  mend: {printable(finding.mend)}")
