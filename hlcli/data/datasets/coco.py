"""MS-COCO 2014 as a multi-label data set: 123,287 photos, 80 labels below 12 parents.

Official layout, below `ROOT/coco` or in `COCO2014/`, `MSCOCO/` or `coco/` there: `train2014/`, `val2014/` and
`annotations/instances_{train,val}2014.json`. As in the papers, train2014 is `train` and val2014 is `test`; there is no
`val` unless a share of train is held out. Every object counts as its label, crowds included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hlcli.data.datasets.base import Prepared, hold_out, is_file_of_split, note_source
from hlcli.data.datasets.coco_annotations import AnnotatedImage, compare_with_published, read_instances
from hlcli.data.datasets.coco_labels import DRAWN_TOGETHER, LABEL_NAMES, PARENTS, SHORT_NAMES
from hlcli.data.datasets.missing_images import without_missing
from hlcli.data.datasets.published_lists import ListOptions, with_listed_labels
from hlcli.data.datasets.with_parents import DataWithParents
from hlcli.data.records import Record
from hlcli.errors import DataError

FOLDERS = ("", "COCO2014", "MSCOCO", "coco")
"""Where the layout may begin, below the source."""

SPLITS = {"train": "train", "val": "test"}
"""Our name of each of the year's own splits."""


class CocoOptions(ListOptions):
    """How COCO's files are read."""

    keep_unlabelled: bool = Field(False, description="Keep images without any object; the papers drop them.")
    val_fraction: float = Field(0.0, ge=0, lt=1, description="Share of the training images held out as a val split.")
    val_seed: int = Field(0, ge=0, description="Decides which images are held out.")


class Coco(DataWithParents):
    """Photos of everyday scenes, MS-COCO 2014 (Lin et al., ECCV 2014), labelled by the objects in them."""

    other_names = ("coco2014",)
    drawn_together = DRAWN_TOGETHER
    short_names = SHORT_NAMES
    prepare_options = CocoOptions
    label_names = LABEL_NAMES
    parents = PARENTS

    dataset: Literal["coco"] = "coco"

    def prepare(self, source: Path, options: CocoOptions) -> Prepared:
        """Read the official layout; images in ascending order of their ids.

        Raises:
            DataError: when no split is there, or one is damaged, incomplete or lacks too many images.
        """
        folder = _find_folder(source)
        notes: dict[str, Any] = options.model_dump(mode="json", exclude={"allow_partial", "without_images", "labels"})
        notes |= {"absent_splits": [], "images_without_labels": {}}
        splits: dict[str, list[Record]] = {}
        for theirs, ours in SPLITS.items():
            path = folder / "annotations" / f"instances_{theirs}2014.json"
            if not is_file_of_split(path, ours, notes, allow_partial=options.allow_partial):
                continue
            images = read_instances(path)
            note_source(path, notes)
            if not options.allow_partial:
                compare_with_published(theirs, images, path)
            notes["images_without_labels"][ours] = sum(not image.labels for image in images)
            splits[ours] = _records(images, folder / f"{theirs}2014", keep_unlabelled=options.keep_unlabelled)
        if options.val_fraction > 0 and "train" not in splits:
            raise DataError("--val-fraction takes images from train, but there is no train split.")
        full = {record.image_id: record for record in splits.get("train", ())}
        splits = with_listed_labels(self, splits, options, notes)
        splits = without_missing(self, splits, options, notes=notes)
        if options.val_fraction > 0:
            train, held_out = hold_out(splits["train"], options.val_fraction, options.val_seed)
            val = [full[record.image_id] for record in held_out]  # these keep all their labels
            splits = {"train": train, "val": val} | {name: rows for name, rows in splits.items() if name != "train"}
        return Prepared(splits, notes)


def _find_folder(source: Path) -> Path:
    """The folder of `annotations/`, at or below the source.

    Raises:
        DataError: when there is none.
    """
    for name in FOLDERS:
        folder = source / name
        if any((folder / "annotations" / f"instances_{split}2014.json").is_file() for split in SPLITS):
            return folder.absolute()
    raise DataError(
        f"{source} has no annotations/instances_train2014.json or instances_val2014.json.",
        "Run `hlcli download coco`, or say where they are with --source.",
    )


def _records(images: list[AnnotatedImage], folder: Path, *, keep_unlabelled: bool) -> list[Record]:
    return [
        Record(str(image.id), folder / image.file, image.labels) for image in images if image.labels or keep_unlabelled
    ]
