"""Object masks of Intentonomy's photos, as the localisation loss wants them: a small grid per photo.

The authors publish `coco_maskrcnn.json` (518 MB, its address is in `sources.yaml`): what a Mask R-CNN found in each
photo, `{"low/<id>.jpg": {"scores": […], "masks": [RLE, …], "image_shape": [h, w]}}`. An RLE is COCO's run-length code,
`{"size": [h, w], "counts": …}`: lengths of runs of pixels that are 0, 1, 0, 1…, column by column, as a list of numbers
or packed into text.

Runs are decoded here and not by pycocotools, because its `merge` never returns, and its `decode` gives pixels that
nobody set, when the runs end before the photo does. And only the few pixels are looked up that resizing reads, which
spares whole masks of millions of pixels.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from hlcli.data.records import Record
from hlcli.errors import DataError, named
from hlcli.json_text import json_decoder
from hlcli.progress import Progress

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

_MIN_SCORE = 0.6
GRID_SIDE = 7
_AGAIN = "The file may be damaged: download it again."

_SPACE = re.compile(r"[ \t\n\r]*")
_LONGEST_SIDE = 65_535  # pixels, of a JPEG
_MOST_DIGITS = 7  # of a packed number; what no photo has pixels for

_ObjectMask = tuple[float, ...]


class _Instance(NamedTuple):
    """One object: where its runs end, counted in pixels down the columns of a photo of that size."""

    height: int
    width: int
    ends: np.ndarray


def with_object_masks(
    splits: Mapping[str, list[Record]], path: Path, *, grid: int, max_missing: float, notes: dict[str, Any]
) -> dict[str, list[Record]]:
    """The same records with object masks.

    A photo that the file does not name is treated like one without objects. It is counted and noted.

    Args:
        splits: records by split.
        path: the authors' file.
        grid: cells on each side of a mask.
        max_missing: largest share of the training photos that the file may leave out; the other splits are free.
        notes: gets `missing_masks`, image ids by split.

    Raises:
        DataError: when the file is damaged, or leaves out too many training photos.
    """
    wanted = {record.image_id for records in splits.values() for record in records}
    masks = read_object_masks(path, wanted, grid)
    nothing = (0.0,) * grid**2
    notes["missing_masks"] = {}
    filled = {}
    for split, records in splits.items():
        missing = [record.image_id for record in records if record.image_id not in masks]
        notes["missing_masks"][split] = missing
        if missing:
            message = f"{path} has no masks for {len(missing):,} of {len(records):,} {split} photos: {named(missing)}."
            if split == "train" and len(missing) > max_missing * len(records):
                raise DataError(message, f"Up to {max_missing:.1%} may be missing (--max-missing).")
            logger.warning("%s They count as photos without objects.", message)
        filled[split] = [replace(record, object_mask=masks.get(record.image_id, nothing)) for record in records]
    return filled


def read_object_masks(path: Path, image_ids: Collection[str], grid: int = GRID_SIDE) -> dict[str, _ObjectMask]:
    """Masks of those photos that are wanted and that the file knows: the share of object in each cell, row by row.

    Raises:
        DataError: when the file is missing or damaged; the message names the entry.
    """
    wanted, found, seen = set(image_ids), dict[str, _ObjectMask](), set[str]()
    with Progress("Reading object masks", total=len(wanted), unit="image") as bar:
        for name, entry in _entries(path):
            if name in seen:
                raise DataError(f"{path}: {name} is there twice.", _AGAIN)
            seen.add(name)
            image_id = PurePosixPath(name).stem
            if image_id in wanted and image_id not in found:
                found[image_id] = tuple(_union(f"{path}: {name}", entry, grid).ravel().tolist())
                bar.advance()
    return found


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Names and values of the file's one object, one by one: as a whole it would need many times its size in memory."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        yield from _members(text)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", "Give the authors' coco_maskrcnn.json with --masks.") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not JSON: {error.msg} at character {error.pos:,}. It may be cut short.", _AGAIN
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}.", _AGAIN) from error


def _members(text: str) -> Iterator[tuple[str, Any]]:
    decode = json_decoder().raw_decode
    place = _after(text, 0, "{")
    while not text.startswith("}", place):
        name, place = decode(text, place)
        if not isinstance(name, str):
            raise json.JSONDecodeError("a name was expected", text, place)
        value, place = decode(text, _after(text, place, ":"))
        yield name, value
        place = _skip_space(text, place)
        if not text.startswith("}", place):
            place = _after(text, place, ",")


def _after(text: str, place: int, sign: str) -> int:
    """Where the text goes on after a sign and the space around it."""
    place = _skip_space(text, place)
    if not text.startswith(sign, place):
        raise json.JSONDecodeError(f"{sign!r} was expected", text, place)
    return _skip_space(text, place + len(sign))


def _skip_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return place if match is None else match.end()


def _union(where: str, entry: Any, grid: int) -> np.ndarray:
    """The pixels of all objects that are sure enough, resized: float32 [grid, grid]."""
    import numpy as np

    instances = _read_instances(where, entry)
    if not instances:
        return np.zeros((grid, grid), dtype=np.float32)
    height, width = instances[0].height, instances[0].width
    rows, row_weights = _bilinear_taps(height, grid)
    columns, column_weights = _bilinear_taps(width, grid)
    pixels = columns.ravel() * height + rows.reshape(-1, 1)  # [2 grid, 2 grid], numbered down the columns
    covered = np.zeros(pixels.shape, dtype=bool)
    for instance in instances:
        covered |= np.searchsorted(instance.ends, pixels, side="right") % 2 == 1  # every second run is object
    corners = covered.reshape(grid, 2, grid, 2)
    return np.einsum("iajb,ia,jb->ij", corners, row_weights, column_weights).astype(np.float32)


def _bilinear_taps(size: int, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Which two of `size` pixels [grid, 2] make up each of `grid` cells, and with what weights [grid, 2].

    As OpenCV resizes: pixel centres lie at halves, edges repeat, shrinking does not average.
    """
    import numpy as np

    centres = ((np.arange(grid) + 0.5) * (size / grid) - 0.5).clip(0, size - 1)
    lower = np.floor(centres).astype(np.int64)
    share = centres - lower
    return np.stack((lower, (lower + 1).clip(max=size - 1)), axis=1), np.stack((1 - share, share), axis=1)


