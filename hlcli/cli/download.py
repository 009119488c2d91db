"""`hlcli download`: fetch a data set's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hlcli.data.datasets.base import DownloadReport, PlannedFile

SOME_MISSING = 3


def download(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets; a wrong name lists those known.")],
    root: Annotated[Path | None, typer.Option(help="Data root; default $HLCLI_DATA, else ./data.")] = None,
    annotations: Annotated[
        list[Path] | None,
        typer.Option(
            "--json",
            metavar="FILE...",
            help="Annotation files to use instead of the published ones; only their photos are fetched. "
            "For intentonomy.",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", exists=True, file_okay=False, help="Folder of files placed by hand: checked, used."),
    ] = None,
    mirror: Annotated[str | None, typer.Option(help="URL of a folder with the published files; asked first.")] = None,
    parts: Annotated[
        list[str] | None, typer.Option("--part", help="Fetch this part alone, e.g. annotations; may be repeated.")
    ] = None,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Leave archives in ROOT/NAME/archives after unpacking.")
    ] = False,
    crawl: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="List of addresses: fetch photo by photo. For nuswide."),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Photos worked on at the same time (archives: two at most).")
    ] = 16,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--skip-existing", help="Fetch complete files anew, or keep them.")
    ] = False,
    width: Annotated[
        int, typer.Option(min=0, help="Most pixels across a photo; 0: as published. For intentonomy.")
    ] = 1024,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again for photos that were gone the last time.")
    ] = False,
    max_missing: Annotated[
        float, typer.Option(min=0, max=1, help="Share of photos that may be missing without exit code 3.")
    ] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", envvar="HLCLI_OFFLINE", help="Open no connection; use what is there.")
    ] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not compare checksums.")] = False,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You know the licence; it is not shown.")
    ] = False,
) -> None:
    """Fetch a data set's files: verified, resumable, safe to interrupt.

    Example: hlcli download intentonomy --root data
    Example: hlcli download intentonomy --json train.json val.json test.json --width 512
    Example: hlcli download coco voc2007 --dry-run

    Archives are unpacked and then removed; those placed by hand stay where they are.

    Exit codes: 0 all there, 3 some files are missing (photos: listed in failures.jsonl), 1 failed, 2 wrong input.
    """
    from hlcli.data.datasets.base import DownloadOptions
    from hlcli.data.download import download as fetch
    from hlcli.data.download import find_datasets, plan_download

    # The shell gives only the first word after --json to the option; the others arrive among the names.
    files = [*(annotations or ()), *(Path(name) for name in names if name.lower().endswith(".json"))]
    names = [name for name in names if not name.lower().endswith(".json")]
    if not names:
        raise typer.BadParameter("name a data set, for example intentonomy.", param_hint="NAME")
    options = DownloadOptions(
        annotations=tuple(files),
        source=source,
        mirror=mirror,
        jobs=jobs,
        overwrite=overwrite,
        width=width,
        retry_failed=retry_failed,
        offline=offline,
        verify=not no_verify,
        parts=tuple(parts or ()),
        keep_archives=keep_archives,
        crawl=crawl,
    )
    sections = find_datasets(names, root)
    if not accept_licence:
        for section in sections:
            typer.echo(f"{section.name}: {section.licence}", err=True)
    if no_verify:
        typer.echo("warning: checksums are not compared (--no-verify).", err=True)
    if dry_run:
        _show_plan(plan_download(names, root, options))
        return
    reports = fetch(names, root, options)
    for report in reports:
        _show(report, max_missing)
    if any(report.missing_share > max_missing for report in reports):
        raise typer.Exit(SOME_MISSING)


def _show_plan(rows: list[PlannedFile]) -> None:
    typer.echo(f"{'file':45} {'state':15} to fetch")
    for row in rows:
        typer.echo(f"{row.what:45} {row.state:15} {row.size}")


def _show(report: DownloadReport, max_missing: float) -> None:
    there = report.present + report.fetched
    of_all = f"of {there + len(report.missing):,} " if report.missing else ""
    typer.echo(f"{report.name}: {there:,} {of_all}{report.unit}s in {report.folder} ({report.fetched:,} of them new).")
    if report.missing:
        shown = ", ".join(report.missing[:5])
        where = "to be placed by hand" if report.failures is None else f"see {report.failures}"
        tolerated = ", as tolerated by --max-missing" if report.missing_share <= max_missing else ""
        typer.echo(
            f"warning: {len(report.missing):,} {report.unit}s ({report.missing_share:.1%}) are missing{tolerated}: "
            f"{shown}{'…' if len(report.missing) > 5 else ''} ({where}).",
            err=True,
        )
