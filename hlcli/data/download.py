"""From the name of a data set to its files: the `download` verb."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from hlcli.data.datasets.base import DownloadOptions, DownloadReport, PlannedFile
from hlcli.data.datasets.sources import published
from hlcli.errors import InputError
from hlcli.recipe import data_section, data_sections, data_set_name
from hlcli.sections import DataSection


def download(
    names: str | Sequence[str], root: Path | str | None = None, options: DownloadOptions | None = None
) -> list[DownloadReport]:
    """Fetch data sets into `ROOT/NAME`; what is there and complete is kept.

    Args:
        names: one or several data sets.
        root: the data root; default `$HLCLI_DATA`, else `./data`.
        options: how; see `DownloadOptions`.

    Raises:
        InputError: for an unknown name.
        DownloadError: when a file that is needed cannot be had.
    """
    options = options or DownloadOptions()
    return [section.download(section.folder(), options) for section in find_downloads(names, root)]


def plan_download(
    names: str | Sequence[str], root: Path | str | None = None, options: DownloadOptions | None = None
) -> list[PlannedFile]:
    """What `download` would do; writes nothing and opens no connection.

    Raises:
        InputError: for an unknown name.
    """
    options = options or DownloadOptions()
    sections = find_downloads(names, root)
    return [row for section in sections for row in section.plan_download(section.folder(), options)]


def downloadable() -> list[str]:
    """Names of the data sets that can be downloaded."""
    return [name for name in data_sections() if name in published()]


def find_downloads(names: str | Sequence[str], root: Path | str | None = None) -> list[DataSection]:
    """The sections of data sets that can be downloaded, by name.

    Raises:
        InputError: for a name that is none of them.
    """
    known = downloadable()
    found: dict[str, DataSection] = {}
    for name in [names] if isinstance(names, str) else names:
        own = data_set_name(name)
        if own not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
            raise InputError(
                f"There is no data set {name!r} to download; known: {', '.join(known)}.",
                f"Did you mean {near[0]}?" if near else None,
            )
        found[own] = data_section(own, root)
    return list(found.values())
