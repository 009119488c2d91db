"""Which file a person means by a name in a table: a path, a path from elsewhere, a name alone, one without ending."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from hlcli.data.image_files import IMAGE_SUFFIXES
from hlcli.errors import DataError, named


class ImageNames:
    """The images of a folder, found by what people write of them.

    Args:
        folder: the folder of images.
        files: what is in it.
    """

    def __init__(self, folder: Path, files: Iterable[Path]) -> None:
        self.folder = folder
        depth = len(folder.parts)
        self.names = ["/".join(path.parts[depth:]) for path in files]
        self._paths = set(self.names)

    @cached_property
    def _folders(self) -> set[str]:
        """The folders above images, as keys; only for names that are no path, as what follows."""
        homes = {PurePosixPath(name.rpartition("/")[0]) for name in self.names}
        return {_key(str(folder)) for home in homes for folder in (home, *home.parents)}

    @cached_property
    def _near(self) -> dict[str, list[str]]:
        """The images whose path, or whose name with or without its ending, has a key."""
        near: dict[str, list[str]] = {}
        for name in self.names:
            for key in {_key(name), _key(_without_ending(name)), *map(_key, _last_parts(name))}:
                near.setdefault(key, []).append(name)
        return near

    def find(self, written: str) -> str | None:
        """The image's path in the folder, parts separated by `/`; None where no file can be meant.

        The path itself counts first, then its end (`photos/a.jpg` is `a.jpg` in `photos`), then the name without its
        folders, without its ending, in other letters (`A.JPG`), or with another ending (`a.jpeg`). But where the folder
        that is written is there, what is meant lies in it.

        Raises:
            DataError: where several files can be meant.
        """
        path = plain_path(written)
        if path in self._paths:
            return path
        parts = path.split("/")
        ends = ["/".join(parts[i:]) for i in range(len(parts))]
        home = next((above for end in ends if (above := self._home(end))), "")
        exact = next((end for end in ends if end in self._paths and _key(end).startswith(home)), None)
        if exact is not None:
            return exact
        if _stays_inside(written) and os.path.isfile(self.folder / written):  # of an ending that we do not know
            return os.path.normpath(written)
        if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES:
            ends += [*map(_without_ending, ends)]
        for end in ends:
            meant = [name for name in self._near.get(_key(end), []) if _key(name).startswith(home)]
            if len(meant) > 1:
                raise DataError(
                    f"{written} can mean several images of {self.folder}: {named(meant)}.",
                    "Write their paths in that folder.",
                )
            if meant:
                return meant[0]
        return None

    def _home(self, path: str) -> str:
        """The deepest folder above a path that is there, as the beginning of keys; empty where none is."""
        above = (_key(str(folder)) for folder in PurePosixPath(path).parents)
        return next((f"{folder}/" for folder in above if folder != "." and folder in self._folders), "")


def plain_path(written: str) -> str:
    """A path as it is written, its parts separated by `/` alone."""
    return "/".join(part for part in written.replace("\\", "/").split("/") if part not in ("", "."))


def _stays_inside(written: str) -> bool:
    return written != "" and not os.path.isabs(written) and ".." not in plain_path(written).split("/")


def _key(name: str) -> str:
    return normalize("NFC", name).casefold()


def _without_ending(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _last_parts(name: str) -> tuple[str, str]:
    """The name without its folders, with its ending and without."""
    path = PurePosixPath(name)
    return path.name, path.stem
