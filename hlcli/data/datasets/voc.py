"""PASCAL VOC 2007 and 2012 as multi-label data sets: 20 labels below four parents.

Official layout, below `ROOT/voc2007` or in `VOC2007/` or `VOCdevkit/VOC2007/` there (likewise 2012):
`ImageSets/Main/<list>.txt`, `Annotations/<id>.xml`, `JPEGImages/<id>.jpg`. Only listed images are read: `JPEGImages`
also holds images that belong to other tasks.

An object can be *difficult*. A label all of whose objects in an image are difficult counts neither way in scores (it
is in the record's `ignore`); what it means for training is an option: `negative`, the default, as in SGRE's program,
`positive` as in SALGL's, or `ignore`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from hlcli.data.datasets.base import LayoutOptions, Prepared, is_file_of_split, note_source
from hlcli.data.datasets.missing_images import without_missing
from hlcli.data.datasets.published_lists import take_listed
from hlcli.data.datasets.voc_annotations import (
    Objects,
    compare_with_published,
    differing,
    read_class_lists,
    read_image_list,
    read_objects,
)
from hlcli.data.datasets.voc_labels import COUNTS, LABEL_NAMES, PARENTS
from hlcli.data.datasets.with_parents import DataWithParents
from hlcli.data.records import Record
from hlcli.errors import DataError, InputError, named

logger = logging.getLogger(__name__)


class _VocOptions(LayoutOptions):
    """How VOC's files are read."""

    difficult: Literal["negative", "positive", "ignore"] = Field(
        "negative",
        description="What a label counts as in training images where all its objects are difficult: negative as in "
        "SGRE's program, positive as in SALGL's; in other splits it is always ignored.",
    )
    labels: str = Field(
        "annotations",
        description="Where labels come from: `annotations`, the XML files; `lists`, ImageSets/Main/CLASS_LIST.txt; or "
        "a file `path,index index` that says which training images there are, and their labels.",
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _path_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    def training_list(self) -> Path | None:
        """The file of training labels, if one was given.

        Raises:
            InputError: when there is no such file.
        """
        if self.labels in ("annotations", "lists"):
            return None
        if not Path(self.labels).is_file():
            raise InputError(f"labels: annotations, lists or a file was expected; there is no file {self.labels!r}.")
        return Path(self.labels)


class Voc2007Options(_VocOptions):
    """How VOC 2007's files are read."""

    train_on: Literal["trainval", "train"] = Field(
        "trainval",
        description="Images trained on: trainval as in the papers, or train, with val as its own split.",
    )


class Voc2012Options(_VocOptions):
    """How VOC 2012's files are read."""

    train_on: Literal["train", "trainval"] = Field(
        "train",
        description="Images trained on: train, or as SGRE's program trainval, which has all of val in it.",
    )
    val_labels: Path | None = Field(
        None, description="A file like that of --labels for the images of val, none of whose labels is ignored then."
    )


class _Voc(DataWithParents):
    """What the years share."""

    label_names = LABEL_NAMES
    parents = PARENTS


class Voc2007(_Voc):
    """Photos from Flickr labelled by the objects in them, PASCAL VOC 2007; splits train (trainval) and test."""

    prepare_options = Voc2007Options

    dataset: Literal["voc2007"] = "voc2007"

    def prepare(self, source: Path, options: Voc2007Options) -> Prepared:
        """Read the official layout, in the order of the image lists; with `allow_partial` a list may be missing.

        Raises:
            DataError: when no list is there, or a split is damaged, incomplete or lacks too many images.
        """
        parts = {"train": "trainval"} if options.train_on == "trainval" else {"train": "train", "val": "val"}
        return _prepare(self, 2007, source, parts | {"test": "test"}, options)


class Voc2012(_Voc):
    """Photos from Flickr labelled by the objects in them, PASCAL VOC 2012; splits train and val."""

    prepare_options = Voc2012Options

    dataset: Literal["voc2012"] = "voc2012"

    def prepare(self, source: Path, options: Voc2012Options) -> Prepared:
        """Read the official layout, in the order of the image lists; labels of the test images are not public.

        Raises:
            DataError: when no list is there, or a split is damaged, incomplete or lacks too many images.
        """
        if options.train_on == "trainval":
            logger.warning(
                "voc2012: all images of val are in trainval too, so scores on val are those of training images. "
                "Compare them with nothing but SGRE's own; --train-on train is sound."
            )
        lists = {"train": options.train_on, "val": "val"}
        prepared = _prepare(self, 2012, source, lists, options, val_labels=options.val_labels)
        return prepared._replace(shares_images=options.train_on == "trainval")


def _prepare(
    data: DataWithParents,
    year: int,
    source: Path,
    lists: dict[str, str],
    options: _VocOptions,
    *,
    val_labels: Path | None = None,
) -> Prepared:
    """The splits of a year.

    Args:
        data: the data set of that year.
        year: 2007 or 2012.
        source: where the layout is.
        lists: the image list of every split.
        options: how it is read.
        val_labels: a list of labels in the place of val's own.

    Raises:
        InputError: when the file of training labels does not exist.
    """
    label_lists = {"train": options.training_list(), "val": val_labels}
    folder = _find_folder(source, year)
    left_out = {"allow_partial", "without_images", "val_labels"}
    notes: dict[str, Any] = options.model_dump(mode="json", exclude=left_out)
    notes |= {"labels": "lists" if options.labels == "lists" else "annotations"}
    notes |= {"lists": lists, "absent_splits": [], "label_mismatches": {}}
    splits: dict[str, list[Record]] = {}
    for split, name in lists.items():
        path = folder / "ImageSets" / "Main" / f"{name}.txt"
        if not is_file_of_split(path, split, notes, allow_partial=options.allow_partial):
            continue
        ids = read_image_list(path)
        note_source(path, notes)
        objects = _read_labels(folder, path, ids, notes["labels"], notes)
        if not options.allow_partial:
            compare_with_published(path, list(objects.values()), COUNTS[year][name])
        listed = label_lists.get(split)
        difficult = options.difficult if split == "train" else "ignore" if listed is None else "negative"
        records = [_record(image_id, folder, entry, difficult) for image_id, entry in objects.items()]
        if listed is not None:
            full = {image_id: (*entry.present, *entry.difficult) for image_id, entry in objects.items()}
            partial = options.allow_partial
            records = take_listed(listed, records, split, notes, len(LABEL_NAMES), full, allow_partial=partial)
        splits[split] = records
    for split, listed in label_lists.items():
        if listed is not None and split not in splits:
            raise DataError(f"{listed} is about {split}, but there is no such split.")
    if not splits:
        raise DataError(f"{folder} has none of the image lists {', '.join(lists.values())}.")
    return Prepared(without_missing(data, splits, options, notes=notes), notes)


def _find_folder(source: Path, year: int) -> Path:
    """The folder of `ImageSets/`, at or below the source.

    Raises:
        DataError: when there is none.
    """
    for name in ("", f"VOC{year}", f"VOCdevkit/VOC{year}"):
        if (source / name / "ImageSets" / "Main").is_dir():
            return (source / name).absolute()
    raise DataError(
        f"{source} has no VOC{year}/ImageSets/Main.",
        f"Run `hlcli download voc{year}`, or say where the official layout is with --source.",
    )


def _read_labels(folder: Path, path: Path, ids: list[str], labels: str, notes: dict[str, Any]) -> dict[str, Objects]:
    """The labels of the listed images, and how many images the XML files and the class lists disagree about."""
    lists = read_class_lists(path.parent, path.stem, required=ids if labels == "lists" else ())
    if labels == "lists":
        if lists is None:
            raise DataError(
                f"{path.parent} does not say for all 20 labels which images of {path.name} have them.",
                "Use --labels annotations.",
            )
        return {image_id: lists[image_id] for image_id in ids}
    objects = {image_id: read_objects(folder / "Annotations" / f"{image_id}.xml") for image_id in ids}
    if lists is not None:
        others = differing(ids, objects, lists)
        notes["label_mismatches"][path.stem] = len(others)
        if others:
            logger.warning(
                "%s: the labels of %d of %d images differ between XML and class lists, e.g. %s; the XML's are used.",
                path.name,
                len(others),
                len(ids),
                named(others),
            )
    return objects


def _record(image_id: str, folder: Path, objects: Objects, difficult: str) -> Record:
    image = folder / "JPEGImages" / f"{image_id}.jpg"
    if difficult == "positive":
        return Record(image_id, image, tuple(sorted({*objects.present, *objects.difficult})))
    return Record(image_id, image, objects.present, objects.difficult if difficult == "ignore" else ())
