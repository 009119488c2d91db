"""Intentonomy: 14,455 photos with the intents behind them; 28 labels below 15 and 9 parents.

Official layout, below `ROOT/intentonomy`: `intentonomy_{train,val,test}2020.json`, the reference's label matrices
`{train,val,test}_label_vectors_intentonomy2020.npy`, and photos under `low/`. Object masks, for the localisation loss
alone, come from a file of their own: see `intentonomy_masks`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hlcli.data.datasets.base import (
    DownloadOptions,
    DownloadReport,
    LayoutOptions,
    PlannedFile,
    Prepared,
    is_file_of_split,
    note_source,
)
from hlcli.data.datasets.intentonomy_annotations import (
    Annotation,
    Labels,
    annotation_name,
    check_counts,
    matrix_name,
    read_annotations,
    read_label_matrix,
)
from hlcli.data.datasets.intentonomy_labels import SPLITS, label_space
from hlcli.data.datasets.intentonomy_masks import GRID_SIDE, with_object_masks
from hlcli.data.datasets.missing_images import without_missing
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.errors import DataError
from hlcli.sections import DataSection, Fraction

logger = logging.getLogger(__name__)


class IntentonomyOptions(LayoutOptions):
    """How Intentonomy's files are read."""

    annotations: Path | None = Field(
        None, description="Folder of the annotation files and matrices; default SOURCE, or annotations/ in it."
    )
    labels: Literal["json", "matrix"] = Field(
        "json", description="Where labels come from: the annotation files, or the reference's label matrices."
    )
    train_label_threshold: Fraction = Field(
        0.0, description="A training label counts when more than this share of its annotators chose it."
    )
    max_missing: Fraction = Field(0.02, description="Largest share of a split's photos that may be missing.")
    masks: Path | None = Field(
        None,
        description="The authors' coco_maskrcnn.json, for HLEG's localisation loss; a training photo that it leaves "
        "out counts as missing too.",
    )
    mask_grid: int = Field(GRID_SIDE, ge=1, description="Cells on each side of an object mask.")


class Intentonomy(DataSection):
    """Photos from Unsplash with intents voted on by annotators (Jia et al., CVPR 2021), labels cleaned in 2020."""

    prepare_options = IntentonomyOptions
    download_options = frozenset({"annotations", "width", "retry_failed"})

    dataset: Literal["intentonomy"] = "intentonomy"

    def label_space(self) -> LabelSpace:
        """9 coarse, 15 middle and 28 fine labels, with the subsets of the fine ones."""
        return label_space()

    def download(self, folder: Path, options: DownloadOptions) -> DownloadReport:
        """Fetch annotation files and photos into `folder`."""
        from hlcli.data.datasets import intentonomy_download

        return intentonomy_download.download(self.sources, folder, options)

    def plan_download(self, folder: Path, options: DownloadOptions) -> list[PlannedFile]:
        """What `download` would do; writes nothing, opens no connection."""
        from hlcli.data.datasets import intentonomy_download

        return intentonomy_download.plan(self.sources, folder, options)

    def prepare(self, source: Path, options: IntentonomyOptions) -> Prepared:
        """Read the official layout, in the order of the annotation files; photos may also lie under `images/`.

        Raises:
            DataError: when no split is there, or one is damaged, incomplete or lacks too many photos or masks.
        """
        folder = options.annotations or _annotation_folder(source)
        files = {split: folder / annotation_name(split) for split in SPLITS}
        if not any(path.exists() for path in files.values()):
            raise DataError(
                f"{folder} has none of {', '.join(path.name for path in files.values())}.",
                "Run `hlcli download intentonomy`, or say where they are with --annotations.",
            )
        notes: dict[str, Any] = {"labels": options.labels, "train_label_threshold": options.train_label_threshold}
        from hlcli.data.datasets.intentonomy_download import photo_widths

        present = {
            split: path
            for split, path in files.items()
            if is_file_of_split(path, split, notes, allow_partial=options.allow_partial)
        }
        notes |= {
            "photo_widths": photo_widths(source),
            "sources": {},
            "label_mismatches": {},
            "missing_images": {},
        }
        splits = {}
        for split, path in present.items():
            entries = _read_split(split, path, options, notes)
            images = (source / "images" if (source / "images").is_dir() else source).absolute()
            splits[split] = [Record(entry.image_id, images / entry.file, entry.labels) for entry in entries]
        splits = without_missing(self, splits, options, notes=notes)
        if options.masks is not None:
            splits = with_object_masks(
                splits, options.masks, grid=options.mask_grid, max_missing=options.max_missing, notes=notes
            )
            note_source(options.masks, notes)
        return Prepared(splits, notes)


def _annotation_folder(source: Path) -> Path:
    inner = source / "annotations"
    here = any((source / annotation_name(split)).exists() for split in SPLITS)
    return inner if inner.is_dir() and not here else source


def _read_split(split: str, path: Path, options: IntentonomyOptions, notes: dict[str, Any]) -> list[Annotation]:
    """The annotations of a split with the labels that were asked for, compared with all that is known of them."""
    threshold = options.train_label_threshold if split == "train" else 0.0
    by_matrix = options.labels == "matrix"
    entries = read_annotations(path, threshold=threshold)
    rows = [entry.labels for entry in entries]
    note_source(path, notes)
    matrix_path = path.with_name(matrix_name(split))
    if by_matrix or (matrix_path.exists() and threshold == 0 and not options.allow_partial):
        matrix = read_label_matrix(matrix_path, len(entries))
        note_source(matrix_path, notes)
        _compare(split, rows, matrix, options.labels, notes)
        rows = matrix if by_matrix else rows
    if not options.allow_partial:
        check_counts(split, rows, path, check_labels=threshold == 0 or by_matrix)
    return [entry._replace(labels=row) for entry, row in zip(entries, rows, strict=True)]


def _compare(split: str, rows: list[Labels], matrix: list[Labels], labels: str, notes: dict[str, Any]) -> None:
    """Report photos whose labels differ between annotation file and matrix."""
    differing = sum(row != other for row, other in zip(rows, matrix, strict=True))
    notes["label_mismatches"][split] = differing
    if differing:
        logger.warning(
            "%s: the labels of %d of %d photos differ between JSON and label matrix; those of the %s are used.",
            split,
            differing,
            len(rows),
            labels,
        )
