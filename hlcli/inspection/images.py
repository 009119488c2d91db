"""Every image decoded once, by several processes: what cannot be decoded, sizes, colour modes.

Of an image no more is kept than its size, its mode, a hash and a thumbnail: under 300 bytes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hlcli.data.images import load_image, stored_form
from hlcli.data.records import ImageSource
from hlcli.errors import DataError
from hlcli.inspection.duplicates import THUMBNAIL_SIDE, describe_picture
from hlcli.inspection.findings import Finding, FindingLevel, finding_on, in_number
from hlcli.inspection.rows import SplitRows
from hlcli.progress import Progress
from hlcli.worker_processes import worker_processes

_SMALL_SIDE, _EXTREME_ASPECT = 32, 5.0
_ENOUGH_PIXELS = 128
"""What hash and thumbnail are taken from: JPEG files need not be decoded to more."""

_USUAL_MODES = {"RGB", "drawn"}


class _Look(NamedTuple):
    """What is kept of one image: width and height as stored, mode, hash, thumbnail; or why there is nothing."""

    size: tuple[int, int] = (0, 0)
    mode: str = ""
    hash: int = 0
    thumbnail: bytes = b""
    error: str = ""


class _ImageTable(NamedTuple):
    """The images that were looked at, N of them decoded.

    Args:
        rows: (number of the split, row) of every decoded image, [N, 2].
        sizes: width and height as stored, [N, 2].
        modes: Pillow's name of how colours are stored, or `drawn`.
        hashes: [N] uint64, see `duplicates`.
        thumbnails: [N, 8, 8, 3] uint8.
        errors: of images that cannot be decoded, by (number of the split, row): why.
    """

    rows: np.ndarray
    sizes: np.ndarray
    modes: list[str]
    hashes: np.ndarray
    thumbnails: np.ndarray
    errors: dict[tuple[int, int], str]


def look_at_images(
    splits: Sequence[SplitRows], missing: Sequence[Sequence[int]], *, sample: int | None, seed: int, workers: int
) -> _ImageTable:
    """Decode those images of a data set whose files are there.

    Args:
        splits: its splits.
        missing: of every split, the rows whose file is not there.
        sample: take so many, drawn by the seed; None takes all.
        seed: another seed draws others.
        workers: processes that decode.
    """
    chosen = []
    for number, rows in enumerate(splits):
        absent = set(missing[number])
        chosen += [(number, row) for row in range(len(rows.image_ids)) if row not in absent]
    if sample is not None and sample < len(chosen):
        chosen = sorted(random.Random(seed).sample(chosen, sample))
    total = len(chosen)
    places, sizes, hashes = np.zeros((total, 2), int), np.zeros((total, 2), int), np.zeros(total, np.uint64)
    thumbnails = np.zeros((total, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), np.uint8)
    modes: list[str] = []
    errors: dict[tuple[int, int], str] = {}
    with Progress("Decoding", total=total, unit="image") as bar:
        for place, look in zip(chosen, _look_at_all(splits, chosen, workers), strict=True):
            bar.advance()
            if look.error:
                errors[place] = look.error
                continue
            at = len(modes)
            modes.append(look.mode)
            places[at], sizes[at], hashes[at] = place, look.size, look.hash
            thumbnails[at] = np.frombuffer(look.thumbnail, np.uint8).reshape(thumbnails[at].shape)
    end = len(modes)
    return _ImageTable(places[:end], sizes[:end], modes, hashes[:end], thumbnails[:end], errors)


def _look_at_all(splits: Sequence[SplitRows], chosen: Sequence[tuple[int, int]], workers: int) -> Iterator[_Look]:
    """What is kept of every image, in order; a few images at a time are on their way to the processes."""
    waiting = iter(chosen)
    with worker_processes(workers) as pool:
        while chunk := list(islice(waiting, 64 * workers)):
            sources = [_read_source(splits[number], row) for number, row in chunk]
            yield from pool.map(_look, sources, chunksize=16) if workers > 1 else map(_look, sources)


def _read_source(rows: SplitRows, row: int) -> ImageSource | _Look:
    try:
        return rows.records[row].image
    except DataError as error:
        return _Look(error=error.message)


def _look(source: ImageSource | _Look) -> _Look:
    """Decode an image, for a worker process."""
    if isinstance(source, _Look):
        return source
    try:
        image = load_image(source, name="it", shrink_to=(_ENOUGH_PIXELS, _ENOUGH_PIXELS))
        size, mode = stored_form(source) if isinstance(source, bytes | Path) else (image.size, "drawn")
    except DataError as error:
        return _Look(error=error.message.removeprefix("Image it cannot be decoded: "))
    return _Look(size, mode, *describe_picture(image))


def image_findings(table: _ImageTable, splits: Sequence[SplitRows], shown_at: tuple[int, int] | None) -> list[Finding]:
    """Images that cannot be decoded, that are odd, and that are smaller than the recipe shows them.

    Args:
        table: the images.
        splits: the splits that they are from.
        shown_at: height and width that the recipe asks for, if there is one.
    """
    findings: list[Finding] = []
    for number, rows in enumerate(splits):
        where = tuple(f"{rows.name(row)}: {why}" for (split, row), why in table.errors.items() if split == number)
        mend = "Fetch {it again, or list its id|them again, or list their ids} under data.skip."
        findings += finding_on(where, "error", "images", "{} {image|images} cannot be decoded.", mend, (rows.split,))
    if not table.modes:
        return findings
    odd = partial(_odd, table, splits)
    short, long = table.sizes.min(axis=1), table.sizes.max(axis=1)
    what = f"{{has|have}} a side below {_SMALL_SIDE} pixels"
    findings += odd("warning", short < _SMALL_SIDE, what, "{Is it a thumbnail|Are they thumbnails}?")
    mend = "Stretched to data.image_size {it is|they are} hard to recognise: crop {it|them}, or set data.resize=crop."
    what = f"{{is|are}} more than {_EXTREME_ASPECT:g} times as long as wide, or as wide as long"
    findings += odd("warning", long > _EXTREME_ASPECT * short, what, mend)
    if shown_at is not None:
        small = short < min(shown_at)
        level: FindingLevel = "warning" if small.mean() > 0.5 else "note"
        what = f"{{is|are}} smaller than data.image_size, {shown_at[0]}×{shown_at[1]}: enlarging brings no detail"
        findings += odd(level, small, what, "Set a smaller data.image_size, or get larger images.")
    mend = "{It is|They are} decoded as RGB all the same: transparency over white, CMYK without its colour profile."
    modes = ", ".join(sorted(set(table.modes) - _USUAL_MODES))
    unusual = np.array([mode not in _USUAL_MODES for mode in table.modes])
    return [*findings, *odd("note", unusual, f"{{is|are}} not stored as RGB ({modes})", mend), _measure(table)]


def _odd(
    table: _ImageTable, splits: Sequence[SplitRows], level: FindingLevel, chosen: np.ndarray, what: str, mend: str
) -> list[Finding]:
    """A finding on some of the decoded images, with their sizes; none where none was chosen."""
    rows, sizes = table.rows[chosen].tolist(), table.sizes[chosen].tolist()
    where = [f"{splits[n].name(row)} ({width}×{height})" for (n, row), (width, height) in zip(rows, sizes, strict=True)]
    named = tuple(dict.fromkeys(splits[number].split for number, _ in rows))
    return finding_on(where, level, "images", f"{{}} of {len(chosen):,} images {what}.", mend, named)


def _measure(table: _ImageTable) -> Finding:
    """Smallest, median and largest image by area, and how colours are stored."""
    order = np.argsort(table.sizes.prod(axis=1), kind="stable")
    sizes = ["×".join(map(str, table.sizes[order[at]])) for at in (0, len(order) // 2, -1)]
    modes = ", ".join(f"{count:,} {mode}" for mode, count in Counter(table.modes).most_common())
    decoded = in_number("{} {image|images} decoded", len(order))
    what = "{}: smallest {}, median {}, largest {} pixels; {}.".format(decoded, *sizes, modes)
    return Finding("note", "images", what)
