"""What a power cut would leave: notes which files and folders were written through to the disk, and in what order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Renames:
    """Renames within a folder, each with what was wrong with it: content or folder not on the disk in time."""

    def __init__(self, below: Path) -> None:
        self.below = below
        self.targets: list[Path] = []
        self.faults: list[str] = []
        self._on_disk: dict[int, tuple[int, int]] = {}  # by inode: size, time of change
        self._waiting: dict[Path, str] = {}  # folders whose renames are not on the disk yet

    def note_sync(self, descriptor: int) -> None:
        """A file or folder is on the disk."""
        found = os.fstat(descriptor)
        self._on_disk[found.st_ino] = (found.st_size, found.st_mtime_ns)
        self._waiting.pop(Path(os.readlink(f"/proc/self/fd/{descriptor}")), None)

    def note_rename(self, source: Path, target: Path) -> None:
        """A file or folder gets its name; all of it must be on the disk by now."""
        if not target.is_relative_to(self.below):
            return
        self.targets.append(target)
        for path in [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]:
            found = path.stat()
            if self._on_disk.get(found.st_ino) != (found.st_size, found.st_mtime_ns):
                self.faults.append(f"{path} has its name {target} before it is on the disk")
        self._waiting[target.parent] = f"the name {target} is not on the disk"

    def unfinished(self) -> list[str]:
        """Faults, and names that never came to the disk."""
        return self.faults + list(self._waiting.values())


@contextmanager
def watched_renames(below: Path) -> Iterator[Renames]:
    """Watch this process."""
    renames, real_sync = Renames(below), os.fsync

    def sync(descriptor: Any) -> None:
        real_sync(descriptor)
        renames.note_sync(descriptor if isinstance(descriptor, int) else descriptor.fileno())

    def watched(real: Any) -> Any:
        def rename(source: Any, target: Any, **options: Any) -> None:
            renames.note_rename(Path(source), Path(target))
            real(source, target, **options)

        return rename

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        patch.setattr(os, "rename", watched(os.rename))
        patch.setattr(os, "replace", watched(os.replace))
        yield renames