def _read_instances(where: str, entry: Any) -> list[_Instance]:
    """The objects of an entry that are sure enough, all in one frame."""
    if not isinstance(entry, dict) or not isinstance(entry.get("scores"), list):
        raise DataError(f"{where} must have a list `scores` and `masks`.", _AGAIN)
    scores, masks = entry["scores"], _as_list(entry.get("masks"))
    if not all(type(score) in (int, float) for score in scores):
        raise DataError(f"{where}.scores must be numbers.", _AGAIN)
    if len(masks) != len(scores):
        raise DataError(f"{where} has {len(scores)} scores but {len(masks)} masks.", _AGAIN)
    instances = [
        _read_instance(f"{where}.masks[{i}]", mask)
        for i, (score, mask) in enumerate(zip(scores, masks, strict=True))
        if score > _MIN_SCORE
    ]
    sizes = {(instance.height, instance.width) for instance in instances}
    if len(sizes) > 1:
        raise DataError(f"{where}.masks have different sizes: {', '.join(map(str, sorted(sizes)))}.", _AGAIN)
    return instances


def _as_list(masks: Any) -> list[Any]:
    """Masks are a list of objects; one alone, or one whose counts are a list of texts or lists, are taken too."""
    if masks is None:
        return []
    if isinstance(masks, dict):
        counts = masks.get("counts")
        if isinstance(counts, list) and not all(type(count) is int for count in counts):
            return [{**masks, "counts": one} for one in counts]
    return masks if isinstance(masks, list) else [masks]


def _read_instance(where: str, mask: Any) -> _Instance:
    """Decode a run-length code; its runs must fill the photo exactly."""
    import numpy as np

    size = mask.get("size") if isinstance(mask, dict) else None
    if not (isinstance(size, list) and len(size) == 2 and all(type(s) is int and 0 < s <= _LONGEST_SIDE for s in size)):
        raise DataError(f"{where}.size must be height and width in pixels (got {size!r}).", _AGAIN)
    counts = mask.get("counts")
    height, width = size
    if isinstance(counts, str):
        runs = unpack_counts(counts)
    elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= height * width for count in counts):
        runs = np.array(counts, dtype=np.int64)
    else:
        runs = None
    if runs is None or (runs < 0).any():
        raise DataError(f"{where}.counts are neither lengths of runs nor COCO's packed text.", _AGAIN)
    if runs.sum() != height * width:
        raise DataError(f"{where}: its runs fill {runs.sum():,} of {height} × {width} pixels.", _AGAIN)
    return _Instance(height, width, runs.cumsum())


def unpack_counts(text: str) -> np.ndarray | None:
    """Lengths of runs from COCO's packed text, or None where the text is not that.

    Six bits a character, the low ones first: five of the number, then whether more follow; the last five are signed.
    From the fourth on, a number is the difference to the one two before it.
    """
    import numpy as np

    if not text or not text.isascii():
        return None
    codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return None
    last = np.flatnonzero(codes & 32 == 0)  # of each number
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _MOST_DIGITS:
        return None
    digit = np.arange(len(codes)) - np.repeat(first, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * digit), first)
    numbers -= np.where(codes[last] & 16, np.int64(1) << (5 * lengths), 0)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers
