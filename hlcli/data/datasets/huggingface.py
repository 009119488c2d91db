"""Any Hugging Face set of images with labels or captions: from the hub, a local folder, or `save_to_disk`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record, Records
from hlcli.errors import DataError, named
from hlcli.plain_text import counted
from hlcli.sections import DataSection

_NO_CLASS = -1
"""What the library writes where a class is not known."""

# What it raises for files that are damaged or not what they seem, beside its own errors.
_UNREADABLE = (OSError, ValueError, TypeError, LookupError, RuntimeError, AttributeError)


class HuggingFace(DataSection):
    """A data set that the `datasets` library loads; its code is never executed."""

    reads_directly: ClassVar[bool] = True

    dataset: Literal["huggingface"] = "huggingface"
    path: str = Field(description="Name on the hub, folder of files, or folder written by save_to_disk.")
    subset: str | None = Field(None, description="Configuration of the data set, where it has several.")
    image_column: str = Field("image", description="Column of the images.")
    labels_column: str | None = Field(
        "labels",
        description="Column of the labels: a name or number, or a list of them; null: only captions.",
    )
    captions_column: str | None = Field(None, description="Column of the captions: a sentence, or a list of them.")
    hierarchy: Path | None = Field(None, description="YAML tree of label names; its leaves are the labels.")
    train_split: str = Field("train", description="Their name of the split train.")
    val_split: str = Field("validation", description="Their name of the split val.")
    test_split: str = Field("test", description="Their name of the split test.")

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if self.labels_column is None and self.captions_column is None:
            raise ValueError("data.captions_column must name a column where data.labels_column is null")
        return self

    @property
    def title(self) -> str:
        """The name on the hub, or of the folder."""
        return Path(self.path).name if Path(self.path).is_dir() else self.path

    @cached_property
    def _tables(self) -> Any:
        import datasets
        import yaml

        folder = Path(self.path)
        try:
            if (folder / "dataset_dict.json").is_file():
                return datasets.load_from_disk(self.path).with_format(None)
            if (folder / "state.json").is_file():  # one table without splits
                return datasets.DatasetDict({self.train_split: datasets.load_from_disk(self.path).with_format(None)})
            return datasets.load_dataset(self.path, self.subset)
        except (*_UNREADABLE, yaml.YAMLError, datasets.exceptions.DatasetsError) as error:
            raise DataError(f"data.path: {self.path} cannot be loaded: {error}") from error

    def _table(self, name: str) -> Any:
        """One split of the data set, all columns there.

        Raises:
            DataError: for a split or a column that does not exist.
        """
        if name not in self._tables:
            raise DataError(
                f"{self.path} has no split {name!r}; it has {', '.join(self._tables)}.",
                "Set data.train_split, data.val_split or data.test_split.",
            )
        table = self._tables[name]
        for column in (self.image_column, self.labels_column, self.captions_column):
            if column is not None and column not in table.column_names:
                raise DataError(f"{self.path} has no column {column!r}; it has {', '.join(table.column_names)}.")
        return table

    @cached_property
    def _label_space(self) -> LabelSpace:
        from hlcli.data.datasets.folder import read_hierarchy

        if self.hierarchy is not None:
            return read_hierarchy(self.hierarchy)
        if self.labels_column is None:
            return LabelSpace.empty()
        names = self._class_names()
        if names is None:
            column = self._table(self.train_split)[self.labels_column]
            names = sorted({_label_name(entry) for value in column for entry in _as_list(value)})
        if not names:
            raise DataError(f"{self.path}: column {self.labels_column!r} holds no label.")
        return LabelSpace.flat(names)

    def label_space(self) -> LabelSpace:
        """The hierarchy's labels, the column's class names, or all values of the training split, if any."""
        return self._label_space

    def split_names(self) -> tuple[str, ...]:
        """The splits the data set has."""
        return tuple(split for split, name in self._split_columns().items() if name in self._tables)

    def records(self, split: str) -> Records:
        """The rows of a split.

        Raises:
            DataError: for a split or a column that does not exist.
        """
        name = self._split_columns().get(split, split)
        table = self._table(name)
        import datasets

        try:
            table = table.cast_column(self.image_column, datasets.Image(decode=False))
        except _UNREADABLE as error:
            raise DataError(f"{self.path}: column {self.image_column!r} holds no images: {error}.") from error
        return _HuggingFaceSplit(self, name, table, self.label_space(), self._class_names())

    def _split_columns(self) -> dict[str, str]:
        return {"train": self.train_split, "val": self.val_split, "test": self.test_split}

    def _class_names(self) -> list[str] | None:
        """Names behind integer labels, where the column declares them."""
        if self.labels_column is None:
            return None
        feature = self._table(self.train_split).features[self.labels_column]
        feature = getattr(feature, "feature", feature)
        return getattr(feature, "names", None)


class _HuggingFaceSplit(Sequence[Record]):
    """Rows as records; images stay encoded until they are needed."""

    def __init__(
        self, section: HuggingFace, split: str, table: Any, labels: LabelSpace, class_names: list[str] | None
    ) -> None:
        self.split, self.table, self.class_names = split, table, class_names
        self.image_column, self.labels_column = section.image_column, section.labels_column
        self.captions_column = section.captions_column
        self.label_index = {name: i for i, name in enumerate(labels.label_names)}

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Record:  # type: ignore[override]
        value = self.table[row]
        image = value[self.image_column]
        if image is None:
            raise DataError(f"Split {self.split}, row {row}: there is no image.", "Filter the row out of the data set.")
        source = image["bytes"] if image["bytes"] is not None else Path(image["path"])
        captions = _as_list(value[self.captions_column]) if self.captions_column else []
        names = self._label_names(value[self.labels_column]) if self.labels_column else []
        labels = {self._label(name, row) for name in names}
        return Record(self._image_id(row), source, tuple(sorted(labels)), (), tuple(map(str, captions)))

    def image_ids(self) -> list[str]:
        """Ids of all rows."""
        return [self._image_id(row) for row in range(len(self))]

    def labels(self) -> list[tuple[int, ...]]:
        """Labels of all rows, without touching an image.

        Raises:
            DataError: naming the labels that are not in the label space.
        """
        if self.labels_column is None:
            return [()] * len(self)
        entries = list(map(self._label_names, self.table[self.labels_column][:]))
        found = ((name, row) for row, names in enumerate(entries) for name in names)
        unknown = [f"{name!r} (row {row})" for name, row in found if name not in self.label_index]
        if unknown:
            count = counted(len(unknown), "label is", "labels are")
            raise DataError(
                f"Split {self.split}: {count} not in the label space: {named(unknown)}.",
                "Add them to data.hierarchy, or let the training split have them.",
            )
        return [tuple(sorted({self.label_index[name] for name in names})) for names in entries]

    def captions(self) -> list[tuple[str, ...]]:
        """Captions of all rows, without touching an image."""
        if self.captions_column is None:
            return [()] * len(self)
        return [tuple(map(str, _as_list(value))) for value in self.table[self.captions_column][:]]

    def image_paths(self) -> list[Path | None]:
        """Files of the images of all rows, None where the table holds an image itself."""
        import pyarrow.compute

        images = self.table.with_format("arrow")[self.image_column][:]
        is_file = pyarrow.compute.struct_field(images, "bytes").is_null().to_pylist()
        paths = pyarrow.compute.struct_field(images, "path").to_pylist()
        return [Path(path) if none and path is not None else None for path, none in zip(paths, is_file, strict=True)]

    def _image_id(self, row: int) -> str:
        return f"{self.split}-{row:06d}"

    def _label_names(self, value: Any) -> list[str]:
        """The labels in a cell."""
        entries = _as_list(value)
        if self.class_names is not None:
            entries = [self.class_names[entry] for entry in entries if entry != _NO_CLASS]
        return list(map(_label_name, entries))

    def _label(self, name: str, row: int) -> int:
        if name not in self.label_index:
            raise DataError(f"Split {self.split}, row {row}: label {name!r} is not in the label space.")
        return self.label_index[name]


def _as_list(value: Any) -> list[Any]:
    """A cell as a list without gaps: nothing, one value, or several."""
    entries = value if isinstance(value, list | tuple) else [value]
    return [entry for entry in entries if entry is not None]


def _label_name(entry: Any) -> str:
    if not isinstance(entry, str | int):
        raise DataError(f"data.labels_column: labels are text or whole numbers (got {type(entry).__name__}).")
    return str(entry)
