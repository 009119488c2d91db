"""Writing feature files, whole or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from hlcli.errors import HlcliError
from hlcli.features.layout import ATTRIBUTE, CAST_PARTS, PARTS, feature_key
from hlcli.files import sync_folder


class FeatureWriter:
    """Writes a feature file; it takes its final name when the block ends without an error.

    The same images in the same order give the same bytes.

    Args:
        path: the HDF5 file; one that is there is replaced.
        facts: what makes it, JSON-ready; None writes no attribute.
        dtype: precision of features and global vectors.

    Raises:
        HlcliError: when the file cannot be written.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any] | None = None, *, dtype: str = "float32") -> None:
        self.path, self.dtype = Path(path), np.dtype(dtype)
        self._facts = facts
        self._temporary = self.path.with_name(f".{self.path.name}.tmp{os.getpid()}")
        self._sink: _Sink
        self._handle: h5py.File

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = _Sink(self._temporary)
        except OSError as error:
            raise self._failure(error) from error
        self._handle = h5py.File(self._sink, "w")
        if self._facts is not None:
            self._handle.attrs[ATTRIBUTE] = json.dumps(self._facts)
        return self

    def write(self, image_id: str, parts: Mapping[str, np.ndarray]) -> None:
        """Add an image.

        Args:
            image_id: as in its record.
            parts: arrays by their names in `PARTS`.

        Raises:
            ValueError: for an unknown part, or an image that is already there.
            HlcliError: when numbers do not fit the precision, or the disk is full.
        """
        for part, values in parts.items():
            if part not in PARTS:
                raise ValueError(f"Expected parts of {', '.join(PARTS)}, but got {part!r}.")
            name, stored = f"{feature_key(image_id)}_{part}", np.asarray(values)
            if part in CAST_PARTS:
                stored = self._cast(stored, image_id)
            if name in self._handle:
                raise ValueError(f"Expected every image once, but got {image_id!r} again.")
            self._handle.create_dataset(name, data=stored)
        self._check()

    def copy_from(self, other: Path, keys: Iterable[str]) -> None:
        """Add images of another file, as they are stored there.

        Args:
            other: a feature file of the same precision.
            keys: keys of its images, in the order in which they are to be added.
        """
        with h5py.File(other, "r") as source:
            for name in (f"{key}_{part}" for key in keys for part in PARTS):
                if name in source:
                    source.copy(source[name], self._handle, name)
                    self._check()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._handle.close()
            self._sink.close()
            if kind is None:
                self._check()
                os.replace(self._temporary, self.path)
                sync_folder(self.path.parent)
        except OSError as failure:
            raise self._failure(failure) from failure
        finally:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def _check(self) -> None:
        if self._sink.error is not None:
            raise self._failure(self._sink.error) from self._sink.error

    def _cast(self, values: np.ndarray, image_id: str) -> np.ndarray:
        with np.errstate(over="ignore"):
            stored = values.astype(self.dtype)
        if not np.isfinite(stored).all():
            reason = f"do not fit {self.dtype}" if np.isfinite(values).all() else "are not finite"
            raise HlcliError(
                f"The features of image {image_id} {reason}.",
                "Give --dtype float32." if np.isfinite(values).all() else "Are the weights whole?",
            )
        return stored

    def _failure(self, error: OSError) -> HlcliError:
        return HlcliError(f"{self.path} cannot be written: {error.strerror or error}.")


class _Sink(io.FileIO):
    """A file for HDF5 to write to that keeps its first error to itself: HDF5 may crash where a disk is full.

    What is written after an error is lost; whoever uses the file looks at `error`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write everything."""
        rest = memoryview(data).cast("B")
        total = len(rest)
        try:
            while len(rest) and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return total

    def readinto(self, buffer: Any) -> int:
        """Read as much as is asked for; zeros where nothing was written."""
        rest = memoryview(buffer).cast("B")
        total = len(rest)
        while len(rest):
            count = super().readinto(rest)
            if not count:
                rest[:] = bytes(len(rest))
                break
            rest = rest[count:]
        return total

    def truncate(self, size: int | None = None) -> int:
        """Cut or lengthen the file."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
        return size or 0

    def close(self) -> None:
        """Close the file once its bytes are on the disk."""
        if not self.closed:
            try:
                os.fsync(self.fileno())
            except OSError as error:
                self.error = self.error or error
        super().close()
