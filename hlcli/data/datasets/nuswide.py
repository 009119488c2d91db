"""NUS-WIDE: photos from Flickr labelled with 81 labels below six parents.

What is called NUS-WIDE is several data sets; numbers on one say nothing about another, so the store always notes which
one it is, and of how many images:

- `official`: the authors' lists, below `ROOT/nuswide`: `ImageList/`, `Groundtruth/AllLabels/`, `Concepts81.txt` there
  or in `ConceptsList/`, photos below `Flickr/`. With photos crawled from their published addresses it is a crawl of
  your own, with some missing a part.
- `asl`: `nus_train_full.txt` (or `nus_train_singlelabel.txt`) and `nus_val.txt`, photos in `images/`.
- `spml`: `formatted_{train,val}_{images,labels}.npy`, photos in `images/`.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hlcli.data.datasets.base import (
    DownloadOptions,
    DownloadReport,
    PlannedFile,
    Prepared,
    check_counts,
    note_source,
)
from hlcli.data.datasets.missing_images import is_there, without_missing
from hlcli.data.datasets.nuswide_annotations import (
    HINT,
    Listed,
    find_placeholders,
    read_index_list,
    read_matrices,
    read_official,
)
from hlcli.data.datasets.nuswide_labels import ASL, ASL_SINGLE, LABEL_NAMES, OFFICIAL, PARENTS, SPML, Counts
from hlcli.data.datasets.published_lists import ListOptions, with_listed_labels
from hlcli.data.datasets.with_parents import DataWithParents
from hlcli.data.records import Record
from hlcli.data.transfers.manifest import Manifest
from hlcli.errors import DataError, InputError
from hlcli.plain_text import counted
from hlcli.sections import Fraction

logger = logging.getLogger(__name__)

NAMES = {"official": "the official split", "asl": "ASL's re-crawl", "spml": "SPML's re-crawl"}
_PHOTOS_HINT = (
    "The authors send the official photos on request: unpack them with `hlcli download nuswide --from DIR`, fetch what "
    "is left of them with --crawl NUS-WIDE-urls.txt, or say where they are with --images."
)


class NuswideOptions(ListOptions):
    """How NUS-WIDE's files are read."""

    variant: Literal["official", "asl", "spml"] = Field(
        "official", description="Whose lists: the authors', or those of the re-crawl by ASL's or SPML's authors."
    )
    max_missing: Fraction = Field(
        1.0, description="Largest share of a split's photos that may be missing; removed ones do not stop by default."
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


class Nuswide(DataWithParents):
    """Photos from Flickr with 81 labels (Chua et al., CIVR 2009); splits train and test."""

    prepare_options = NuswideOptions
    download_options = frozenset({"crawl", "retry_failed"})
    label_names = LABEL_NAMES
    parents = PARENTS

    dataset: Literal["nuswide"] = "nuswide"

    def download(self, folder: Path, options: DownloadOptions) -> DownloadReport:
        """Fetch labels and lists; photos are unpacked from a given archive, or crawled."""
        from hlcli.data.datasets import nuswide_download

        return nuswide_download.download(self.sources, folder, options)

    def plan_download(self, folder: Path, options: DownloadOptions) -> list[PlannedFile]:
        """What `download` would do; writes nothing, opens no connection."""
        from hlcli.data.datasets import nuswide_download

        return nuswide_download.plan(self.sources, folder, options)

    def prepare(self, source: Path, options: NuswideOptions) -> Prepared:
        """Read the lists of a variant, in their order.

        Raises:
            InputError: when options do not go together.
            DataError: when a list is missing, damaged or incomplete, or too many images are missing.
        """
        _check_options(options)
        notes: dict[str, Any] = options.model_dump(
            mode="json", exclude={"allow_partial", "without_images", "images", "labels"}
        )
        listed, published = _read_lists(source, options, notes)
        if not options.allow_partial:
            for split, rows in listed.items():
                _compare_with_published(f"nuswide, variant {options.variant}, {split}", rows, published[split])
        notes["images_without_labels"] = {split: sum(not row.labels for row in rows) for split, rows in listed.items()}
        folder = _image_folder(source, options)
        splits = {
            split: [
                Record(row.file, folder / row.file, row.labels) for row in rows if row.labels or options.keep_unlabelled
            ]
            for split, rows in listed.items()
        }
        splits = with_listed_labels(self, splits, options, notes)
        placeholders = _find_placeholders(splits, options)
        splits = without_missing(
            self,
            splits,
            options,
            notes=notes,
            hint=_PHOTOS_HINT,
            is_there=lambda path: is_there(path) and path not in placeholders,
        )
        _note_data_set(source, options, listed, published, notes)
        notes["num_images"] = sum(len(records) for records in splits.values())
        return Prepared(splits, notes)


def _check_options(options: NuswideOptions) -> None:
    """Refuse options that do not go together."""
    if options.single_positive and options.variant != "asl":
        raise InputError("single_positive: there is no such list but that of variant asl (--variant asl).")
    if options.single_positive and options.labels is not None:
        raise InputError("single_positive and labels both say where training labels come from; give one of them.")
    for value in options.placeholder:
        if not re.fullmatch("[0-9a-fA-F]{32}|[0-9a-fA-F]{64}", value):
            raise InputError(f"placeholder: md5 (32 hex digits) or sha256 (64) was expected (got {value!r}).")


def _read_lists(
    source: Path, options: NuswideOptions, notes: dict[str, Any]
) -> tuple[dict[str, list[Listed]], dict[str, Counts]]:
    """The rows of every split of a variant, and what is known of them."""
    if options.variant == "official":
        return read_official(source, notes, allow_partial=options.allow_partial), OFFICIAL
    if options.variant == "asl":
        train = source / ("nus_train_singlelabel.txt" if options.single_positive else "nus_train_full.txt")
        rows = {
            "train": read_index_list(_noted(train, notes), is_single=options.single_positive),
            "test": read_index_list(_noted(source / "nus_val.txt", notes)),
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


def _numbers(rows: list[Listed], published: Counts) -> list[tuple[str, int | None, int]]:
    """The published numbers of a split beside those found."""
    labels = sum(len(row.labels) for row in rows)
    return [("images", published.images, len(rows)), ("labels", published.labels, labels)]


def _compare_with_published(where: str, rows: list[Listed], published: Counts) -> None:
    """Refuse a split with other numbers; how many of the official images have a label was never confirmed."""
    check_counts(where, _numbers(rows, published))
    labelled = sum(bool(row.labels) for row in rows)
    check_counts(where, [("images with a label", published.labelled, labelled)], is_verified=False)


def _find_placeholders(splits: dict[str, list[Record]], options: NuswideOptions) -> set[Path]:
    """Files that stand for removed photos."""
    if options.without_images:
        return set()
    paths = [Path(str(record.image)) for records in splits.values() for record in records]
    sums = {value.lower() for value in options.placeholder}
    found = find_placeholders(filter(is_there, paths), sums, options.placeholder_copies)
    if found:
        logger.warning(
            "%s for removed photos, e.g. %s.",
            counted(len(found), "image is a picture that stands", "images are pictures that stand"),
            found[0],
        )
    return set(found)


def _note_data_set(
    source: Path,
    options: NuswideOptions,
    listed: dict[str, list[Listed]],
    published: dict[str, Counts],
    notes: dict[str, Any],
) -> None:
    """Say and keep which data set this is: a published one, a part of it, or a crawl of one's own.

    Images are those of the lists, with or without labels, less the missing ones.
    """
    num_missing = sum(len(ids) for ids in notes.get("missing_images", {}).values())
    num_images = sum(len(rows) for rows in listed.values()) - num_missing
    num_published = sum(counts.images for counts in published.values())
    numbers = [row for split, rows in listed.items() for row in _numbers(rows, published[split])]
    is_whole = not num_missing and all(expected in (None, found) for _, expected, found in numbers)
    is_crawled = any(kept.url is not None for kept in Manifest(source).files.values())
    name = NAMES[options.variant]
    if is_crawled:
        name = f"own crawl by the lists of {name}"
    elif not is_whole:
        name = f"part of {name}" if num_images < num_published else f"other lists than {name}"
    if is_crawled or not is_whole:
        name += f", {num_images:,} of {num_published:,} images"
    if options.without_images:
        name += ", photos not looked at"
    notes["data_set"] = name
    level = logging.INFO if name == NAMES[options.variant] else logging.WARNING
    logger.log(level, "NUS-WIDE: %s. Compare numbers on the same images only.", name)
