"""NUS-WIDE: photos from Flickr labelled with 81 concepts in six groups.

What is called NUS-WIDE is several data sets; numbers on one say nothing about another, so the store always notes which
one it is, and of how many images:

- `official`: the authors' lists, below `ROOT/nuswide`: `ImageList/`, `Groundtruth/AllLabels/`, `Concepts81.txt` there
  or in `ConceptsList/`, photos below `Flickr/`. With photos crawled from their published addresses, or some missing,
  it is a crawl of your own.
- `asl`: `nus_train_full.txt` (or `nus_train_singlelabel.txt`) and `nus_val.txt`, photos in `images/`.
- `spml`: `formatted_{train,val}_{images,labels}.npy`, photos in `images/`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from hlcli.data.datasets.base import (
    DownloadOptions,
    DownloadReport,
    LayoutOptions,
    PlannedFile,
    Prepared,
    note_source,
    without_missing,
)
from hlcli.data.datasets.grouped import GroupedData
from hlcli.data.datasets.nuswide_annotations import (
    HINT,
    Listed,
    find_placeholders,
    read_index_list,
    read_matrices,
    read_official,
)
from hlcli.data.datasets.nuswide_labels import ASL, ASL_SINGLE, GROUPS, LABEL_NAMES, OFFICIAL, SPML, Counts
from hlcli.data.manifest import Manifest
from hlcli.data.records import Record
from hlcli.errors import DataError, InputError
from hlcli.sections import PrepareOptions

logger = logging.getLogger(__name__)


class NuswideOptions(LayoutOptions):
    """How NUS-WIDE's files are read."""

    variant: Literal["official", "asl", "spml"] = Field(
        "official", description="Whose lists: the authors', or those of the re-crawl by ASL's or SPML's authors."
    )
    images: Path | None = Field(None, description="Folder of the images; default Flickr/ or images/ in SOURCE.")
    keep_unlabelled: bool = Field(False, description="Keep images without any label; the papers drop them.")
    single_positive: bool = Field(False, description="Train with one label per image (variant asl), as HSPNet does.")
    placeholder: list[str] = Field(
        [], description="md5 or sha256 of a picture that stands for removed photos; counts as missing. Repeatable."
    )
    placeholder_copies: int = Field(
        20, ge=0, description="Images that are the same, byte for byte, so often count as missing; 0 does not look."
    )


class Nuswide(GroupedData):
    """Photos from Flickr with 81 concepts (Chua et al., CIVR 2009); splits train and test."""

    licence: ClassVar[str] = (
        "For research; the photos come from Flickr, are given out on request, and remain their photographers'."
    )
    prepare_options: ClassVar[type[PrepareOptions]] = NuswideOptions
    label_names = LABEL_NAMES
    groups = GROUPS

    dataset: Literal["nuswide"] = "nuswide"

    def download(self, folder: Path, options: DownloadOptions) -> DownloadReport:
        """Fetch labels and lists; photos are unpacked from a given archive, or crawled."""
        from hlcli.data.datasets import nuswide_download

        return nuswide_download.download(folder, options)

    def plan_download(self, folder: Path, options: DownloadOptions) -> list[PlannedFile]:
        """What `download` would do; writes nothing, opens no connection."""
        from hlcli.data.datasets import nuswide_download

        return nuswide_download.plan(folder, options)

    def prepare(self, source: Path, options: NuswideOptions) -> Prepared:
        """Read the lists of a variant, in their order.

        Raises:
            DataError: when a list is missing, damaged or incomplete, or too many images are missing.
        """
        if options.single_positive and options.variant != "asl":
            raise InputError("single_positive: there is no such list but that of variant asl (--variant asl).")
        notes: dict[str, Any] = options.model_dump(mode="json", exclude={"allow_partial", "without_images", "images"})
        listed, counts = _read_lists(source, options, notes)
        folder = _image_folder(source, options)
        splits = {}
        for split, rows in listed.items():
            if not options.allow_partial:
                _check_counts(options.variant, split, rows, counts[split])
            notes.setdefault("images_without_labels", {})[split] = sum(not row.labels for row in rows)
            records = [
                Record(row.file, folder / row.file, row.labels) for row in rows if row.labels or options.keep_unlabelled
            ]
            splits[split] = _with_photos(split, records, options, notes)
        complete = not any(rows for rows in notes.get("missing_images", {}).values())
        crawled = any(kept.url is not None for kept in Manifest(source).files.values())
        _note_variant(options, splits, notes, is_published=complete and not crawled)
        return Prepared(splits, notes)


