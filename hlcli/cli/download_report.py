"""What `hlcli download` reads and shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.filesize import decimal

import hlcli
from hlcli.plain_text import counted

if TYPE_CHECKING:
    from hlcli.data.datasets.base import DownloadOptions, DownloadReport


def sort_out(names: Sequence[str], annotations: Sequence[Path]) -> tuple[list[str], tuple[Path, ...]]:
    """Data sets and annotation files: the shell gives only the first word after --json to the option; the others
    arrive among the names.

    Raises:
        BadParameter: without a data set.
    """
    files = [name for name in names if name.lower().endswith(".json")]
    kept = [name for name in names if name not in files]
    if not kept:
        raise typer.BadParameter("name a data set, for example intentonomy.", param_hint="NAME")
    return kept, (*annotations, *map(Path, files))


def check_max_missing(names: Sequence[str], root: Path | None, max_missing: float) -> None:
    """Refuse `--max-missing` where a download fails without any of the files.

    Raises:
        InputError: for an unknown name.
        BadParameter: when nothing can be missing.
    """
    sections = hlcli.find_downloads(names, root)
    if max_missing and not any(section.may_lack_files for section in sections):
        chosen = " and ".join(section.name for section in sections)
        raise typer.BadParameter(f"a download of {chosen} lacks no file, or fails.", param_hint="--max-missing")


def show_terms(names: Sequence[str], root: Path | None, *, with_licence: bool, verify: bool) -> None:
    """Licences, and what is not checked, on stderr.

    Raises:
        InputError: for an unknown name.
    """
    for section in hlcli.find_downloads(names, root):
        if with_licence:
            typer.echo(f"{section.name}: {section.licence}", err=True)
    if not verify:
        typer.echo("warning: checksums are not compared (--no-verify).", err=True)


def note_licences(names: Sequence[str], root: Path | None) -> None:
    """Keep which licences were shown, and when."""
    for section in hlcli.find_downloads(names, root):
        section.note_licence()


def show_plan(names: Sequence[str], root: Path | None, options: DownloadOptions) -> None:
    """What would be fetched."""
    rows = [row._replace(size=_in_units(row.size)) for row in hlcli.plan_download(names, root, options)]
    files = [row for row in rows if row.state]
    widths = [
        max(len(cell) for cell in column) for column in zip(("file", "state"), *(row[:2] for row in files), strict=True)
    ]
    typer.echo(f"{'file':{widths[0]}}  {'state':{widths[1]}}  to fetch")
    for row in rows:
        if row.state:
            typer.echo(f"{row.what:{widths[0]}}  {row.state:{widths[1]}}  {row.size}")
        else:
            typer.echo(f"{row.what}: {row.size}")


def _in_units(size: str) -> str:
    """Numbers of bytes as people read them."""
    units = {"bytes": 1, "MB": 1_000_000}
    return re.sub(
        r"(\d[\d,]*) (bytes|MB)", lambda found: decimal(int(found[1].replace(",", "")) * units[found[2]]), size
    )


def show(report: DownloadReport, max_missing: float) -> None:
    """What is there of a data set, and what is missing."""
    there = report.present + report.fetched
    of_all = f"of {there + len(report.missing):,} " if report.missing else ""
    typer.echo(f"{report.name}: {there:,} {of_all}{report.unit}s in {report.folder} ({report.fetched:,} of them new).")
    if report.unverified:
        typer.echo(
            f"warning: {', '.join(report.unverified)} came without verification and cannot be compared any more; "
            "--overwrite fetches anew.",
            err=True,
        )
    if report.missing:
        shown = ", ".join(report.missing[:5])
        where = "to be placed by hand"
        if report.failures is not None:
            where = f"see {report.failures}; --retry-failed asks again for those that are gone"
        tolerated = ", as tolerated by --max-missing" if report.missing_share <= max_missing else ""
        typer.echo(
            f"warning: {counted(len(report.missing), report.unit)} missing ({report.missing_share:.1%}){tolerated}: "
            f"{shown}{'…' if len(report.missing) > 5 else ''} ({where}).",
            err=True,
        )
