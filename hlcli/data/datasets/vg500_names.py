"""Names for VG-500's labels, which were published as numbers alone.

Each number stands for one of the most frequent object names of Visual Genome. Which one, the images tell: the images
of a number and the images in which objects of that name were marked are nearly the same.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.data.datasets.assignment import best_assignment
from hlcli.data.datasets.base import read_lines
from hlcli.errors import DataError, named
from hlcli.json_text import parse_json, read_json, without_repetition

NUM_LABELS = 500
_NUM_CANDIDATES = 1000
NUMBERS = tuple(str(index) for index in range(NUM_LABELS))

_UNREADABLE = (
    OSError, ValueError, LookupError, TypeError, RuntimeError, OverflowError, EOFError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading a damaged or foreign file raises; RuntimeError for an encrypted zip, or lists nested too deep."""


class _Match(NamedTuple):
    """A label's name, and how well its images agree with the name's: shared images as a share of all (Jaccard)."""

    name: str
    agreement: float


def read_names(path: Path) -> tuple[str, ...]:
    """A file of names, one a line, in the order of the labels.

    Raises:
        DataError: when there are more or fewer than 500, or one is there twice.
    """
    names = tuple(line for _, line in read_lines(path))
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if len(names) != NUM_LABELS or repeated:
        what = f"{repeated[0]!r} is there twice" if repeated else f"it has {len(names)}"
        raise DataError(f"{path}: {NUM_LABELS} different names were expected, one a line, but {what}.")
    return names


def read_objects(path: Path) -> dict[str, set[str]]:
    """The object names of every image, by its id, from Visual Genome's `objects.json` (or the zip it comes in).

    An object's first name counts, in lower case.

    Raises:
        DataError: when the file is not of that form.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as handle:
                document: Any = parse_json(handle.read())
        else:
            document = read_json(path)
        return without_repetition([(str(image["image_id"]), _names_of(image["objects"])) for image in document])
    except _UNREADABLE as error:
        raise DataError(f"{path} is not Visual Genome's objects.json: {error!r}.") from error


def _names_of(things: Any) -> set[str]:
    """The first name of every object, in lower case."""
    names = [thing["names"] for thing in things]
    if not all(isinstance(given, list) and isinstance(given[0], str) for given in names):
        raise TypeError("an object has no list of names")
    return {given[0].strip().lower() for given in names}


def recover_names(labels: Mapping[str, Sequence[int]], objects: Mapping[str, set[str]]) -> tuple[_Match, ...]:
    """A name for every label, each name used once, with the largest agreement in total; a number where nothing fits.

    Args:
        labels: label indices of every image, by its id.
        objects: object names of every image, by its id.
    """
    import numpy as np

    ids = [image for image in labels if image in objects]
    frequencies = Counter(name for image in ids for name in objects[image])
    candidates = sorted(frequencies, key=lambda name: (-frequencies[name], name))[:_NUM_CANDIDATES]
    column = {name: index for index, name in enumerate(candidates)}
    sizes = np.zeros(NUM_LABELS)
    shared = np.zeros((NUM_LABELS, max(NUM_LABELS, len(candidates))))  # columns without a name are empty
    for image in ids:
        rows = sorted(set(labels[image]))
        sizes[rows] += 1
        shared[np.ix_(rows, [column[name] for name in objects[image] if name in column])] += 1
    totals = np.zeros(shared.shape[1])
    totals[: len(candidates)] = [frequencies[name] for name in candidates]
    agreement = shared / np.maximum(sizes[:, None] + totals - shared, 1)
    return tuple(
        _Match(candidates[index], float(agreement[label, index]))
        if agreement[label, index] > 0
        else _Match(NUMBERS[label], 0.0)
        for label, index in enumerate(best_assignment(agreement))
    )


def check_agreement(matches: Sequence[_Match], least: float) -> None:
    """Refuse names that may be wrong.

    Raises:
        DataError: naming the most doubtful labels.
    """
    doubtful = sorted(
        ((match.agreement, label, match.name) for label, match in enumerate(matches) if match.agreement < least)
    )
    if doubtful:
        shown = named([f"{label} {name!r} {agreement:.2f}" for agreement, label, name in doubtful])
        raise DataError(
            f"The names of {len(doubtful)} of {len(matches)} labels are doubtful, their images agree by less than "
            f"{least:g}: {shown}.",
            "Is the partition complete, and objects.json version 1.4? --min-agreement takes doubtful names too.",
        )
