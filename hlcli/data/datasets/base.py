"""What data sets that are downloaded and prepared have in common."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.data.transfers.checksums import Checksum
from hlcli.errors import DataError, named
from hlcli.files import sha256_of
from hlcli.plain_text import counted
from hlcli.sections import Fraction, PrepareOptions

logger = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """The records of a data set, read from its official layout.

    Args:
        splits: records by split; a split whose files are absent is not there.
        notes: JSON-ready facts for `meta.json`: options, sums of the sources, what was left out.
        labels: the labels, where their names come from a file or an option; None for the section's own.
        shares_images: whether splits have images in common on purpose.
        documents: what the store keeps besides, by file name: JSON-ready values.
    """

    splits: Mapping[str, Sequence[Record]]
    notes: dict[str, Any]
    labels: LabelSpace | None = None
    shares_images: bool = False
    documents: Mapping[str, Any] = {}


class LayoutOptions(PrepareOptions):
    """What most sets of image files let one choose."""

    allow_partial: bool = Field(False, description="Accept files that hold less than the published numbers.")
    max_missing: Fraction = Field(0.0, description="Largest share of a split's images that may be missing.")
    without_images: bool = Field(False, description="Keep records whose image file is not there.")


def read_lines(path: Path, hint: str | None = None) -> list[tuple[int, str]]:
    """Numbered lines of a text file, without blanks at their ends; empty ones are passed over.

    Args:
        path: the file, in UTF-8.
        hint: how to mend a file that cannot be read.

    Raises:
        DataError: when it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.", hint) from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def is_file_of_split(path: Path, split: str, notes: dict[str, Any], *, allow_partial: bool) -> bool:
    """Whether the file that lists a split's images is there; a split without one is noted under `absent_splits`.

    Args:
        path: the file.
        split: whose images it lists.
        notes: gets the names of absent splits.
        allow_partial: do without the split instead of refusing.

    Raises:
        DataError: when there is no such file and not `allow_partial`.
    """
    absent = notes.setdefault("absent_splits", [])
    if path.is_file():
        return True
    what = f"{path} is {'not a file' if path.exists() else 'missing'}: there"
    if not allow_partial:
        raise DataError(f"{what} would be no {split} split.", "To do without it on purpose, give --allow-partial.")
    logger.warning("%s will be no %s split.", what, split)
    absent.append(split)
    return False


def check_path(where: object, file: str) -> None:
    """Refuse an image's path that leads out of the folder of images.

    Raises:
        DataError: for an absolute path, or one with `..`.
    """
    parts = file.replace("\\", "/").split("/")
    if not parts[0] or parts[0].endswith(":") or ".." in parts or "\0" in file:
        raise DataError(f"{where}: a path below the folder of images was expected, got {file[:80]!r}.")


def check_disjoint(splits: Mapping[str, Sequence[Record]]) -> None:
    """Refuse splits that share images.

    Raises:
        DataError: naming two such splits and some of the images.
    """
    homes: dict[str, str] = {}
    for split, records in splits.items():
        shared = [record.image_id for record in records if homes.setdefault(record.image_id, split) != split]
        if shared:
            raise DataError(
                f"Splits {homes[shared[0]]} and {split} share {counted(len(shared), 'image')}: {named(shared)}.",
                "Scores on images that were trained on mean nothing: correct the lists.",
            )


def check_counts(where: object, counts: Iterable[tuple[str, int | None, int]], *, is_verified: bool = True) -> None:
    """Compare numbers with the published ones.

    Args:
        where: what was counted, for the message.
        counts: what it is, the published number (None where there is none), the number found.
        is_verified: False for numbers that are cited but were never confirmed: they only warn.

    Raises:
        DataError: naming the first verified number that differs.
    """
    for what, expected, found in counts:
        if expected is None or found == expected:
            continue
        message = f"{where}: {expected:,} {what} were expected, found {found:,}."
        if is_verified:
            raise DataError(message, "Is it complete? A subset on purpose needs --allow-partial.")
        logger.warning("%s The expected number is often cited, but was never confirmed.", message)


