"""CUB-200-2011 as a multi-label data set: 11,788 photos of birds, 312 labels below 20 or 28 parents.

Official layout, below `ROOT/cub`: `CUB_200_2011/` with `images.txt`, `train_test_split.txt`, `images/` and
`attributes/image_attribute_labels.txt`, and `attributes.txt` beside that folder, in it, or in `attributes/`. A label is
an attribute that was marked as present; how certain its annotator was plays no part, as in HSPNet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from hlcli.data.datasets.base import Prepared, check_counts, note_source
from hlcli.data.datasets.cub_annotations import check_attributes, read_images, read_present, read_splits
from hlcli.data.datasets.cub_labels import COUNTS, LABEL_NAMES, NUM_ROWS, OFFICIAL_PARENTS, PARENTS, TEST_LABELS
from hlcli.data.datasets.missing_images import without_missing
from hlcli.data.datasets.published_lists import ListOptions, with_listed_labels
from hlcli.data.datasets.with_parents import DataWithParents
from hlcli.data.records import Record
from hlcli.errors import DataError

FOLDER = "CUB_200_2011"


class Cub(DataWithParents):
    """Photos of birds with what is seen of them, CUB-200-2011 (Wah et al., 2011); splits train and test."""

    prepare_options = ListOptions
    label_names = LABEL_NAMES
    parents = PARENTS
    other_parents: ClassVar = {"official": OFFICIAL_PARENTS}

    dataset: Literal["cub"] = "cub"
    hierarchy: bool | Literal["official"] = Field(  # type: ignore[assignment]
        False,
        description="Put parents above the labels, as a coarse level: HSPNet's 20 parts of the body (true), or the "
        "28 parents of the official names (official).",
    )

    def prepare(self, source: Path, options: ListOptions) -> Prepared:
        """Read the official layout, in the order of `images.txt`.

        Raises:
            DataError: when a file is missing, damaged or incomplete, or too many images are missing.
        """
        folder = _find_folder(source)
        notes: dict[str, Any] = {"max_missing": options.max_missing}
        paths = [folder / name for name in ("images.txt", "train_test_split.txt")]
        paths.append(folder / "attributes" / "image_attribute_labels.txt")
        files = read_images(paths[0])
        numbers = read_splits(paths[1], files)
        present, num_rows = read_present(paths[2], files)
        notes["attributes_checked"] = check_attributes(
            folder.parent / "attributes.txt", folder / "attributes.txt", folder / "attributes" / "attributes.txt"
        )
        for path in paths:
            note_source(path, notes)
        if not options.allow_partial:
            check_counts(paths[1], [(f"{split} images", COUNTS[split], len(rows)) for split, rows in numbers.items()])
            check_counts(paths[2], [("rows", NUM_ROWS, num_rows)])
            test_labels = sum(len(present[number]) for number in numbers["test"])
            check_counts(paths[2], [("labels of test images", TEST_LABELS, test_labels)], is_verified=False)
        splits = {
            split: [Record(files[number], folder / "images" / files[number], present[number]) for number in rows]
            for split, rows in numbers.items()
        }
        splits = with_listed_labels(self, splits, options, notes)
        return Prepared(without_missing(self, splits, options, notes=notes), notes)


def _find_folder(source: Path) -> Path:
    """The folder of `images.txt`, at or below the source.

    Raises:
        DataError: when there is none.
    """
    for folder in (source / FOLDER, source):
        if (folder / "images.txt").is_file():
            return folder.absolute()
    raise DataError(
        f"{source} has no {FOLDER}/images.txt.", "Run `hlcli download cub`, or say where it is with --source."
    )
