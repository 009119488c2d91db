"""Label lists in the place of a split's own labels, and which lists are known: HSPNet's and SPLC's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from hlcli.data.datasets.base import LayoutOptions, check_counts, note_source
from hlcli.data.datasets.label_lists import check_disagreement, lists_by_record, read_label_list
from hlcli.data.datasets.with_parents import DataWithParents
from hlcli.data.records import Record
from hlcli.data.transfers.checksums import Checksum
from hlcli.errors import DataError, named

logger = logging.getLogger(__name__)


class ListOptions(LayoutOptions):
    """Options of a data set whose training labels may come from a list."""

    labels: Path | None = Field(
        None,
        description="List `path,index index` that says which training images there are, and their labels: HSPNet's "
        "single labels, SPLC's shares.",
    )


class PublishedList(NamedTuple):
    """A list that is known.

    Args:
        what: the list in words.
        images: images in it.
        labels: labels of all of them together.
    """

    what: str
    images: int
    labels: int


PUBLISHED = {
    "310025721514e4260a17091fd610c88e": PublishedList("SPLC's list of COCO with all labels", 82_081, 241_035),
    "d0aba64292b20e36086cc741e77ffaf8": PublishedList("SPLC's list of COCO with 75 % of the labels", 82_081, 181_422),
    "01b71e70ff27773516ae3abcea498494": PublishedList("SPLC's list of COCO with 40 % of the labels", 82_081, 96_251),
    "08386d86dcc5324fdb8cd6f541091319": PublishedList("SPLC's list of COCO with single labels", 82_081, 82_081),
    "808db35a1e18b077ff35386b69afc351": PublishedList("HSPNet's list of VOC 2012 train, single labels", 5_717, 5_717),
    "41eaf0dcd079699efdc79b455f2ea2fe": PublishedList("HSPNet's list of VOC 2012 val", 5_823, 8_856),
    "c80a0180638af8fa39668672c026501d": PublishedList("SPLC's list of NUS-WIDE's test images", 50_720, 123_567),
    "5a8bbbc413da4806c0eb5681546338dd": PublishedList("HSPNet's list of CUB train, single labels", 5_994, 5_994),
    "e313d2d9b7e897c41495fadc77050f5e": PublishedList("HSPNet's list of CUB test", 5_794, 182_704),
}
"""By md5. HSPNet trains on COCO with SPLC's file."""


def with_listed_labels(
    data: DataWithParents, splits: Mapping[str, list[Record]], options: ListOptions, notes: dict[str, Any]
) -> dict[str, list[Record]]:
    """The splits with the training images and labels of `options.labels`; as they are where there is no such list.

    Raises:
        DataError: when there is no train split, or the list does not fit it.
    """
    if options.labels is None:
        return dict(splits)
    if "train" not in splits:
        raise DataError(f"{options.labels} is about train, but there is no such split.")
    num_labels, partial = len(data.label_names), options.allow_partial
    train = take_listed(options.labels, splits["train"], "train", notes, num_labels, allow_partial=partial)
    return {**splits, "train": train}


def take_listed(
    path: Path,
    records: Sequence[Record],
    split: str,
    notes: dict[str, Any],
    num_labels: int,
    full_labels: Mapping[str, Sequence[int]] | None = None,
    *,
    allow_partial: bool = False,
) -> list[Record]:
    """The records that a list names, in their own order, with the labels it gives them.

    Args:
        path: the list.
        records: all images of the split.
        split: its name.
        notes: gets what was found, by split, under `label_lists`.
        num_labels: number of labels, L.
        full_labels: all labels of every image by id, for comparison; None for those of the records.
        allow_partial: accept a list of images that the split lacks; they are left out.

    Raises:
        DataError: when the list is damaged, names strangers, or is of other labels than the images have.
    """
    listed = read_label_list(path, num_labels)
    published = identify(path, listed)
    matched = lists_by_record([record.image_id for record in records], listed)
    _check_strangers(path, len(listed), matched.strangers, split, allow_partial=allow_partial)
    chosen = [
        record.with_labels(labels) for record, labels in zip(records, matched.labels, strict=True) if labels is not None
    ]
    full_labels = full_labels or {record.image_id: record.labels for record in records}
    odd = [record.image_id for record in chosen if not {*record.labels} <= {*full_labels[record.image_id]}]
    check_disagreement(path, len(chosen), odd)
    note_source(path, notes)
    notes.setdefault("label_lists", {})[split] = {
        "file": path.name,
        "published": published,
        "images": len(chosen),
        "labels": sum(len(record.labels) for record in chosen),
        "images_not_listed": len(records) - len(chosen),
        "listed_images_missing": len(matched.strangers),
        "images_with_other_labels": len(odd),
    }
    return chosen


def identify(path: Path, listed: Mapping[str, Sequence[int]]) -> str | None:
    """Which published list a file is, in words; None for any other, which is said.

    Raises:
        DataError: when it is one by its md5, but was not read as it should be.
    """
    known = PUBLISHED.get(Checksum("md5", "").of_file(path))
    if known is None:
        logger.info("%s is none of the published lists that are known here.", path)
        return None
    num_labels = sum(len(labels) for labels in listed.values())
    check_counts(path, [("images", known.images, len(listed)), ("labels", known.labels, num_labels)])
    logger.info("%s is %s.", path, known.what)
    return known.what


def _check_strangers(path: Path, total: int, strangers: Sequence[str], split: str, *, allow_partial: bool) -> None:
    """Refuse, or warn about, listed images that the split does not have."""
    if not strangers:
        return
    message = f"{path}: {len(strangers):,} of {total:,} listed images are not in {split}, e.g. {named(strangers, 3)}."
    if not allow_partial or len(strangers) == total:
        raise DataError(message, "Is it the list of this data set's split? A subset on purpose needs --allow-partial.")
    logger.warning("%s They are left out.", message)
