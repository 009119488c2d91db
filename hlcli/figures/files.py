"""What drawing gives back, and names for the files it writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from hlcli.data.image_files import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from hlcli.data.failures import Failure

_LONGEST_NAME, _LONGEST_BYTES = 100, 200
"""Characters, and bytes, of a file name that comes from an image or a label; file systems take 255 bytes."""

_ODD = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069<>:"/\\|?*]+')
"""What names of files cannot hold, or what a terminal obeys."""


class Figures(NamedTuple):
    """The files that were written, the images that could not be decoded, and where these are listed."""

    files: list[Path]
    failures: Sequence[Failure] = ()
    listed: Path | None = None


def page_name(name: str, number: int, pages: int) -> str:
    """`levels` alone, or `levels-01`, `levels-02`, …"""
    return name if pages == 1 else f"{name}-{number:0{len(str(pages))}}"


def remove_older(folder: Path, file_format: str, pattern: str, files: Sequence[Path]) -> None:
    """Take away what an earlier call wrote under names like these: it would be taken for a part of this one."""
    for path in folder.glob(f"*.{file_format}"):
        if path not in files and re.fullmatch(pattern, path.stem):
            path.unlink()


def file_stems(names: Sequence[str]) -> list[str]:
    """A file name, without an ending, for every image: the end of its path that no other one has.

    `a/x.jpg, a/y.jpg, b/x.jpg` give `a_x, y, b_x`. What is still the same is numbered.
    """
    paths = [PurePath(name) for name in names]
    parts = [(*path.parts[:-1], path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name) for path in paths]
    chosen = [0] * len(parts)
    unclear = list(range(len(parts)))
    for length in range(1, 1 + max(map(len, parts), default=0)):
        for i in unclear:
            chosen[i] = min(length, len(parts[i]))
        counts = Counter(parts[i][-chosen[i] :] for i in unclear)
        unclear = [i for i in unclear if counts[parts[i][-chosen[i] :]] > 1]
    return number_repeated(["_".join(part[-length:]) for part, length in zip(parts, chosen, strict=True)])


def number_repeated(names: Sequence[str]) -> list[str]:
    """The names with odd characters replaced; one that was there before (capitals aside) gets `-2`, `-3`, …"""
    taken: set[str] = set()
    result = []
    for name in names:
        plain = safe_name(name)
        unique, number = plain, 1
        while unique.lower() in taken:
            number += 1
            unique = f"{plain}-{number}"
        taken.add(unique.lower())
        result.append(unique)
    return result


def safe_name(name: str) -> str:
    """A name that every file system takes, and that does nothing on a terminal."""
    plain = _ODD.sub("_", name)[-_LONGEST_NAME:]
    return plain.encode()[-_LONGEST_BYTES:].decode(errors="ignore").strip(" .") or "_"
