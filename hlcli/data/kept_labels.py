"""Training with missing labels: what is left of each training image's labels, and the record of it in the run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record, Records
from hlcli.data.store import open_label_space, open_records, split_labels
from hlcli.errors import DataError, named
from hlcli.files import whole_file
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)

KEPT_LABELS_FILE = "train_labels.jsonl"
"""In a run's folder: the labels that were trained on, one image a line, where they are not all of the data set's."""


class KeptLabels(Sequence[Record]):
    """Some records of a split, each with some of its labels.

    Args:
        records: the whole split.
        rows: which of them.
        labels: what is left of the labels of each.
    """

    def __init__(self, records: Records, rows: Sequence[int], labels: Sequence[tuple[int, ...]]) -> None:
        self.records, self.rows, self.kept = records, rows, labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Record:  # type: ignore[override]
        return self.records[self.rows[row]].with_labels(self.kept[row])


def open_training_records(data: DataSection) -> Records:
    """The images to train on, with the labels that the recipe leaves them.

    Raises:
        DataError: when there is no such split, or a list of labels does not fit it.
    """
    records = open_records(data, "train")
    if data.labels_list is None and data.labels_kept == "all":
        return records
    known = split_labels(records)
    if data.labels_list is not None:
        chosen = _listed(data.labels_list, known, open_label_space(data).num_labels)
    else:
        chosen = [kept_of(image_id, labels, data.labels_kept, data.labels_kept_seed) for image_id, labels in known]
    rows = [row for row, labels in enumerate(chosen) if labels is not None]
    if not any(chosen):
        raise DataError(
            "No training image has a label left.", "Do its images have labels, and is data.labels_kept too small?"
        )
    _announce_kept(known, chosen)
    if data.labels_list is None and len(rows) < len(records):
        logger.warning("%d training images without any label are left out.", len(records) - len(rows))
    return KeptLabels(records, rows, [labels for labels in chosen if labels is not None])


def _announce_kept(known: Sequence[tuple[str, tuple[int, ...]]], chosen: Sequence[tuple[int, ...] | None]) -> None:
    """Say how much is left to learn from."""
    before, after = sum(len(labels) for _, labels in known), sum(len(labels or ()) for labels in chosen)
    empty = sum(labels == () for labels in chosen)
    never = {label for _, labels in known for label in labels} - {label for labels in chosen for label in labels or ()}
    logger.info("Training labels kept: %s of %s; %s images have none left.", f"{after:,}", f"{before:,}", f"{empty:,}")
    if never:
        logger.warning("%d labels have no positive left in training.", len(never))


def kept_of(
    image_id: str, labels: Sequence[int], kept: Literal["all", "single"] | float, seed: int
) -> tuple[int, ...] | None:
    """What is left of an image's labels: a function of its id and the seed, whatever the order of the images.

    Args:
        image_id: the image.
        labels: all that it has, ascending.
        kept: `single` keeps one, all being equally likely (an image without labels is left out: None); a share keeps
            each label with that probability, perhaps none.
        seed: another seed draws others.
    """
    if kept == "all":
        return tuple(labels)
    if kept == "single":
        return (labels[_draw(f"{seed}:{image_id}") % len(labels)],) if labels else None
    return tuple(label for label in labels if _draw(f"{seed}:{image_id}:{label}") < kept * 2**64)


def _draw(text: str) -> int:
    """A number below 2^64 that only the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _listed(path: Path, known: Sequence[tuple[str, tuple[int, ...]]], num_labels: int) -> list[tuple[int, ...] | None]:
    """The labels that a published list leaves each image; None for images that are not on it."""
    from hlcli.data.datasets.label_lists import check_disagreement, lists_by_record, read_label_list

    matched = lists_by_record([image_id for image_id, _ in known], read_label_list(path, num_labels))
    if matched.strangers:
        shown = named(matched.strangers, 3)
        logger.warning("%s lists %d images that the split lacks: %s.", path, len(matched.strangers), shown)
    if all(labels is None for labels in matched.labels):
        raise DataError(f"{path} lists no image of the training split.", "Is it the list of this data set?")
    odd = [
        image_id
        for labels, (image_id, own) in zip(matched.labels, known, strict=True)
        if labels and not set(labels) <= set(own)
    ]
    check_disagreement(path, sum(labels is not None for labels in matched.labels), odd)
    left_out = sum(labels is None for labels in matched.labels)
    if left_out:
        logger.warning("%s leaves out %d of %d training images.", path, left_out, len(known))
    return list(matched.labels)


def _kept_labels_text(records: KeptLabels, labels: LabelSpace) -> str:
    """The training labels by name, one image a line."""
    ids = [image_id for image_id, _ in split_labels(records.records)]
    lines = (
        json.dumps({"image": ids[row], "labels": [labels.label_names[i] for i in kept]}, ensure_ascii=False)
        for row, kept in zip(records.rows, records.kept, strict=True)
    )
    return "".join(f"{line}\n" for line in lines)


def write_kept_labels(folder: Path, records: Records, labels: LabelSpace) -> None:
    """Keep the labels that a run trains on in its folder, where they are not simply those of the data set."""
    path = folder / KEPT_LABELS_FILE
    if not isinstance(records, KeptLabels):
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as handle:
        handle.write(_kept_labels_text(records, labels))


def check_kept_labels(folder: Path, records: Records, labels: LabelSpace) -> None:
    """Refuse to go on with other labels than a run began with.

    Raises:
        DataError: when they are others.
    """
    path = folder / KEPT_LABELS_FILE
    if not isinstance(records, KeptLabels) or not path.is_file():
        return
    if path.read_bytes() != _kept_labels_text(records, labels).encode():
        raise DataError(
            f"The training labels are not those of {path}: the data set or the list has changed since the run began.",
            "Bring it back, or start anew with --overwrite.",
        )
