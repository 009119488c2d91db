"""The photos of a data set, one by one from the web: the crawl that is seen, and its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hlcli.data.datasets.base import DownloadOptions, DownloadReport
from hlcli.data.transfers.crawl import CrawlPlan, ImageItem, crawl_images
from hlcli.data.transfers.manifest import FAILURES_NAME
from hlcli.data.transfers.session import Session
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
    """Carry out a plan with a bar that shows it; arguments as of `crawl_images`, `name` is the data set's."""
    with Progress("Downloading photos", total=len(todo.wanted), unit="photo", enabled=bool(todo.wanted)) as bar:
        report = crawl_images(
            todo,
            folder,
            session=session,
            jobs=options.jobs,
            hand_placed=hand_placed,
            overwrite=options.overwrite,
            on_done=bar.advance,
        )
    missing = tuple(failure.id for failure in report.failures)
    failures = folder / FAILURES_NAME if missing else None
    return DownloadReport(name, folder, report.present, report.fetched, missing, failures)
