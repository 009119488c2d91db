"""Photos with captions in the split of Karpathy and Fei-Fei: COCO, Flickr8k and Flickr30k.

Official layout of `coco-karpathy`, in COCO's own folder `ROOT/coco`: `train2014/`, `val2014/` and
`karpathy/dataset_coco.json`; or, in place of the last, `annotations/` with the four id lists that M2, DFT and HIN read.
Of `flickr8k` and `flickr30k`: `images/` and `karpathy/dataset_flickr8k.json`. Splits are `train` (COCO: train and
restval), `val` and `test`; the sets have no labels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from hlcli.data.coco_captions import read_image_list
from hlcli.data.datasets.base import LayoutOptions, Prepared, check_counts, note_source
from hlcli.data.datasets.coco import FOLDERS
from hlcli.data.datasets.karpathy_annotations import (
    COCO_COUNTS,
    FLICKR8K_COUNTS,
    FLICKR30K_COUNTS,
    ID_LISTS,
    SPLITS,
    Counts,
    KarpathyImage,
    has_id_lists,
    read_id_lists,
    read_karpathy,
)
from hlcli.data.datasets.missing_images import without_missing
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.errors import DataError
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)

_OUR_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}
"""Our name of each of Karpathy's splits."""

PARTS = ("train2014", "val2014")
"""Folders of COCO's photos."""

CAPTION_IDS = "caption_ids.json"
"""What the store keeps besides, for the papers' own files: split, file and caption ids of every image."""


class _KarpathyOptions(LayoutOptions):
    """How the split is read."""

    annotations: Path | None = Field(
        None, description="The split's JSON file, or a folder with the papers' id lists; default: looked for in SOURCE."
    )


class CocoKarpathyOptions(_KarpathyOptions):
    """How COCO's captions are read."""

    online_test: bool = Field(
        False, description="Add the split `online`: test2014, whose captions only COCO's server knows."
    )


class FlickrOptions(_KarpathyOptions):
    """How the Flickr sets are read."""

    images: Path | None = Field(None, description="Folder of the photos; default images/ in SOURCE.")


class CocoKarpathy(DataSection):
    """Photos of everyday scenes with five captions each: MS-COCO 2014 in Karpathy's split."""

    prepare_options = CocoKarpathyOptions

    dataset: Literal["coco-karpathy"] = "coco-karpathy"

    def folder(self) -> Path:
        """ROOT/coco, so that the photos are there once."""
        return super().folder().with_name("coco")

    def label_space(self) -> LabelSpace:
        """No label; for COCO's objects there is `coco`."""
        return LabelSpace.empty()

    def prepare(self, source: Path, options: CocoKarpathyOptions) -> Prepared:
        """Read the split; train first, then restval, each in the order of the file.

        Raises:
            DataError: when it is missing, damaged or not whole, or too many images are missing.
        """
        folder = _photo_folder(source)
        notes: dict[str, Any] = {"restval": 0, "absent_splits": []}
        found = options.annotations or _find_coco_split(source)
        images = _read_split(found, notes)
        notes["restval"] = sum(image.split == "restval" for image in images)
        splits = _to_splits(images, folder, notes)
        if not options.allow_partial:
            _check_numbers(found, splits, COCO_COUNTS)
        if options.online_test:
            path = folder / "annotations" / "image_info_test2014.json"
            listed = read_image_list(path)
            note_source(path, notes)
            splits["online"] = [Record(image.image_id, folder / "test2014" / image.file) for image in listed]
        splits = without_missing(self, splits, options, notes=notes)
        return Prepared(splits, notes, documents={CAPTION_IDS: _caption_ids(images)})


class _Flickr(DataSection):
    prepare_options = FlickrOptions
    counts: ClassVar[Counts]
    photo_folders: ClassVar[tuple[str, ...]]

    def label_space(self) -> LabelSpace:
        """No label."""
        return LabelSpace.empty()

    def prepare(self, source: Path, options: FlickrOptions) -> Prepared:
        """Read the split; images in the order of the file.

        Raises:
            DataError: when it is missing or damaged, or too many images are missing.
        """
        file = f"dataset_{self.name}.json"
        places = [source, source / "karpathy", source / "annotations", self.folder().with_name("coco") / "karpathy"]
        found = options.annotations or _first_file([place / file for place in places])
        if found is None:
            hint = f"Run `hlcli download {self.name}`, or say where the split is with --annotations FILE."
            raise DataError(f"{source} has no {file}, neither there nor in karpathy/.", hint)
        notes: dict[str, Any] = {"absent_splits": []}
        images = _read_split(found, notes)
        splits = _to_splits(images, self._photo_folder(source, options), notes)
        if not options.allow_partial:
            _check_numbers(found, splits, self.counts)
        hint = "Put them into `images`, or say where they are with --images DIR."
        splits = without_missing(self, splits, options, notes=notes, hint=hint)
        return Prepared(splits, notes, documents={CAPTION_IDS: _caption_ids(images)})

    def _photo_folder(self, source: Path, options: FlickrOptions) -> Path:
        """The folder that was named, or the first that is there under a name in use."""
        if options.images is not None:
            return options.images.absolute()
        names = ("images", "Images", *self.photo_folders)
        inner = [f"images/{name}" for name in self.photo_folders]  # as archives unpack
        found = [source / name for name in (*inner, *names) if (source / name).is_dir()]
        return (found[0] if found else source / "images").absolute()


