"""What data sets that are downloaded and prepared have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hlcli.data.records import Record


class Prepared(NamedTuple):
    """The records of a data set, read from its official layout.

    Args:
        splits: records by split; a split whose files are absent is not there.
        notes: JSON-ready facts for `meta.json`: options, sums of the sources, what was left out.
    """

    splits: dict[str, list[Record]]
    notes: dict[str, Any]


@dataclass(frozen=True)
class DownloadOptions:
    """How a data set is fetched.

    Args:
        annotations: annotation files to use instead of the published ones.
        source: a folder with files placed by hand; they are checked, then copied.
        mirror: a URL under which the annotation files lie too; asked first.
        jobs: images worked on at the same time.
        overwrite: fetch what is there already.
        width: most pixels across a photo; 0 takes it as published.
        retry_failed: ask again for photos that the server declared gone.
        offline: open no connection.
        verify: compare checksums.
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


class DownloadReport(NamedTuple):
    """What a download left behind.

    Args:
        name: the data set.
        folder: where its files are.
        present: photos that were there before.
        fetched: photos that came new.
        missing: ids of photos that could not be had.
        failures: the list that says why, if any is missing.
    """

    name: str
    folder: Path
    present: int
    fetched: int
    missing: tuple[str, ...]
    failures: Path | None

    @property
    def missing_share(self) -> float:
        """Missing photos as a share of all."""
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
