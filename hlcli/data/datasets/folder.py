"""A person's own photos: a folder of images and a CSV file of labels or captions; a hierarchy file if there is one."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from functools import cached_property
from pathlib import Path
from sys import intern
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import Field, PrivateAttr, model_validator

from hlcli.data.datasets.folder_rows import FolderRecords, FolderRow
from hlcli.data.labels import LabelSpace
from hlcli.data.records import Records
from hlcli.errors import DataError, named, nearest
from hlcli.plain_text import counted
from hlcli.sections import DataSection, Fraction

SPLITS = ("train", "val", "test")

_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How files of .xlsx or .ods and of .xls begin."""
_SAVE_AS_TEXT = "In Excel: Save As, CSV UTF-8."


class Table(NamedTuple):
    """A label file; one of captions has no column of labels."""

    rows: list[FolderRow]
    has_labels: bool


class Folder(DataSection):
    """Images in a folder, labels in a CSV file with a header: `image,labels[,split][,captions]`.

    Labels are separated by `;`, captions by `|`; a file of captions alone begins with `image,captions`. Without a
    `split` column every image draws its split from its own name, so that adding images moves none of the others.
    """

    reads_directly: ClassVar[bool] = True

    dataset: Literal["folder"] = "folder"
    images: Path = Field(description="Folder of the images; names in the label file are relative to it.")
    labels: Path = Field(description="CSV file: image,label;label;… (or, without labels, image,caption|caption|…)")
    hierarchy: Path | None = Field(None, description="YAML tree of label names; its leaves are the labels.")
    val_fraction: Fraction = Field(0.1, description="Share of images for val where the file names no split.")
    test_fraction: Fraction = Field(0.0, description="Share of images for test where the file names no split.")

    _refuses_absent: bool = PrivateAttr(True)

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.val_fraction + self.test_fraction > 1:
            raise ValueError(
                "val_fraction and test_fraction must be 1 at most, together "
                f"(got {self.val_fraction:g} and {self.test_fraction:g})"
            )
        return self

    @property
    def title(self) -> str:
        """The name of the folder of images."""
        return os.path.basename(os.path.abspath(self.images)) or self.name

    def as_listed(self) -> Folder:
        """The same data set, but absent images have records too, even skipped ones: the reader refuses these too."""
        present = tuple(image_id for image_id in self.skip if os.path.isfile(self.images / image_id))
        listed = self.model_copy(update={"skip": present})
        listed._refuses_absent = False
        return listed

    @cached_property
    def _table(self) -> Table:
        return read_table(self.labels, self.val_fraction, self.test_fraction)

    @property
    def _rows(self) -> list[FolderRow]:
        return self._table.rows

    @cached_property
    def _label_space(self) -> LabelSpace:
        if self.hierarchy is not None:
            return read_hierarchy(self.hierarchy)
        if not self._table.has_labels:
            return LabelSpace.empty()
        names = sorted({label for row in self._rows for label in row.labels})
        if not names:
            raise DataError(f"{self.labels}: no image has a label.")
        try:
            return LabelSpace.flat(names)
        except DataError as error:
            raise DataError(f"{self.labels}: {error.message}", error.hint) from error

    def label_space(self) -> LabelSpace:
        """The hierarchy's labels, or all labels of the file in alphabetical order; none in a file of captions."""
        return self._label_space

    def split_names(self) -> tuple[str, ...]:
        """The splits that have images."""
        present = {row.split for row in self._rows}
        return tuple(split for split in SPLITS if split in present)

    def records(self, split: str) -> Records:
        """The images of a split in the order of the file.

        Raises:
            DataError: for an empty split, missing images, or labels the hierarchy does not have.
        """
        rows = [row for row in self._rows if row.split == split]
        if not rows:
            raise DataError(f"{self.labels}: no image belongs to split {split!r}.", _split_hint(split))
        return _make_records(rows, self.images, self.labels, self.label_space(), refuse_absent=self._refuses_absent)


def labelled_records(images: Path, labels_file: Path, labels: LabelSpace) -> Records:
    """All images of a label file, whatever their split, with labels of a given space.

    Raises:
        DataError: for missing images, a file without labels, or labels that the space does not have.
    """
    table = read_table(labels_file, 0.0, 0.0)
    if not table.has_labels:
        raise DataError(f"{labels_file} has no column `labels`.", "The first line must begin with `image,labels`.")
    return _make_records(table.rows, images, labels_file, labels)


def _make_records(
    rows: list[FolderRow], images: Path, labels_file: Path, labels: LabelSpace, *, refuse_absent: bool = True
) -> Records:
    """Records of the rows, once every image (unless absent ones may be) and label is known to exist."""
    if not images.is_dir():
        raise DataError(f"{images} is not a folder of images.", "Give the folder that the images are in (data.images).")
    folder = str(images)  # a `Path` for every image takes longer than asking for it
    missing = [row for row in rows if refuse_absent and not os.path.isfile(os.path.join(folder, row.image))]
    if missing:
        shown = named([f"{row.image} (line {row.line})" for row in missing])
        raise DataError(
            f"{labels_file}: {len(missing)} of {len(rows):,} images are not in {images}: {shown}.",
            "Names in the file are relative to the folder of images.",
        )
    index = {name: i for i, name in enumerate(labels.label_names)}
    unknown = sorted({label for row in rows for label in row.labels if label not in index})
    if unknown:
        near = nearest(unknown[0], index)
        count = counted(len(unknown), "label is", "labels are")
        raise DataError(
            f"{labels_file}: {count} not in the label space: {named(unknown)}.",
            f"Did you mean {near[0]}?" if near else "Add them to the hierarchy, or correct the file.",
        )
    return FolderRecords(rows, images, index)


