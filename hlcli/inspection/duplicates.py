"""Images that look the same, though they were encoded or scaled anew.

Two numbers are compared. A difference hash of 64 bits says where a picture gets brighter from left to right, on a grid
of 8 × 9 cells: encoding, scaling and brightness hardly change it. A colour thumbnail of 8 × 8 pixels tells apart what
has the same hash, as all plain pictures have. Mirrored, rotated and cropped copies are not found.

Pairs with like hashes are found without comparing all with all: the hash is parted into four bands of 16 bits; of two
hashes that differ in 7 bits at most, one band differs in one bit at most, so that every band, and all its
neighbours, are looked up in a sorted list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hlcli.inspection.findings import Finding, finding_on
from hlcli.inspection.rows import SplitRows

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL_SIDE = 8
_MOST_BITS = 7
"""Largest number of bits in which the hashes of copies differ."""

_MOST_DEVIATION = 6.0
"""Largest root mean square difference of the thumbnails of copies, of 255."""

_BRIGHTER = 2
"""A cell is brighter than its neighbour by more than this, of 255: the noise of encoding does not count."""

_BANDS, _BAND_BITS = 4, 16
_PAIRS_AT_ONCE = 100_000


def describe_picture(image: Image) -> tuple[int, bytes]:
    """Difference hash and thumbnail (8 × 8 × 3 bytes) of an RGB image."""
    from PIL.Image import Resampling

    cells = np.asarray(image.resize((9, 8), Resampling.BOX).convert("L"), dtype=np.int16)
    bits = cells[:, 1:] > cells[:, :-1] + _BRIGHTER  # [8, 8]
    spread = bits.reshape(16, 4).T  # a band has every fourth bit: plain paper at the sides leaves none of them empty
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return int.from_bytes(np.packbits(spread).tobytes(), "big"), image.resize(side, Resampling.BOX).tobytes()


def duplicate_groups(hashes: np.ndarray, thumbnails: np.ndarray) -> list[np.ndarray]:
    """Groups of images that look the same: their places, ascending; two at least.

    Args:
        hashes: difference hashes, [N] uint64.
        thumbnails: [N, 8, 8, 3] uint8.
    """
    if not len(hashes):
        return []
    flat = thumbnails.reshape(len(hashes), -1)
    means = flat.mean(axis=1)  # of copies they differ by less than the thumbnails
    group = np.arange(len(hashes))
    described = np.concatenate([hashes[:, None].view(np.uint8).reshape(len(hashes), -1), flat], axis=1)
    _, leaders, same_as = np.unique(described, axis=0, return_index=True, return_inverse=True)
    for first, second in _candidates(hashes[leaders]):
        first, second = leaders[first], leaders[second]
        near = _bits_apart(hashes[first], hashes[second]) <= _MOST_BITS
        near &= (group[first] != group[second]) & (np.abs(means[first] - means[second]) <= _MOST_DEVIATION)
        first, second = first[near], second[near]
        difference = flat[first].astype(np.float32) - flat[second]
        alike = np.square(difference).mean(axis=1) <= _MOST_DEVIATION**2
        _join(group, first[alike], second[alike])
    group = group[leaders[same_as.reshape(-1)]]
    order = np.argsort(group, kind="stable")
    edges = np.flatnonzero(np.diff(group[order])) + 1
    return [members for members in np.split(order, edges) if len(members) > 1]


def _candidates(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of places whose hashes have a band that differs in one bit at most; a pair may come again."""
    for band in range(_BANDS):
        keys = ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64(2**_BAND_BITS - 1)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        for mask in (0, *(1 << bit for bit in range(_BAND_BITS))):
            begin, end = np.searchsorted(keys, keys ^ mask), np.searchsorted(keys, keys ^ mask, side="right")
            if mask == 0:
                begin = np.arange(len(keys)) + 1  # each pair once
            else:
                begin = np.where((keys & mask) == 0, begin, end)
            for rows, partners in _pairs(begin, np.maximum(begin, end)):
                yield order[rows], order[partners]


def _pairs(begin: np.ndarray, end: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every row with every place from its begin to its end, some at a time."""
    total = np.concatenate([[0], np.cumsum(end - begin)])
    start = 0
    while start < len(begin):
        stop = max(start + 1, int(np.searchsorted(total, total[start] + _PAIRS_AT_ONCE, side="right")) - 1)
        counts = end[start:stop] - begin[start:stop]
        rows = np.repeat(np.arange(start, stop), counts)
        within = np.arange(total[stop] - total[start]) - np.repeat(total[start:stop] - total[start], counts)
        if len(rows):
            yield rows, begin[rows] + within
        start = stop


def _bits_apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number of bits in which hashes differ (a sum of bits in ever larger parts of the number)."""
    bits = first ^ second
    bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x5555555555555555))
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (bits * np.uint64(0x0101010101010101)) >> np.uint64(56)


def _join(group: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Unite the groups of pairs, in place; a group is called by its smallest place."""
    while True:
        low, high = np.minimum(group[first], group[second]), np.maximum(group[first], group[second])
        if np.array_equal(low, high):
            return
        np.minimum.at(group, high, low)
        while not np.array_equal(group, group[group]):
            group[:] = group[group]


def duplicate_findings(
    hashes: np.ndarray, thumbnails: np.ndarray, rows: np.ndarray, splits: Sequence[SplitRows]
) -> list[Finding]:
    """Copies across splits, which are known to a model that is measured on them; within a split; with other labels.

    Args:
        hashes: of N images.
        thumbnails: of the same.
        rows: (number of the split, row) of each, [N, 2].
        splits: the splits that they are from.
    """
    leaks: list[str] = []
    copies: list[str] = []
    contradictions: list[str] = []
    leaking, copied = set[str](), set[str]()
    for members in duplicate_groups(hashes, thumbnails):
        places = [(splits[number], row) for number, row in rows[members].tolist()]
        text = " = ".join(home.name(row) for home, row in places)
        homes = {home.split for home, _ in places}
        (leaks if len(homes) > 1 else copies).append(text)
        (leaking if len(homes) > 1 else copied).update(homes)
        if len({home.labels[row] for home, row in places}) > 1:
            contradictions.append(text)
    what = "{} {picture is|pictures are} in more than one split: scores there are those of known images."
    mend = "Look at {it|them}; then list the copies in all but one split under data.skip, or correct the splits."
    findings = finding_on(leaks, "error", "duplicates", what, mend, tuple(sorted(leaking)))
    what = "{} {picture is|pictures are} several times in one split, and {counts|count} as often."
    mend = "Look at {it|them}; list the copies under data.skip."
    findings += finding_on(copies, "warning", "duplicates", what, mend, tuple(sorted(copied)))
    what = "{} of the repeated pictures {has|have} different labels."
    return findings + finding_on(contradictions, "warning", "duplicates", what, "Decide which labels are right.")
