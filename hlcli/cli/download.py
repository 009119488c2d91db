"""`hlcli download`: fetch a data set's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hlcli.cli.commands import SOME_FAILED
from hlcli.cli.completion import data_set_names
from hlcli.cli.options import Root

Annotations = Annotated[
    list[Path] | None,
    typer.Option(
        "--json",
        metavar="FILE...",
        help="Annotation files to use instead of the published ones; only their photos are fetched. For intentonomy.",
    ),
]
Source = Annotated[
    Path | None,
    typer.Option("--from", exists=True, file_okay=False, help="Folder of files placed by hand: checked, used."),
]
Parts = Annotated[
    list[str] | None, typer.Option("--part", help="Fetch this part alone, e.g. annotations; may be repeated.")
]
KeepArchives = Annotated[
    bool, typer.Option("--keep-archives", help="Leave archives in ROOT/NAME/archives after unpacking.")
]
Crawl = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="List of addresses: fetch photo by photo. For nuswide."),
]
Jobs = Annotated[int, typer.Option(min=1, max=64, help="Photos worked on at the same time (archives: two at most).")]
FetchAnew = Annotated[
    bool, typer.Option("--overwrite/--skip-existing", help="Fetch complete files anew, or keep them.")
]
Width = Annotated[int, typer.Option(min=0, help="Most pixels across a photo; 0: as published. For intentonomy.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again for photos that were gone the last time.")]
MaxMissing = Annotated[
    float, typer.Option(min=0, max=1, help="Share of photos that may be missing without exit code 3.")
]
Offline = Annotated[
    bool, typer.Option("--offline", envvar="HLCLI_OFFLINE", help="Open no connection; use what is there.")
]
Verify = Annotated[
    bool | None,
    typer.Option(
        "--verify/--no-verify",
        help="Compare again the checksums of all that is there, photos too, and fetch what is damaged anew; or compare "
        "none at all. Default: those of what is fetched.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Go on although the disk seems too small.")]
Proxy = Annotated[
    str | None, typer.Option(metavar="URL", help="Send all requests through it; default HTTPS_PROXY and its like.")
]
AcceptLicence = Annotated[
    bool,
    typer.Option(
        "--accept-licence",
        help="You know the licences: they are not shown. Without it they are, and where photos have terms of their "
        "own, ROOT/NAME/.fetched/licence.json notes which text and when. Nothing else depends on it.",
    ),
]


def download(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME", help="Data sets; a wrong name lists those known.", autocompletion=data_set_names
        ),
    ],
    root: Root = None,
    annotations: Annotations = None,
    source: Source = None,
    mirror: Annotated[str | None, typer.Option(help="URL of a folder with the published files; asked first.")] = None,
    parts: Parts = None,
    keep_archives: KeepArchives = False,
    crawl: Crawl = None,
    jobs: Jobs = 16,
    overwrite: FetchAnew = False,
    width: Width = 1024,
    retry_failed: RetryFailed = False,
    max_missing: MaxMissing = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    offline: Offline = False,
    verify: Verify = None,
    force: Force = False,
    proxy: Proxy = None,
    accept_licence: AcceptLicence = False,
) -> None:
    """Fetch a data set's files: verified, resumable, safe to interrupt.

    Example: hlcli download intentonomy --root data
    Example: hlcli download intentonomy --json train.json val.json test.json --width 512
    Example: hlcli download coco2014 voc2007 --dry-run
    Example: hlcli download cub --verify

    Archives are unpacked and then removed; those placed by hand stay where they are.

    Exit codes: 0 all there, 3 some files are missing (photos: listed in failures.jsonl) or unverified, 1 failed,
    2 wrong input.
    """
    import hlcli
    from hlcli.cli import download_report as report
    from hlcli.cli.next_steps import command_line, in_root, say, suggest

    names, files = report.sort_out(names, annotations or [])
    options = hlcli.DownloadOptions(
        annotations=files, source=source, mirror=mirror, jobs=jobs, overwrite=overwrite, width=width,
        retry_failed=retry_failed, offline=offline, verify=verify is not False, verify_again=verify is True,
        force=force, proxy=proxy, parts=tuple(parts or ()), keep_archives=keep_archives, crawl=crawl,
    )  # fmt: skip
    report.check_max_missing(names, root, max_missing)
    report.show_terms(names, root, with_licence=not accept_licence, verify=options.verify)
    if dry_run:
        report.show_plan(names, root, options)
        suggest("download", *names, *in_root(root))
        return
    reports = hlcli.download(names, root, options)
    if not accept_licence:
        report.note_licences(names, root)
    for made in reports:
        report.show(made, max_missing)
    if any(made.missing_share > max_missing or made.unverified for made in reports):
        raise typer.Exit(SOME_FAILED)
    say("Next: " + "; ".join(command_line("preprocess", made.name, *in_root(root)) for made in reports))