def read_hierarchy(path: Path) -> LabelSpace:
    """Read a hierarchy file: a YAML tree of names that ends in lists of labels.

    Raises:
        DataError: when the file is missing, is not YAML, or is not a tree of equal depth.
    """
    from hlcli.errors import RecipeError
    from hlcli.recipe_reading.text import read_yaml

    try:
        return LabelSpace.from_tree(read_yaml(path))
    except RecipeError as error:
        raise DataError(error.message, error.hint) from error
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from error


def read_table(path: Path, val_fraction: float, test_fraction: float) -> Table:
    """Read a file of labels, captions or both.

    Raises:
        DataError: for a missing or unreadable file, missing columns, repeated images or unknown splits.
    """
    lines = csv_lines(path, read_text(path))
    columns = _columns(path, lines[0][1] if lines else [])
    rows, seen = [], dict[str, int]()
    for number, line in lines[1:]:
        if not any(cell.strip() for cell in line):
            continue
        row = _read_row(path, number, line, columns, val_fraction, test_fraction)
        name = os.path.normpath(row.image)
        if name in seen:
            raise DataError(f"{path}, line {number}: {row.image} was listed before, in line {seen[name]}.")
        seen[name] = number
        rows.append(row)
    if not rows:
        raise DataError(f"{path} lists no image.")
    return Table(rows, "labels" in columns)


def read_text(path: Path) -> str:
    """The text of a label file, of UTF-8 or of UTF-16 with a byte order mark, without that mark.

    Raises:
        DataError: for a missing or unreadable file.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; a CSV file was expected.")
    try:
        content = path.read_bytes()
        if content.startswith(_WORKBOOKS):
            raise DataError(f"{path} is a workbook, no text.", _SAVE_AS_TEXT)
        encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
        text = io.TextIOWrapper(io.BytesIO(content), encoding=encoding).read()
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            raise DataError(f"{path}, line {line} holds NUL: it is no UTF-8 text.", _SAVE_AS_TEXT)
        return text
    except FileNotFoundError as error:
        raise DataError(f"data.labels: {path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}.", _SAVE_AS_TEXT) from error


def csv_lines(path: Path, text: str, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """The cells of every line of a CSV file that is not blank, with the line's number.

    Args:
        path: the file, for the message.
        text: its content.
        delimiter: what stands between columns.

    Raises:
        DataError: when quotes are not as they should be.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        hint = 'Put cells that hold a separator, a line end or quotes in "quotes", and write each quote in them twice.'
        raise DataError(f"{path} is not a CSV file: {error} (line {reader.line_num}).", hint) from error


def _columns(path: Path, first_line: list[str]) -> dict[str, int]:
    header = [cell.strip().lower() for cell in first_line]
    if header[:2] not in (["image", "labels"], ["image", "captions"]):
        raise DataError(
            f"{path}: the first line must name the columns, beginning with `image,labels` (got {','.join(header)!r}).",
            "Optional columns after them: split (train, val, test) and captions. Without labels: `image,captions`. "
            "`hlcli init` reads other forms of tables, and writes them as this one.",
        )
    unknown = [name for name in header if name not in ("image", "labels", "split", "captions")]
    if unknown or len(set(header)) < len(header):
        raise DataError(
            f"{path}: the columns are image, labels, split and captions, each once (got {','.join(header)})."
        )
    return {name: i for i, name in enumerate(header)}


def _read_row(
    path: Path, number: int, line: list[str], columns: dict[str, int], val_fraction: float, test_fraction: float
) -> FolderRow:
    if len(line) != len(columns):
        raise DataError(
            f"{path}, line {number}: {len(columns)} columns were expected, got {len(line)}.",
            'Separate labels by `;`, and put cells that hold a comma in "quotes".',
        )
    cells = {name: line[i].strip() for name, i in columns.items()}
    if not cells["image"]:
        raise DataError(f"{path}, line {number}: the image has no name.")
    split = cells.get("split") or _drawn_split(cells["image"], val_fraction, test_fraction)
    if split not in SPLITS:
        raise DataError(f"{path}, line {number}: split must be train, val or test (got {split!r}).")
    # One text for all rows that say the same, as there may be millions of them.
    labels = tuple(intern(part.strip()) for part in cells.get("labels", "").split(";") if part.strip())
    captions = tuple(part.strip() for part in cells.get("captions", "").split("|") if part.strip())
    if "labels" not in columns and not captions:
        raise DataError(f"{path}, line {number}: {cells['image']} has no caption.", "Separate several by `|`.")
    return FolderRow(number, cells["image"], labels, intern(split), captions)


def _drawn_split(image: str, val_fraction: float, test_fraction: float) -> str:
    """A split that depends on the image's name alone."""
    draw = int.from_bytes(hashlib.sha256(image.encode()).digest()[:6], "big") / 2**48
    if draw < test_fraction:
        return "test"
    return "val" if draw < test_fraction + val_fraction else "train"


def _split_hint(split: str) -> str:
    if split in ("val", "test"):
        return f"Name it in a `split` column, or set data.{split}_fraction."
    return "Splits are called train, val and test."