def hold_out(records: list[Record], share: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Records in two parts, both in their order; which are in the second depends on ids and seed alone.

    Args:
        records: all of them.
        share: size of the second part as a share of all.
        seed: another seed draws another part.
    """
    draws = {record.image_id: hashlib.sha256(f"{seed}:{record.image_id}".encode()).digest() for record in records}
    drawn = set(sorted(draws, key=lambda image_id: draws[image_id])[: round(share * len(records))])
    kept = [record for record in records if record.image_id not in drawn]
    return kept, [record for record in records if record.image_id in drawn]


def note_source(path: Path, notes: dict[str, Any]) -> None:
    """Keep size and sum of a file that labels were read from, under `sources`."""
    sums = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    notes.setdefault("sources", {})[path.name] = sums


@dataclass(frozen=True)
class DownloadOptions:
    """How a data set is fetched.

    Args:
        annotations: annotation files to use instead of the published ones.
        source: a folder with files placed by hand; they are checked, then copied, archives unpacked from there.
        mirror: a URL under which the published files lie too; asked first.
        jobs: images worked on at the same time; of archives, two at most.
        overwrite: fetch what is there already.
        width: most pixels across a photo; 0 takes it as published.
        retry_failed: ask again for photos that the server declared gone.
        offline: open no connection.
        verify: compare checksums of what is fetched or placed by hand.
        verify_again: compare those of all that is there already, too; what is damaged is fetched anew.
        force: go on although the disk seems too small.
        proxy: URL of a proxy for all requests, in place of the environment's.
        parts: parts of the data set to fetch; empty for those that most people need.
        keep_archives: leave archives in `archives/` when they are unpacked.
        crawl: a list of addresses of single photos to fetch where no archive has them.
    """

    annotations: tuple[Path, ...] = ()
    source: Path | None = None
    mirror: str | None = None
    jobs: int = 16
    overwrite: bool = False
    width: int = 1024
    retry_failed: bool = False
    offline: bool = False
    verify: bool = True
    verify_again: bool = False
    force: bool = False
    proxy: str | None = None
    parts: tuple[str, ...] = ()
    keep_archives: bool = False
    crawl: Path | None = None

    def __post_init__(self) -> None:
        """Make paths of strings.

        Raises:
            ValueError: for fewer than one job, or a negative width.
        """
        object.__setattr__(self, "annotations", tuple(map(Path, self.annotations)))
        for name in ("source", "crawl"):
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, Path(value))
        if self.jobs < 1:
            raise ValueError(f"jobs must be at least 1 (got {self.jobs}).")
        if self.width < 0:
            raise ValueError(f"width must not be negative (got {self.width}).")


class Source(NamedTuple):
    """A file as a data set publishes it.

    Args:
        name: its file name.
        urls: the same file on several servers, best first; none where it must be placed by hand.
        size: the published number of bytes.
        checksum: the published sum.
        unpack_to: folder below the data set's own in which an archive is unpacked, `.` for that itself; None for a
            file that is used as it is.
        part: what it belongs to: `images`, `annotations`…
        is_optional: fetched only where its part is asked for by name.
        by_hand: how to get a file that no URL gives.
        is_needed: whether a download without it fails.
    """

    name: str
    urls: tuple[str, ...] = ()
    size: int | None = None
    checksum: Checksum | None = None
    unpack_to: str | None = None
    part: str = "images"
    is_optional: bool = False
    by_hand: str | None = None
    is_needed: bool = True


class DownloadReport(NamedTuple):
    """What a download left behind.

    Args:
        name: the data set.
        folder: where its files are.
        present: photos (or files, see `unit`) that were there before.
        fetched: those that came new.
        missing: ids of those that could not be had.
        failures: the list that says why, if any is missing.
        unit: what is counted.
        unverified: files that came without verification, of which nothing is left to compare with the published sums.
    """

    name: str
    folder: Path
    present: int
    fetched: int
    missing: tuple[str, ...]
    failures: Path | None
    unit: str = "photo"
    unverified: tuple[str, ...] = ()

    @property
    def missing_share(self) -> float:
        """Missing ones as a share of all."""
        return len(self.missing) / max(1, self.present + self.fetched + len(self.missing))


class PlannedFile(NamedTuple):
    """A row of a dry run.

    Args:
        what: the file, or the kind of files.
        state: `present`, `partial`, `missing`…
        size: bytes to fetch, in words.
    """

    what: str
    state: str
    size: str
