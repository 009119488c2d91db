"""Image features in HDF5 files, as captioning networks read them: one dataset per image and kind of number.

| key | shape | what |
|---|---|---|
| `{id}_features` | [N, D] | grid cells row by row, or regions in the order in which they are kept |
| `{id}_global` | [D] | one vector of the whole image |
| `{id}_boxes` | [N, 4] | left, top, right, bottom of each region in pixels |
| `{id}_size` | [2] | height and width of the image in pixels |
| `{id}_cls_prob` | [N] | how sure the detector was of each region |

The published files of CLIP and VinVL features are laid out like this. Ours also say, in the attribute `hlcli`, what
made them. See docs/features.md.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hlcli.errors import DataError
from hlcli.features.layout import ATTRIBUTE, FeatureKind, facts_differences, feature_key
from hlcli.features.writer import FeatureWriter
from hlcli.json_text import parse_json

__all__ = ["FeatureFile", "FeatureKind", "FeatureWriter", "facts_differences", "feature_key"]

_AGAIN = "Make it again with `hlcli embed images … --overwrite`, or fetch it again."

_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, MemoryError)
"""What HDF5 raises for damaged files, depending on the byte that is wrong."""


_MOST_NUMBERS = 2**26
"""Of one image, a hundred times those of the papers: a file of a few bytes can unpack to more than the memory."""


class FeatureFile:
    """Features that are read when they are asked for, image by image.

    Every process that uses the object opens the file once for itself; the object may be sent to others.

    Args:
        path: the HDF5 file.
        kind: what its `{id}_features` are; `global` reads `{id}_global` as one row.

    Attributes:
        path: as given.
        kind: as given.
        facts: what made the file; None for files that others made.

    Raises:
        DataError: when the file is missing, damaged, or says that it holds another kind.
    """

    def __init__(self, path: Path, kind: FeatureKind = "grid") -> None:
        self.path, self.kind = Path(path), kind
        self._handle: h5py.File | None = None
        self._process = 0
        self._first: tuple[str, tuple[int, ...]] | None = None
        with self._open() as handle:
            self.facts = _read_facts(handle, self.path)
        made = (self.facts or {}).get("kind", kind)
        if made != kind and not (made == "grid" and kind == "global"):
            raise DataError(f"{self.path} holds {made} features; {kind} features were expected.")

    @property
    def width(self) -> int:
        """D, the length of every feature."""
        known = (self.facts or {}).get("width")
        if isinstance(known, int) and known >= 1 and self.kind != "global":
            return known
        return self._first_image()[1][-1]

    def read(self, image_id: str, *, max_rows: int | None = None) -> np.ndarray:
        """Features [N, D] float32 of an image; at most `max_rows` of them, the first ones.

        Raises:
            DataError: when the file has none of this image, or something else under its key: no finite numbers,
                another width, or a grid of another size than the file's first one.
        """
        dataset = self._dataset(image_id, self._part)
        if dataset is None:
            raise DataError(
                f"{self.path} has no features of image {image_id}.",
                "Is it this data set's file, with all splits? Images that could not be decoded are listed beside it.",
            )
        shape = self._shape(dataset, f"image {image_id}")
        if shape[-1:] != (self.width,) or len(shape) != (1 if self.kind == "global" else 2):
            raise DataError(f"{self.path}: image {image_id} has features of shape {list(shape)}.", _AGAIN)
        if self.kind == "grid":
            self._check_cells(image_id, shape[0])
        return np.atleast_2d(self._values(dataset, f"the features of image {image_id}", max_rows))

    def boxes(self, image_id: str) -> np.ndarray | None:
        """Left, top, right and bottom [N, 4] of the image's regions in pixels; None where there are none."""
        dataset = self._dataset(image_id, "boxes")
        if dataset is None:
            return None
        shape = self._shape(dataset, f"{image_id}_boxes")
        if len(shape) != 2 or shape[1] != 4:
            raise DataError(f"{self.path}: image {image_id} has boxes of shape {list(shape)}.", _AGAIN)
        return self._values(dataset, f"the boxes of image {image_id}")

    def image_size(self, image_id: str) -> tuple[int, int] | None:
        """Height and width of the image in pixels, to which its boxes refer; None where they are not told."""
        dataset = self._dataset(image_id, "size")
        if dataset is None:
            return None
        if self._shape(dataset, f"{image_id}_size") != (2,):
            raise DataError(f"{self.path}: the size of image {image_id} is no height and width.", _AGAIN)
        height, width = self._values(dataset, f"height and width of image {image_id}").tolist()
        return int(height), int(width)

    def keys(self) -> list[str]:
        """Keys of all images. Reads the whole index: seconds for a hundred thousand images."""
        found: list[str] = []
        with self._reading("its list of images"):
            handle = self._opened()
            handle.visit(lambda name: found.append(name) if self._is_of_image(handle, name) else None)
        return [name.removesuffix(f"_{self._part}") for name in found]

    def check(self, expected: Mapping[str, Any]) -> None:
        """Refuse a file that was not made as `expected` says; files of others say nothing and pass.

        Args:
            expected: facts; those that are missing, here or there, are not compared.

        Raises:
            DataError: naming every difference.
        """
        differences = facts_differences(self.facts or {}, expected)
        if differences:
            raise DataError(f"{self.path} does not fit: {'; '.join(differences)}.", "Give the file that belongs to it.")

    def close(self) -> None:
        """Close this process's handle; the next read opens the file again."""
        if self._handle is not None and self._process == os.getpid():
            self._handle.close()
        self._handle = None

    def __contains__(self, image_id: str) -> bool:
        return self._dataset(image_id, self._part) is not None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    @property
    def _part(self) -> str:
        return "global" if self.kind == "global" else "features"

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except FileNotFoundError as error:
            raise DataError(f"{self.path} is missing.", "Make it with `hlcli embed images`.") from error
        except OSError as error:
            raise DataError(f"{self.path} is no whole HDF5 file: {error}.", _AGAIN) from error

    def _opened(self) -> h5py.File:
        if self._handle is None or self._process != os.getpid():  # a handle must not be shared with a forked process
            self._handle, self._process = self._open(), os.getpid()
        return self._handle

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Damage that shows while something is read is told as such."""
        try:
            yield
        except _DAMAGE as error:
            raise DataError(f"{self.path}: {what} cannot be read: {error}.", _AGAIN) from error

    def _dataset(self, image_id: str, part: str) -> h5py.Dataset | None:
        name = f"{feature_key(image_id)}_{part}"
        with self._reading(name):
            file = self._opened()
            if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
                raise DataError(f"{self.path}: {name} is a link to another file, which is not followed.", _AGAIN)
            found = file.get(name)
        return found if isinstance(found, h5py.Dataset) else None

    def _shape(self, dataset: h5py.Dataset, name: str) -> tuple[int, ...]:
        """Shape of real numbers that are in this very file."""
        with self._reading(name):
            dtype, shape, is_elsewhere = dataset.dtype, dataset.shape, bool(dataset.external) or dataset.is_virtual
        if is_elsewhere:
            raise DataError(f"{self.path}: the numbers of {name} are in another file, which is not read.", _AGAIN)
        if dtype.kind not in "fiu" or shape is None:
            raise DataError(f"{self.path}: {name} holds no real numbers, but {dtype}.", _AGAIN)
        return shape

    def _values(self, dataset: h5py.Dataset, name: str, rows: int | None = None) -> np.ndarray:
        """Finite numbers, float32."""
        shape = dataset.shape if rows is None or dataset.ndim < 2 else (min(rows, len(dataset)), *dataset.shape[1:])
        if math.prod(shape) > _MOST_NUMBERS:
            raise DataError(f"{self.path}: {name} are {math.prod(shape):,} numbers, too many for an image.", _AGAIN)
        with self._reading(name), np.errstate(over="ignore"):  # what does not fit is found below
            values = (dataset[:rows] if dataset.ndim > 1 else dataset[()]).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise DataError(f"{self.path}: {name} hold NaN or infinity, which is no number to learn from.", _AGAIN)
        return values

    def _is_of_image(self, handle: h5py.File, name: str) -> bool:
        """Whether an entry holds what is read of an image; a folder of images may be called alike."""
        return name.endswith(f"_{self._part}") and handle.get(name, getclass=True) is h5py.Dataset

    def _first_image(self) -> tuple[str, tuple[int, ...]]:
        """Key and shape of whichever image comes first, found without listing the others."""
        if self._first is None:
            with self._reading("its first image"):
                handle = self._opened()
                name = handle.visit(lambda name: name if self._is_of_image(handle, name) else None)
                dataset = None if name is None else handle[name]
            if dataset is None:
                raise DataError(
                    f"{self.path} holds no {self.kind} features.", "Keys such as 391895_features were expected."
                )
            shape = self._shape(dataset, name)
            if not shape or not shape[-1]:
                raise DataError(f"{self.path}: {name} has shape {list(shape)}, which is no row of features.", _AGAIN)
            self._first = name.removesuffix(f"_{self._part}"), shape
        return self._first

    def _check_cells(self, image_id: str, cells: int) -> None:
        """Refuse a grid that does not fit into a batch with the others."""
        key, shape = self._first_image()
        if cells != shape[0] or not cells:
            raise DataError(
                f"{self.path}: image {image_id} has {cells} grid cells, but image {key} has {shape[0]}.",
                "Grids of one file must be equally large, with at least one cell.",
            )


def _read_facts(handle: h5py.File, path: Path) -> dict[str, Any] | None:
    try:
        text = handle.attrs.get(ATTRIBUTE)
        facts = None if text is None else parse_json(text)
    except (*_DAMAGE, RecursionError) as error:
        raise DataError(f"{path}: its attribute {ATTRIBUTE!r} is no JSON: {error}.", _AGAIN) from error
    if text is not None and not isinstance(facts, dict):
        raise DataError(f"{path}: its attribute {ATTRIBUTE!r} holds no facts.", _AGAIN)
    return facts