def _read_lists(
    source: Path, options: NuswideOptions, notes: dict[str, Any]
) -> tuple[dict[str, list[Listed]], dict[str, Counts]]:
    """The rows of every split of a variant, and what is known of them."""
    if options.variant == "official":
        return read_official(source, notes, allow_partial=options.allow_partial), OFFICIAL
    if options.variant == "asl":
        train = source / ("nus_train_singlelabel.txt" if options.single_positive else "nus_train_full.txt")
        rows = {
            split: read_index_list(_noted(path, notes))
            for split, path in (("train", train), ("test", source / "nus_val.txt"))
        }
        return rows, ASL_SINGLE if options.single_positive else ASL
    files = {"train": "formatted_train", "test": "formatted_val"}
    rows = {
        split: read_matrices(_noted(source / f"{name}_images.npy", notes), _noted(source / f"{name}_labels.npy", notes))
        for split, name in files.items()
    }
    return rows, SPML


def _noted(path: Path, notes: dict[str, Any]) -> Path:
    """A file that has to be there; its sum is noted."""
    if not path.is_file():
        is_list = path.name.startswith("nus_")
        raise DataError(f"{path} is missing.", "Run `hlcli download nuswide --part asl`." if is_list else HINT)
    note_source(path, notes)
    return path


def _image_folder(source: Path, options: NuswideOptions) -> Path:
    if options.images is not None:
        return options.images.absolute()
    names = ("Flickr", "images") if options.variant == "official" else ("images", "Flickr")
    return next((source / name for name in names if (source / name).is_dir()), source / names[0]).absolute()


def _check_counts(variant: str, split: str, rows: list[Listed], expected: Counts) -> None:
    """Compare a split with the published numbers."""
    labels, labelled = sum(len(row.labels) for row in rows), sum(bool(row.labels) for row in rows)
    for what, found, wanted in (("images", len(rows), expected.images), ("labels", labels, expected.labels)):
        if wanted is not None and found != wanted:
            raise DataError(
                f"nuswide, variant {variant}: expected {wanted:,} {split} {what}, found {found:,}.",
                "Are the lists complete? --allow-partial takes them as they are.",
            )
    if expected.labelled is not None and labelled != expected.labelled:
        logger.warning("%s: %d images have a label; %d are usual.", split, labelled, expected.labelled)


def _with_photos(split: str, records: list[Record], options: NuswideOptions, notes: dict[str, Any]) -> list[Record]:
    """The records whose photo is there and is a photo."""
    kept = without_missing(split, records, options, name="nuswide", notes=notes)
    if options.without_images:
        return kept
    sums = {value.lower() for value in options.placeholder}
    files = {Path(str(record.image)): record.image_id for record in kept}
    placeholders = [files[path] for path in find_placeholders(files, sums, options.placeholder_copies)]
    if not placeholders:
        return kept
    notes["missing_images"][split] += placeholders
    missing = len(notes["missing_images"][split])
    message = (
        f"{len(placeholders):,} of {len(records):,} {split} images are pictures that stand for removed photos "
        f"({', '.join(placeholders[:5])}); with them {missing:,} are missing."
    )
    if missing > options.max_missing * len(records):
        raise DataError(message, f"Up to {options.max_missing:.1%} may be missing (--max-missing).")
    logger.warning("%s They are left out.", message)
    left_out = set(placeholders)
    return [record for record in kept if record.image_id not in left_out]


def _note_variant(
    options: NuswideOptions, splits: dict[str, list[Record]], notes: dict[str, Any], *, is_published: bool
) -> None:
    """Say and keep which data set this is."""
    num_images = sum(len(records) for records in splits.values())
    names = {"official": "the official split", "asl": "ASL's re-crawl", "spml": "SPML's re-crawl"}
    notes["data_set"] = (
        names[options.variant] if is_published else f"own crawl, by the lists of {names[options.variant]}"
    )
    notes["num_images"] = num_images
    logger.info("NUS-WIDE: %s, %d images. Compare numbers on the same variant only.", notes["data_set"], num_images)
