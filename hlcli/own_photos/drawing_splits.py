"""Splits for images without one: drawn, with every label's images shared out as evenly as the whole."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from hlcli.errors import DataError
from hlcli.own_photos.tables import OwnRow
from hlcli.plain_text import counted


def draw_splits(rows: Sequence[OwnRow], shares: Mapping[str, float]) -> list[OwnRow]:
    """Rows with splits: rarest labels first, an image goes where its label lacks most of its share.

    Which images meet which split depends on their names, not on their order.

    Args:
        rows: at least as many as splits.
        shares: of each split; together 1. Each split gets an image at least.
    """
    order = sorted(range(len(rows)), key=lambda i: hashlib.sha256(rows[i].place.encode()).digest())
    of_label: dict[str, list[int]] = {}
    for i in order:
        for label in rows[i].labels:
            of_label.setdefault(label, []).append(i)
    chosen: dict[int, str] = {}
    room = {split: share * len(rows) for split, share in shares.items()}
    for _, members in sorted(of_label.items(), key=lambda entry: (len(entry[1]), entry[0])):
        lacking = {split: share * len(members) for split, share in shares.items()}
        for i in members:
            if i in chosen:
                lacking[chosen[i]] -= 1
        for i in members:
            if i not in chosen:
                chosen[i] = max(shares, key=lambda split: (lacking[split], room[split]))
                lacking[chosen[i]] -= 1
                room[chosen[i]] -= 1
    for i in order:
        if i not in chosen:
            chosen[i] = max(shares, key=lambda split: room[split])
            room[chosen[i]] -= 1
    for split in shares:  # a few images of as many labels all go to one
        if split not in chosen.values():
            (largest, _), *_ = Counter(chosen.values()).most_common()
            chosen[next(i for i in order if chosen[i] == largest)] = split
    return [row._replace(split=chosen[i]) for i, row in enumerate(rows)]


def fill_splits(path: str, rows: Sequence[OwnRow], shares: Mapping[str, float]) -> list[OwnRow]:
    """Rows that all have a split, such that there are images to train on and others to measure.

    Those without a split draw one of `shares`; of a table that names splits, but no val, some of train are drawn.

    Raises:
        DataError: when there are too few images, or none to train on.
    """
    named = {row.split for row in rows} - {""}
    has_val = "val" in named
    drawn = [i for i, row in enumerate(rows) if not row.split or (row.split == "train" and not has_val)]
    if named:
        shares = {"train": 1.0} if has_val else {"train": 1 - shares["val"], "val": shares["val"]}
    if "train" not in named and not drawn:
        raise DataError(f"{path}: no image belongs to train.", "Call those to learn from `train` in the split column.")
    if len(drawn) < len(shares) and not (has_val and "train" in named):
        raise DataError(
            f"{path} names {counted(len(rows), 'image that is', 'images that are')} there: too few to train and to "
            "measure.",
            "Are all images in the folder, and named as in the table?",
        )
    filled = [*rows]
    if drawn:
        for i, row in zip(drawn, draw_splits([rows[i] for i in drawn], shares), strict=True):
            filled[i] = row
    return filled
