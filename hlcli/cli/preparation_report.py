"""What `hlcli preprocess` reads and shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hlcli.data.preparation import Preparation
    from hlcli.sections import DataSection


def data_section(
    name: str, root: Path | None, overrides: Sequence[str], *, source: str = "hlcli preprocess"
) -> DataSection:
    """A data section from its name and keys.

    Raises:
        RecipeError: for an unknown data set or key.
    """
    from hlcli.recipe import read_section

    values: dict[str, Any] = {"dataset": name}
    if root is not None:
        values["root"] = str(root)
    keys = [entry if entry.startswith("data.") else f"data.{entry}" for entry in overrides]
    return read_section("data", values, keys, source=source)


def prepare(
    section: DataSection,
    source: Path | None,
    options: Mapping[str, Any],
    *,
    image_size: int,
    workers: int,
    overwrite: bool,
    export: str | None,
) -> Preparation:
    """Read the official layout, write the store, and the papers' own files if asked for.

    Raises:
        InputError: when something is missing, or the export format is not known.
    """
    import hlcli
    from hlcli.data.export import check_format, write_exports

    if export is not None:
        check_format(export, section)
    made = hlcli.preprocess(
        section, source=source, options=options, image_size=image_size, workers=workers, overwrite=overwrite
    )
    if export is not None:
        for path in write_exports(section, export):
            typer.echo(f"Exported {path}", err=True)
    return made


def show(made: Preparation, *, as_json: bool) -> None:
    """Where the store is and what is in it."""
    counts = {split: counts["images"] for split, counts in made.meta["counts"].items()}
    if as_json:
        document = {"store": str(made.folder), "images": counts, "failures": len(made.failures)}
        typer.echo(json.dumps({**document, "notes": made.meta["notes"]}, ensure_ascii=False))
        return
    typer.echo(f"{made.folder}: " + ", ".join(f"{split} {count:,}" for split, count in counts.items()))
