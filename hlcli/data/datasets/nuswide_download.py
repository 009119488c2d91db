"""Where NUS-WIDE's files come from: labels and lists from its home page, photos on request or one by one from Flickr.

Most of the photos' published addresses are dead by now, and removed photos answer with a picture that says so: a set
crawled today is another one than the published, and numbers on the two must not be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hlcli.data.datasets.base import DownloadOptions, DownloadReport, PlannedFile, Source, check_path
from hlcli.data.transfers.archive_download import fetch_sources, hold_folder, open_session
from hlcli.data.transfers.archive_plan import plan as plan_sources
from hlcli.data.transfers.crawl import CrawlPlan, ImageItem, plan_crawl
from hlcli.data.transfers.manifest import FetchFailure, Manifest, read_failures, write_failures
from hlcli.data.transfers.photos import crawl_photos, plan_photos
from hlcli.errors import DataError


def download(sources: Sequence[Source], folder: Path, options: DownloadOptions) -> DownloadReport:
    """Fetch labels and lists, unpack photos placed by hand, and crawl photos where a list of addresses is given.

    Raises:
        DownloadError: when a file cannot be had, or a host keeps sending us away.
        InputError: when a file placed by hand is not the published one, or an option does not fit.
        DataError: when the list of addresses cannot be read.
    """
    with open_session(options) as session, hold_folder(folder, options):
        fetched = fetch_sources("nuswide", sources, folder, options, session)
        if options.crawl is None:
            return DownloadReport("nuswide", folder, fetched.present, fetched.new, fetched.missing, None, "file")
        todo = _plan_photos(options.crawl, folder, options)
        if todo.gone:  # those without an address are failures before anything is fetched
            failures = read_failures(folder) | {failure.id: failure for failure in todo.gone}
            write_failures(folder, failures.values())
        return crawl_photos("nuswide", todo, folder, options, session)


def plan(sources: Sequence[Source], folder: Path, options: DownloadOptions) -> list[PlannedFile]:
    """What `download` would do, without writing or asking anybody."""
    if options.crawl is None:
        return plan_sources("nuswide", sources, folder, options)
    todo = _plan_photos(options.crawl, folder, options)
    return [*plan_sources("nuswide", sources, folder, options, photos=len(todo.wanted)), *plan_photos(todo)]


def _plan_photos(addresses: Path, folder: Path, options: DownloadOptions) -> CrawlPlan:
    """What there is to do for a list of addresses; photos without any are gone, unless they are there."""
    items = {item.file: item for item in read_addresses(addresses)}.values()
    plan = plan_crawl(
        [item for item in items if item.url], folder, overwrite=options.overwrite, retry_failed=options.retry_failed
    )
    manifest, now = Manifest(folder), datetime.now(UTC).isoformat(timespec="seconds")
    for item in items:
        if item.url:
            continue
        if manifest.holds(item.file):
            plan.present.append(item)
        elif (folder / item.file).exists():
            plan.wanted.append(item)
        else:
            plan.gone.append(FetchFailure(item.id, "", 0, None, "no address is published", None, now, gone=True))
    return plan


def read_addresses(path: Path) -> Iterator[ImageItem]:
    """The photos of the official list of addresses, `NUS-WIDE-urls.txt`, in its order; medium size where there is one.

    A line has the photo's file (with backslashes), its id, and the addresses of its large, medium, small and original
    size, or `null`. The address of a photo without any is empty.

    Raises:
        DataError: for a line of another form.
    """
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("Photo_file"):
                continue
            words = line.split()
            if len(words) < 6 or not all(word == "null" or word.startswith("http") for word in words[-4:]):
                raise DataError(
                    f"{path}, line {number}: a file, an id and four addresses were expected, got {line.strip()!r}.",
                    "Give NUS-WIDE-urls.txt, unpacked from the official NUS-WIDE-urls.rar.",
                )
            file = "/".join(" ".join(words[:-5]).replace("\\", "/").split("/")[-2:])
            check_path(f"{path}, line {number}", file)
            large, medium, small, original = words[-4:]
            url = next((url for url in (medium, large, small, original) if url != "null"), "")
            yield ImageItem(file, url, f"Flickr/{file}")
