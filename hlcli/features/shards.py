"""A feature file in the making: parts of a few batches each, every one written whole, put together at the end.

`FILE.partial/` holds `plan.json`, which says what is being made, and for each finished part `00012.hdf5` with its
features and `00012.json` with its keys and failures. A part counts once its JSON file is there, so that a kill at any
moment costs the parts in work and nothing else. Parts are cut without regard to processes: however many there are, the
finished file is the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hlcli.data.failures import Failure, failure_of
from hlcli.errors import DataError
from hlcli.features.writer import FeatureWriter
from hlcli.files import write_json
from hlcli.json_text import read_json

_SHARD_IMAGES = 64
"""Images of a part, or a little more: whole batches."""

_PLAN = "plan.json"
_ANEW = "Begin anew with --overwrite."


class Shards:
    """The parts of one file.

    Args:
        out: the finished file.
        num_images: images that it is made of.
        batch_size: images per step.
        dtype: precision of the features.
    """

    def __init__(self, out: Path, num_images: int, batch_size: int, dtype: str) -> None:
        self.out, self.num_images, self.batch_size, self.dtype = out, num_images, batch_size, dtype
        self.folder = out.with_name(f"{out.name}.partial")
        self.size = max(1, _SHARD_IMAGES // batch_size) * batch_size
        self.count = -(-num_images // self.size)

    @property
    def is_begun(self) -> bool:
        """Whether there are parts to go on with."""
        return (self.folder / _PLAN).is_file()

    def begin(self, facts: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder, or check that the one that is there was made for the same work.

        Args:
            facts: what the file will say of itself.
            resume: keep what is done.

        Raises:
            DataError: when it was made for other work, naming what differs.
        """
        path = self.folder / _PLAN
        plan = {**facts, "batch_size": self.batch_size}
        if resume and self.is_begun:
            made = _read(path)
            differences = [
                f"{name} was {made.get(name)}, now {plan.get(name)}"
                for name in {**made, **plan}
                if made.get(name) != plan.get(name)
            ]
            if differences:
                raise DataError(
                    f"{self.folder} was begun in another way: {'; '.join(differences)}.",
                    "Resume with the same options, or begin anew with --overwrite.",
                )
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        write_json(path, plan)

    def rows(self, shard: int) -> range:
        """Rows of a part."""
        return range(shard * self.size, min((shard + 1) * self.size, self.num_images))

    def batches(self, shard: int) -> list[list[int]]:
        """Rows of each batch of a part."""
        rows = self.rows(shard)
        return [list(rows[start : start + self.batch_size]) for start in range(0, len(rows), self.batch_size)]

    def pending(self) -> list[int]:
        """Parts that are not finished."""
        return [shard for shard in range(self.count) if not self._note(shard).is_file()]

    def open(self, shard: int) -> FeatureWriter:
        """A writer for the features of a part."""
        return FeatureWriter(self._features(shard), dtype=self.dtype)

    def finish(self, shard: int, keys: Sequence[str], failures: Sequence[Failure]) -> None:
        """Mark a part as finished, once its features are written.

        Args:
            shard: which.
            keys: keys of its images, in order.
            failures: its images without features.
        """
        write_json(self._note(shard), {"keys": list(keys), "failures": [failure.to_json() for failure in failures]})

    def failures(self) -> list[Failure]:
        """All images without features, in order; every part must be finished."""
        return [failure for shard in range(self.count) for failure in _read_note(self._note(shard))[1]]

    def bytes_done(self) -> int:
        """Bytes that the finished parts take."""
        if not self.folder.is_dir():
            return 0
        return sum(path.stat().st_size for path in self.folder.glob("*.hdf5"))

    def merge(self, facts: Mapping[str, Any], advance: Callable[[int], None]) -> None:
        """Write the finished file and remove the parts.

        Args:
            facts: what the file says of itself.
            advance: called with the number of images after each part.
        """
        with FeatureWriter(self.out, facts, dtype=self.dtype) as writer:
            for shard in range(self.count):
                writer.copy_from(self._features(shard), _read_note(self._note(shard))[0])
                advance(len(self.rows(shard)))
        self.remove()

    def remove(self) -> None:
        """Remove the parts; the plan goes first, so that a half-removed folder is never taken up again."""
        (self.folder / _PLAN).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _features(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.hdf5"

    def _note(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", _ANEW) from error


def _read_note(path: Path) -> tuple[list[str], list[Failure]]:
    """Keys and failures of a finished part."""
    note = _read(path)
    keys, failures = note.get("keys"), note.get("failures")
    if not isinstance(keys, list) or not all(type(key) is str for key in keys) or not isinstance(failures, list):
        raise DataError(f"{path} does not say which images are in its part.", _ANEW)
    try:
        return keys, [failure_of(row) for row in failures]
    except TypeError as error:
        raise DataError(f"{path} cannot be read: {error}.", _ANEW) from error