class Flickr8k(_Flickr):
    """8,000 photos of people and dogs with five captions each (Hodosh et al., JAIR 2013), in Karpathy's split."""

    counts: ClassVar[Counts] = FLICKR8K_COUNTS
    photo_folders: ClassVar[tuple[str, ...]] = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k")

    dataset: Literal["flickr8k"] = "flickr8k"


class Flickr30k(_Flickr):
    """31,000 photos of people with five captions each (Young et al., TACL 2014), in Karpathy's split."""

    counts: ClassVar[Counts] = FLICKR30K_COUNTS
    photo_folders: ClassVar[tuple[str, ...]] = ("flickr30k-images", "flickr30k_images")

    dataset: Literal["flickr30k"] = "flickr30k"


def _photo_folder(source: Path) -> Path:
    """Where COCO's photos are, at or below the source."""
    found = [source / name for name in FOLDERS if any((source / name / part).is_dir() for part in PARTS)]
    return (found[0] if found else source).absolute()


def _first_file(paths: Sequence[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _find_coco_split(source: Path) -> Path:
    """The JSON file, or the folder of id lists.

    Raises:
        DataError: when there is neither.
    """
    folders = [source / name / below for name in FOLDERS for below in ("karpathy", "", "annotations")]
    found = _first_file([folder / "dataset_coco.json" for folder in folders])
    found = found or next((folder for folder in folders if has_id_lists(folder)), None)
    if found is None:
        raise DataError(
            f"{source} has no karpathy/dataset_coco.json, and no {ID_LISTS['train']}.npy either.",
            "Run `hlcli download coco-karpathy`, or say where they are with --annotations.",
        )
    return found


def _read_split(found: Path, notes: dict[str, Any]) -> list[KarpathyImage]:
    """The images of a JSON file, or of a folder with id lists; their files are noted."""
    if not found.is_dir():
        images = read_karpathy(found)
        note_source(found, notes)
        return images
    jsons = sorted(found.glob("dataset_*.json"))
    if not has_id_lists(found) and len(jsons) == 1:
        return _read_split(jsons[0], notes)
    images = read_id_lists(found)
    for name in (*(f"{name}.npy" for name in ID_LISTS.values()), "captions_train2014.json", "captions_val2014.json"):
        note_source(found / name, notes)
    return images


def _to_splits(images: Sequence[KarpathyImage], folder: Path, notes: dict[str, Any]) -> dict[str, list[Record]]:
    """Records by our splits; numbers of captions and splits without an image are noted."""
    splits: dict[str, list[Record]] = {split: [] for split in dict.fromkeys(_OUR_SPLITS.values())}
    for theirs in SPLITS:
        splits[_OUR_SPLITS[theirs]] += [
            Record(image.image_id, folder / image.file, captions=image.captions)
            for image in images
            if image.split == theirs
        ]
    notes["absent_splits"] = [split for split, records in splits.items() if not records]
    notes["captions"] = {split: sum(len(record.captions) for record in rows) for split, rows in splits.items()}
    return {split: records for split, records in splits.items() if records}


def _check_numbers(found: Path, splits: dict[str, list[Record]], expected: Counts) -> None:
    """Compare the numbers of images: COCO's train has 113,287 only with restval."""
    numbers = {"train": expected.train, "val": expected.val, "test": expected.test}
    counts = [(f"images of {split}", number, len(splits.get(split, ()))) for split, number in numbers.items()]
    check_counts(found, counts, is_verified=expected.is_verified)


def _caption_ids(images: Sequence[KarpathyImage]) -> dict[str, Any]:
    return {
        image.image_id: {"split": image.split, "file": image.file, "ids": list(image.caption_ids)} for image in images
    }
