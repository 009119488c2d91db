"""The photos of a data set, one by one from the web: the crawl that is seen, and its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hlcli.data.datasets.base import DownloadOptions, DownloadReport, PlannedFile
from hlcli.data.transfers.crawl import CrawlPlan, ImageItem, crawl_images
from hlcli.data.transfers.manifest import FAILURES_NAME
from hlcli.data.transfers.session import Session
from hlcli.data.transfers.verification import without_damaged_photos
from hlcli.plain_text import counted
from hlcli.progress import Progress


def crawl_photos(
    name: str,
    todo: CrawlPlan,
    folder: Path,
    options: DownloadOptions,
    session: Session | None,
    *,
    hand_placed: Callable[[ImageItem], Path | None] = lambda item: None,
) -> DownloadReport:
    """Carry out a plan with a bar that shows it, after looking again at what is there if that is asked for.

    Arguments as of `crawl_images`; `name` is the data set's.
    """
    if options.verify_again:
        todo = without_damaged_photos(todo, folder)
    with Progress("Downloading photos", total=len(todo.wanted), unit="photo", enabled=bool(todo.wanted)) as bar:

        def on_done(fetched: int, failed: int) -> None:
            bar.note(ok=fetched, failed=failed, skipped=len(todo.present))
            bar.advance()

        report = crawl_images(
            todo,
            folder,
            session=session,
            jobs=options.jobs,
            hand_placed=hand_placed,
            overwrite=options.overwrite,
            on_done=on_done,
        )
    missing = tuple(failure.id for failure in report.failures)
    failures = folder / FAILURES_NAME if missing else None
    return DownloadReport(name, folder, report.present, report.fetched, missing, failures)


def plan_photos(todo: CrawlPlan) -> list[PlannedFile]:
    """The rows of a dry run."""
    states = (("present", todo.present, "0 bytes"), ("missing", todo.wanted, "unknown"), ("gone", todo.gone, "0 bytes"))
    return [PlannedFile(counted(len(photos), "photo"), state, size) for state, photos, size in states if photos]
