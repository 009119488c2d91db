"""What `hlcli init` shows: what it found, what it wrote, how to go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import TYPE_CHECKING

import typer

from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import say
from hlcli.plain_text import counted, printable

if TYPE_CHECKING:
    from hlcli.own_photos.starting import StartedRecipe

_FEW_NAMES = 3
_FEW_EXAMPLES = 10


def show(started: StartedRecipe, *, as_json: bool) -> None:
    """A small table; then the files, and the next commands."""
    if as_json:
        print_json(started.to_json())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for what, found in _rows(started):
        table.add_row(what, Text(printable(found)))
    Console(highlight=False).print(table)
    for path in started.written:
        typer.echo(f"wrote {printable(str(path))}")
    settings, folder = started.settings, quote(str(started.recipe.parent))
    height, width = settings.data.height_width
    epochs = counted(settings.train.epochs, "epoch")
    typer.echo(
        f"{settings.model.name} on {settings.backbone.name}, {height}×{width} pixels, {epochs} "
        f"of {counted(started.splits['train'] // settings.train.batch_size, 'step')}"
    )
    say(f"Next: hlcli debug data {folder}; hlcli train --recipe {folder}")


def _rows(started: StartedRecipe) -> Iterator[tuple[str, str]]:
    """What was found, and how much of it."""
    yield "table", f"{counted(started.num_rows, 'row')}; {started.form}"
    if started.left_aside:
        yield "columns left aside", ", ".join(started.left_aside)
    yield "images in the folder", f"{started.num_images:,}"
    yield "images without a row", _counted(started.without_row)
    yield "rows without an image", _counted(started.without_image, "; left out")
    if started.found_by_end:
        yield "names found by their end", _counted(started.found_by_end)
    if started.without_caption:
        yield "images without a caption", _counted(started.without_caption, "; left out")
    yield "splits", ", ".join(f"{split} {count:,}" for split, count in started.splits.items())
    if not started.levels:
        yield "captions", f"{sum(counts.captions for counts in started.inspection.splits):,}"
        return
    yield (
        "labels",
        ", ".join(
            f"{count:,} {level}" if len(started.levels) > 1 else f"{count:,}" for level, count in started.levels.items()
        ),
    )
    yield (
        "labels per image",
        ", ".join(f"{counts.split} {counts.labels_per_image:.2f}" for counts in started.inspection.splits),
    )
    unlabelled = sum(counts.without_labels for counts in started.inspection.splits)
    yield "images without a label", f"{unlabelled:,}"
    rare = sorted((counts["train"], name) for name, counts in started.inspection.positives.items())
    few = tuple(f"{name} ({count})" for count, name in rare if count < _FEW_EXAMPLES)
    yield f"labels on fewer than {_FEW_EXAMPLES} training images", _counted(few)


def _counted(names: Sequence[str], fate: str = "") -> str:
    """How many, and the first of them."""
    if not names:
        return "0"
    more = ", …" if len(names) > _FEW_NAMES else ""
    return f"{len(names):,} ({', '.join(names[:_FEW_NAMES])}{more}){fate}"
