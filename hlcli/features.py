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

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hlcli.errors import DataError
from hlcli.feature_layout import ATTRIBUTE, FeatureKind, facts_differences, feature_key
from hlcli.feature_writer import FeatureWriter

__all__ = ["FeatureFile", "FeatureKind", "FeatureWriter", "facts_differences", "feature_key"]

_AGAIN = "Make it again with `hlcli embed images … --overwrite`, or fetch it again."


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
        self._width: int | None = None
        with self._open() as handle:
            self.facts = _read_facts(handle, self.path)
        made = (self.facts or {}).get("kind", kind)
        if made != kind and not (made == "grid" and kind == "global"):
            raise DataError(f"{self.path} holds {made} features; {kind} features were expected.")

    @property
    def width(self) -> int:
        """D, the length of every feature."""
        if self._width is None:
            known = (self.facts or {}).get("width")
            self._width = known if known and self.kind != "global" else self._first_width()
        return self._width

    def read(self, image_id: str, *, max_rows: int | None = None) -> np.ndarray:
        """Features [N, D] float32 of an image; at most `max_rows` of them, the first ones.

        Raises:
            DataError: when the file has none of this image, or something else under its key.
        """
        dataset = self._dataset(image_id, self._part)
        if dataset is None:
            raise DataError(
                f"{self.path} has no features of image {image_id}.",
                "Is it this data set's file, with all splits? Images that could not be decoded are listed beside it.",
            )
        if dataset.shape[-1:] != (self.width,) or dataset.ndim != (1 if self.kind == "global" else 2):
            raise DataError(f"{self.path}: image {image_id} has features of shape {list(dataset.shape)}.", _AGAIN)
        values = self._values(dataset, image_id, max_rows)
        return np.atleast_2d(values).astype(np.float32, copy=False)

    def boxes(self, image_id: str) -> np.ndarray | None:
        """Left, top, right and bottom [N, 4] of the image's regions in pixels; None where there are none."""
        dataset = self._dataset(image_id, "boxes")
        return None if dataset is None else self._values(dataset, image_id).astype(np.float32, copy=False)

    def image_size(self, image_id: str) -> tuple[int, int] | None:
        """Height and width of the image in pixels, to which its boxes refer; None where they are not told."""
        dataset = self._dataset(image_id, "size")
        if dataset is None:
            return None
        height, width = self._values(dataset, image_id).tolist()
        return int(height), int(width)

    def keys(self) -> list[str]:
        """Keys of all images. Reads the whole index: seconds for a hundred thousand images."""
        ending, found = f"_{self._part}", []
        self._opened().visit(lambda name: found.append(name) if name.endswith(ending) else None)
        return [name.removesuffix(ending) for name in found]

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

    def _dataset(self, image_id: str, part: str) -> h5py.Dataset | None:
        name = f"{feature_key(image_id)}_{part}"
        try:
            found = self._opened().get(name)
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{self.path}: {name} cannot be read: {error}.", _AGAIN) from error
        return found if isinstance(found, h5py.Dataset) else None

    def _values(self, dataset: h5py.Dataset, image_id: str, rows: int | None = None) -> np.ndarray:
        try:
            return dataset[:rows] if dataset.ndim > 1 else dataset[()]
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{self.path}: the features of image {image_id} cannot be read: {error}.", _AGAIN
            ) from error

    def _first_width(self) -> int:
        """Width of whichever image comes first, found without listing the others."""
        ending, handle = f"_{self._part}", self._opened()
        name = handle.visit(lambda name: name if name.endswith(ending) else None)
        if name is None:
            raise DataError(
                f"{self.path} holds no {self.kind} features.", "Keys such as 391895_features were expected."
            )
        shape = handle[name].shape
        if not shape:
            raise DataError(f"{self.path}: {name} is a single number.", _AGAIN)
        return int(shape[-1])


def _read_facts(handle: h5py.File, path: Path) -> dict[str, Any] | None:
    text = handle.attrs.get(ATTRIBUTE)
    if text is None:
        return None
    try:
        facts = json.loads(text)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: its attribute {ATTRIBUTE!r} is no JSON: {error}.", _AGAIN) from error
    if not isinstance(facts, dict):
        raise DataError(f"{path}: its attribute {ATTRIBUTE!r} holds no facts.", _AGAIN)
    return facts
