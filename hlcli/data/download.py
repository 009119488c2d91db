"""From the name of a data set to its files: the `download` verb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from hlcli.data.data_set_names import data_section, data_set_classes, near_data_set
from hlcli.data.datasets.base import DownloadOptions, DownloadReport, PlannedFile
from hlcli.data.datasets.sources import published
from hlcli.data.transfers.archive_plan import find_unverified, refuse_unprotected
from hlcli.errors import InputError
from hlcli.recipe import data_set_name
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
        InputError: for an unknown name, an option that none of the data sets has, or files that must not be fetched
            without verification.
        DownloadError: when a file that is needed cannot be had.

    Examples:
        >>> hlcli.download("shapes")
        Traceback (most recent call last):
            ...
        hlcli.errors.InputError: There is no data set 'shapes' to download; known: ...
        >>> reports = hlcli.download(["voc2007", "cub"], "data")  # doctest: +SKIP
    """
    options = options or DownloadOptions()
    sections = find_downloads(names, root)
    _check_options(sections, options)
    return [_download(section, options) for section in sections]


def _download(section: DataSection, options: DownloadOptions) -> DownloadReport:
    folder = section.folder()
    report = section.download(folder, options)
    return report._replace(unverified=find_unverified(section.name, section.sources, folder, options))


def plan_download(
    names: str | Sequence[str], root: Path | str | None = None, options: DownloadOptions | None = None
) -> list[PlannedFile]:
    """What `download` would do; writes nothing and opens no connection.

    Raises:
        InputError: for what `download` refuses too.

    Examples:
        >>> for file in hlcli.plan_download("voc2007", "data")[:2]:
        ...     print(file.what, file.state, file.size)
        VOCtrainval_06-Nov-2007.tar missing 460,032,000 bytes
        VOCtest_06-Nov-2007.tar missing 451,020,800 bytes
    """
    options = options or DownloadOptions()
    sections = find_downloads(names, root)
    _check_options(sections, options)
    return [row for section in sections for row in section.plan_download(section.folder(), options)]


def _check_options(sections: Sequence[DataSection], options: DownloadOptions) -> None:
    """Refuse options of other data sets, and to fetch unchecked what nothing else protects."""
    for field in fields(options):
        owners = [name for name, one in data_set_classes().items() if field.name in one.download_options]
        given = getattr(options, field.name) != field.default
        if given and owners and not any(section.name in owners for section in sections):
            flag = "json" if field.name == "annotations" else field.name.replace("_", "-")
            chosen = " and ".join(section.name for section in sections)
            raise InputError(f"--{flag} is an option of {' and '.join(owners)}, not of {chosen}.")
    for section in sections:
        refuse_unprotected(section.name, section.sources, section.folder(), options)


def downloadable() -> list[str]:
    """Names of the data sets that can be downloaded."""
    return [name for name in data_set_classes() if name in published()]


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
            near = near_data_set(name, known)
            raise InputError(
                f"There is no data set {name!r} to download; known: {', '.join(known)}.",
                f"Did you mean {near}?" if near else None,
            )
        found[own] = data_section(own, root)
    return list(found.values())
