"""Intentonomy: 14,455 photos with the intents behind them; 28 labels in 15 and 9 groups.

Official layout, below `ROOT/intentonomy`: `intentonomy_{train,val,test}2020.json`, the reference's label matrices
`{train,val,test}_label_vectors_intentonomy2020.npy`, and photos under `low/`. Object masks, for the localisation loss
alone, come from a file of their own: see `intentonomy_masks`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar, Literal

from hlcli.data.checksums import Checksum
from hlcli.data.datasets.base import DownloadOptions, DownloadReport, PlannedFile, Prepared
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
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.errors import DataError, InputError
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)


class Intentonomy(DataSection):
    """Photos from Unsplash with intents voted on by annotators (Jia et al., CVPR 2021), labels cleaned in 2020."""

    licence: ClassVar[str] = (
        "The annotations are CC BY 4.0; the photos are under the Unsplash licence (https://unsplash.com/license) "
        "and remain their photographers'."
    )

    dataset: Literal["intentonomy"] = "intentonomy"

    def label_space(self) -> LabelSpace:
        """9 coarse, 15 middle and 28 fine labels, with the subsets of the fine ones."""
        return label_space()

    def download(self, folder: Path, options: DownloadOptions) -> DownloadReport:
        """Fetch annotation files and photos into `folder`."""
        from hlcli.data.datasets import intentonomy_download

        return intentonomy_download.download(folder, options)

    def plan_download(self, folder: Path, options: DownloadOptions) -> list[PlannedFile]:
        """What `download` would do; writes nothing, opens no connection."""
        from hlcli.data.datasets import intentonomy_download

        return intentonomy_download.plan(folder, options)

    def prepare(  # type: ignore[override]  # every data set has options of its own
        self,
        source: Path,
        *,
        annotations: Path | None = None,
        train_label_threshold: float = 0.0,
        labels: Literal["json", "matrix"] = "json",
        max_missing: float = 0.02,
        allow_partial: bool = False,
        images_required: bool = True,
        masks: Path | None = None,
        mask_grid: int = GRID_SIDE,
    ) -> Prepared:
        """Read the official layout, in the order of the annotation files.

        Args:
            source: folder of the official layout; photos may also lie under `images/`.
            annotations: folder of the annotation files and matrices; default `source`, or `annotations/` in it.
            train_label_threshold: a train label counts when more than this share of its annotators chose it.
            labels: `matrix` takes the labels of the reference's shipped matrices.
            max_missing: largest share of a split's photos that may be missing; they are left out.
            allow_partial: accept files that hold less than the published numbers.
            images_required: False keeps records whose photo is not there.
            masks: the authors' `coco_maskrcnn.json`, for the localisation loss; a training photo that it leaves out
                counts as missing too.
            mask_grid: cells on each side of an object mask.

        Raises:
            DataError: when no split is there, or one is damaged, incomplete or lacks too many photos or masks.
        """
        if labels not in ("json", "matrix"):
            raise InputError(f"labels must be json or matrix (got {labels!r}).")
        if mask_grid < 1:
            raise InputError(f"mask_grid must be at least 1 (got {mask_grid}).")
        folder = annotations or _annotation_folder(source)
        files = {split: folder / annotation_name(split) for split in SPLITS}
        present = {split: path for split, path in files.items() if path.exists()}
        if not present:
            raise DataError(
                f"{folder} has none of {', '.join(path.name for path in files.values())}.",
                "Run `hlcli download intentonomy`, or say where they are with --annotations.",
            )
        notes: dict[str, Any] = {"labels": labels, "train_label_threshold": train_label_threshold}
        notes["absent_splits"] = [split for split in SPLITS if split not in present]
        from hlcli.data.datasets.intentonomy_download import photo_widths

        for split in notes["absent_splits"]:
            logger.warning("%s is missing: there will be no %s split.", files[split], split)
        notes |= {
            "photo_widths": photo_widths(source),
            "sources": {},
            "label_mismatches": {},
            "missing_images": {},
        }
        splits = {}
        for split, path in present.items():
            threshold = train_label_threshold if split == "train" else 0.0
            entries = _read_split(split, path, threshold, labels, allow_partial, notes)
            splits[split] = _records(split, entries, source, images_required, max_missing, notes)
        if masks is not None:
            splits = with_object_masks(splits, masks, grid=mask_grid, max_missing=max_missing, notes=notes)
            _note_source(masks, notes)
        return Prepared(splits, notes)


def _annotation_folder(source: Path) -> Path:
    inner = source / "annotations"
    here = any((source / annotation_name(split)).exists() for split in SPLITS)
    return inner if inner.is_dir() and not here else source


def _read_split(
    split: str, path: Path, threshold: float, labels: str, allow_partial: bool, notes: dict[str, Any]
) -> list[Annotation]:
    """The annotations of a split with the labels that were asked for, compared with all that is known of them."""
    entries = read_annotations(path, threshold=threshold)
    rows = [entry.labels for entry in entries]
    _note_source(path, notes)
    matrix_path = path.with_name(matrix_name(split))
    if labels == "matrix" or (matrix_path.exists() and threshold == 0 and not allow_partial):
        matrix = read_label_matrix(matrix_path, len(entries))
        _note_source(matrix_path, notes)
        _compare(split, rows, matrix, labels, notes)
        rows = matrix if labels == "matrix" else rows
    if not allow_partial:
        check_counts(split, rows, path, check_labels=threshold == 0 or labels == "matrix")
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


def _records(
    split: str,
    entries: list[Annotation],
    source: Path,
    images_required: bool,
    max_missing: float,
    notes: dict[str, Any],
) -> list[Record]:
    """Records of the photos that are there."""
    folder = (source / "images" if (source / "images").is_dir() else source).absolute()
    records = [Record(entry.image_id, folder / entry.file, entry.labels) for entry in entries]
    if not images_required:
        return records
    missing = {record.image_id for record in records if not _is_there(Path(str(record.image)))}
    notes["missing_images"][split] = [record.image_id for record in records if record.image_id in missing]
    if not missing:
        return records
    shown = ", ".join(notes["missing_images"][split][:5])
    message = f"{len(missing):,} of {len(records):,} {split} photos are missing below {folder}: {shown}."
    if len(missing) > max_missing * len(records):
        raise DataError(
            message,
            f"Run `hlcli download intentonomy` again; up to {max_missing:.1%} may be missing (--max-missing).",
        )
    logger.warning("%s They are left out.", message)
    return [record for record in records if record.image_id not in missing]


def _is_there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _note_source(path: Path, notes: dict[str, Any]) -> None:
    notes["sources"][path.name] = {"bytes": path.stat().st_size, "sha256": Checksum("sha256", "").of_file(path)}
