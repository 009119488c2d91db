"""The papers' own files, written from a store.

Label matrices as HLEG reads them (`npy`), lists of images with label names as SALGL and SGRE (`lists`), or with label
indices as HSPNet, SPLC and ASL (`indices`); captions as COCO writes them (`captions`) and as M2, DFT and HIN read them
(`m2`), see `caption_export.py`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hlcli.data.caption_export import export_captions, export_m2
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.data.store import StoreSplit, open_label_space, open_records, split_names, store_folder
from hlcli.errors import DataError, InputError
from hlcli.files import whole_file
from hlcli.plain_text import counted
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)


def write_exports(data: DataSection, form: str) -> list[Path]:
    """Write the papers' files beside the store of a data set.

    Args:
        data: the data set; it must have been prepared.
        form: `npy`, `lists`, `indices`, `captions` or `m2`.

    Returns:
        The files written.

    Raises:
        InputError: for another format.
        DataError: when a name does not fit into the format, or the data set has no labels or captions.
    """
    return _writer(form)(data.model_copy(update={"store": store_folder(data)}))


def check_format(form: str, data: DataSection) -> None:
    """Refuse an unknown format, or one of labels for a data set without, before any work is done.

    Raises:
        InputError: for a format that is not known.
        DataError: when the format is of labels, and the data set has none.
    """
    _writer(form)
    if form in _LABEL_FORMATS:
        data.label_space().require_labels(data.name)


def _writer(form: str) -> Callable[[DataSection], list[Path]]:
    if form not in _WRITERS:
        known = " and ".join(", ".join(_WRITERS).rsplit(", ", 1))
        raise InputError(f"--export: the known formats are {known} (got {form!r}).")
    return _WRITERS[form]


def _export_matrices(data: DataSection) -> list[Path]:
    """Write label matrices as HLEG reads them: float64 [N, L] of 0 and 1, one .npy file per split."""
    num_labels, written = _labels(data).num_labels, []
    for split in split_names(data):
        records = open_records(data, split)
        rows = records.labels() if isinstance(records, StoreSplit) else [record.labels for record in records]
        path = store_folder(data).parent / f"{split}_label_vectors_{data.name}.npy"
        _write_matrix(path, rows, num_labels, "float64")
        written.append(path)
    return written


def _export_lists(data: DataSection) -> list[Path]:
    """Write lists as SALGL and SGRE read them, into `lists/` beside the store.

    `label.txt` has a label name per line. `SPLIT.txt` has a line per image: its path, a tab, and its label names
    separated by commas. Paths are as the data root was given: relative to the working folder, or absolute.
    `ignore.npy`, int [N, L], has 1 where an image of test is left out of a label's scores; where another split ignores
    labels, `ignore_SPLIT.npy` has the same for it.

    Raises:
        DataError: when a name does not fit into the format.
    """
    labels = _labels(data)
    folder = store_folder(data).parent / "lists"
    written = [folder / "label.txt"]
    _write_lines(written[0], _checked(labels))
    inside = 0
    for split in split_names(data):
        records = open_records(data, split)
        inside += sum(not isinstance(record.image, Path) for record in records)
        written.append(folder / f"{split}.txt")
        _write_lines(written[-1], [_line(record, labels.label_names) for record in records])
        ignored = [record.ignore for record in records]
        if any(ignored):
            written.append(folder / ("ignore.npy" if split == "test" else f"ignore_{split}.npy"))
            _write_matrix(written[-1], ignored, labels.num_labels, "int64")
    if inside:
        logger.warning(
            "%s: %s inside the store, drawn or shrunk; the lists have ids where paths belong. "
            "Prepare without --image-size for paths.",
            folder,
            counted(inside, "image lies", "images lie"),
        )
    return written


def _export_indices(data: DataSection) -> list[Path]:
    """Write lists as HSPNet, SPLC and ASL read them, into `indices/` beside the store.

    `SPLIT.txt` has a line per image: its file as the papers name it, a comma, and the indices of its labels with blanks
    between them. `--labels` reads such a list.

    Raises:
        DataError: when a name does not fit into the format.
    """
    _labels(data)
    written = []
    for split in split_names(data):
        written.append(store_folder(data).parent / "indices" / f"{split}.txt")
        _write_lines(written[-1], [_index_line(record) for record in open_records(data, split)])
    return written


def _labels(data: DataSection) -> LabelSpace:
    return open_label_space(data).require_labels(data.name)


def _index_line(record: Record) -> str:
    """A file below the folder of images is named by its path there, which is its id, or by its name alone."""
    is_file = isinstance(record.image, Path) and not record.image.as_posix().endswith(f"/{record.image_id}")
    image = Path(str(record.image)).name if is_file else record.image_id
    if set(image) & set("\r\n") or image != image.strip():
        raise DataError(f"Image {image!r} does not fit into the papers' lists, where a line is an image.")
    return f"{image},{' '.join(map(str, record.labels))}"


def _checked(labels: LabelSpace) -> Sequence[str]:
    for name in labels.label_names:
        if set(name) & set(",\t\r\n") or name != name.strip():
            raise DataError(f"Label {name!r} does not fit into the papers' lists, where commas and tabs separate.")
    return labels.label_names


def _line(record: Record, names: Sequence[str]) -> str:
    image = os.path.normpath(record.image) if isinstance(record.image, Path) else record.image_id
    if set(image) & set("\t\r\n"):
        raise DataError(f"Image {image!r} does not fit into the papers' lists, where a tab ends the path.")
    return f"{image}\t{','.join(names[label] for label in record.labels)}"


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with whole_file(path, newline="\n") as handle:
        handle.writelines(f"{line}\n" for line in lines)


def _write_matrix(path: Path, rows: Sequence[Sequence[int]], num_labels: int, dtype: str) -> None:
    """One row per image, 1 at the given labels."""
    import numpy as np

    matrix = np.zeros((len(rows), num_labels), dtype)
    for row, columns in zip(matrix, rows, strict=True):
        row[list(columns)] = 1
    with whole_file(path, "wb") as handle:
        np.save(handle, matrix)


_LABEL_FORMATS = ("npy", "lists", "indices")

_WRITERS = {
    "npy": _export_matrices,
    "lists": _export_lists,
    "indices": _export_indices,
    "captions": export_captions,
    "m2": export_m2,
}
"""What writes each format."""
