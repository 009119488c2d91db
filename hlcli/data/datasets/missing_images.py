"""Images that a data set lists but whose files are not there: all of them named, few of them tolerated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlcli.data.datasets.base import LayoutOptions
from hlcli.data.records import Record
from hlcli.errors import DataError, named
from hlcli.files import whole_file

if TYPE_CHECKING:
    from hlcli.sections import DataSection

logger = logging.getLogger(__name__)

_ENDING = ".missing.txt"
"""Of the list in the data set's folder: split and file of every missing image, a tab between them."""


def is_there(path: Path) -> bool:
    """Whether a file has any content."""
    return path.is_file() and path.stat().st_size > 0


def without_missing(
    data: DataSection,
    splits: Mapping[str, list[Record]],
    options: LayoutOptions,
    *,
    notes: dict[str, Any],
    hint: str | None = None,
    is_there: Callable[[Path], bool] = is_there,
) -> dict[str, list[Record]]:
    """The records whose image file is there, in their order; the others are listed, noted and warned about.

    Args:
        data: the data set; its folder gets the list, also when the images are refused: `preprocess.missing.txt`, or
            `preprocess-NAME.missing.txt` where two sets share a folder.
        splits: records whose images are files, by split.
        options: how many may be missing.
        notes: gets the ids of the missing images by split, under `missing_images`.
        hint: how to get them; default to download the data set again.
        is_there: says of a file whether it counts as there.

    Raises:
        DataError: when more than `options.max_missing` of a split are missing, or no image of any split is there.
    """
    if options.without_images:
        return dict(splits)
    missing = {split: [record for record in rows if not is_there(_file(record))] for split, rows in splits.items()}
    notes["missing_images"] = {split: [record.image_id for record in rows] for split, rows in missing.items()}
    folder = data.folder()
    path = folder / f"{'preprocess' if folder.name == data.name else f'preprocess-{data.name}'}{_ENDING}"
    if not any(missing.values()):
        path.unlink(missing_ok=True)
        return dict(splits)
    with whole_file(path) as handle:
        handle.writelines(f"{split}\t{_file(record)}\n" for split, rows in missing.items() for record in rows)
    message = " ".join(_describe(split, rows, len(splits[split])) for split, rows in missing.items() if rows)
    message += f" They are listed in {path}."
    too_many = any(len(rows) > options.max_missing * len(splits[split]) for split, rows in missing.items())
    if too_many or missing == splits:
        hint = hint or f"Run `hlcli download {data.name}` again."
        raise DataError(message, f"{hint} Up to {options.max_missing:.1%} may be missing (--max-missing).")
    logger.warning("%s They are left out.", message)
    left_out = {split: {record.image_id for record in rows} for split, rows in missing.items()}
    return {
        split: [record for record in rows if record.image_id not in left_out[split]] for split, rows in splits.items()
    }


def _file(record: Record) -> Path:
    return Path(str(record.image))


def _describe(split: str, missing: list[Record], total: int) -> str:
    """How many are missing, the first of them, and below which folder; an id can be a path there."""
    first = missing[0]
    folder = _file(first).parents[len(Path(first.image_id).parts) - 1]
    shown = named([record.image_id for record in missing])
    return f"{len(missing):,} of {total:,} {split} images are missing below {folder}: {shown}."
