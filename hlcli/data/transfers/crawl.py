"""Fetching many small images from the web: in parallel, politely, and each one whole or not there.

An image is stored as it was sent, after one full decoding has proved that it is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hlcli.data.transfers.image_fetch import fetch_image, read_whole_image
from hlcli.data.transfers.manifest import FetchFailure, Kept, Manifest, read_failures, write_failures
from hlcli.data.transfers.patience import Clock, worker_threads
from hlcli.data.transfers.session import Refused, Session
from hlcli.errors import InputError
from hlcli.files import whole_file
from hlcli.plain_text import counted

_PLACEHOLDER_COPIES = 5
"""Addresses that give the same bytes, from which on these are no photo but a picture that stands for removed ones."""

_HANDED_OUT = 4
"""Images handed to the threads per thread: enough that none waits, few enough that memory does not grow with them."""

DAMAGED = -1
"""The length under which the manifest lists a file that `--verify` found damaged; its sum is that of the good bytes."""


class ImageItem(NamedTuple):
    """One image to fetch.

    Args:
        id: how it is called in lists of failures.
        url: where it is.
        file: where it goes: a path inside the folder, with forward slashes.
    """

    id: str
    url: str
    file: str


class CrawlPlan(NamedTuple):
    """What there is to do.

    Args:
        present: images that are there, by the manifest.
        wanted: images to look for or to fetch.
        gone: images that the server declared gone in an earlier run.
    """

    present: list[ImageItem]
    wanted: list[ImageItem]
    gone: list[FetchFailure]


class CrawlReport(NamedTuple):
    """What was done.

    Args:
        present: how many images were there before.
        fetched: how many were fetched, copied, or found complete on disk.
        failures: the missing ones.
    """

    present: int
    fetched: int
    failures: list[FetchFailure]


def plan_crawl(
    items: Iterable[ImageItem], folder: Path, *, overwrite: bool = False, retry_failed: bool = False
) -> CrawlPlan:
    """Sort images by what is to be done; looks at names and sizes only.

    Raises:
        InputError: when images on disk came from other URLs (another width, say) and are not to be replaced.
    """
    manifest, failures = Manifest(folder), read_failures(folder)
    plan = CrawlPlan([], [], [])
    changed: list[tuple[str, str]] = []
    for item in {item.file: item for item in items}.values():
        if overwrite:
            plan.wanted.append(item)
        elif manifest.holds(item.file):
            plan.present.append(item)
            source = manifest.files[item.file].url
            if source not in (None, item.url):
                changed.append((str(source), item.url))
        elif _is_gone(failures.get(item.id), item) and not retry_failed and not (folder / item.file).exists():
            plan.gone.append(failures[item.id])
        else:
            plan.wanted.append(item)
    if changed:
        count = counted(len(changed), f"image in {folder} was", f"images in {folder} were")
        raise InputError(
            f"{count} fetched from other addresses than asked for now: {changed[0][0]} instead of {changed[0][1]}.",
            "Give the same options as before (--width), or --overwrite to fetch them anew.",
        )
    return plan


def _is_gone(failure: FetchFailure | None, item: ImageItem) -> bool:
    return failure is not None and failure.is_gone and failure.url == item.url


def crawl_images(
    plan: CrawlPlan,
    folder: Path,
    *,
    session: Session | None,
    jobs: int = 16,
    hand_placed: Callable[[ImageItem], Path | None] = lambda item: None,
    overwrite: bool = False,
    on_done: Callable[[int, int], None] = lambda fetched, failed: None,
) -> CrawlReport:
    """Carry out a plan. Interrupted, it leaves complete files, a correct manifest and a correct list of failures.

    Args:
        plan: from `plan_crawl`, with the same `overwrite`.
        folder: where the images go.
        session: sends the requests; None opens no connection at all.
        jobs: how many images are worked on at the same time.
        hand_placed: a file that may be the image; it is checked, then copied.
        overwrite: do not use what already lies under the final name.
        on_done: called after every image with the numbers of those that are there now and of those that failed.

    Raises:
        HostUnavailable: when a host keeps sending us away or failing.
        HlcliError: when files cannot be written.
    """
    if not plan.wanted:
        return CrawlReport(len(plan.present), 0, plan.gone)
    manifest, failures = Manifest(folder), read_failures(folder)
    for item in plan.present:
        failures.pop(item.id, None)
    outcome = _Outcome(plan, folder)
    damaged = {file: kept.sha256 for file, kept in manifest.files.items() if kept.num_bytes == DAMAGED}
    worker = _Worker(folder, session, hand_placed, overwrite, damaged)
    try:
        outcome.count(manifest.files)
        clock = Clock() if session is None else session.clock
        with manifest.writer() as add, worker_threads(clock, jobs) as pool:
            for item, future in _completed(pool, worker.obtain, plan.wanted, _HANDED_OUT * jobs):
                result = _result(future, item)
                if isinstance(result, FetchFailure):
                    outcome.missing.append(result)
                else:
                    add(item.file, result)
                    failures.pop(item.id, None)
                    outcome.fetched.add(item.file)
                    outcome.count({item.file: result})
                on_done(len(outcome.fetched), len(outcome.missing) - len(plan.gone))
    finally:
        failures.update({failure.id: failure for failure in outcome.missing})
        write_failures(folder, failures.values())
    return CrawlReport(len(outcome.present), len(outcome.fetched), outcome.missing)


class _Outcome:
    """What a crawl has so far; pictures that stand for removed photos are taken back as soon as they are known.

    Servers answer with such a picture, a valid one, in the place of many photos: the same bytes from many addresses.
    """

    def __init__(self, plan: CrawlPlan, folder: Path) -> None:
        self._items = {item.file: item for item in (*plan.present, *plan.wanted)}
        self._folder = folder
        self._copies: dict[str, tuple[tuple[str, str], ...]] = {}  # by the beginning of the sum: files and addresses
        self.present = {item.file for item in plan.present}
        self.fetched: set[str] = set()
        self.missing = list(plan.gone)

    def count(self, files: Mapping[str, Kept]) -> None:
        """Take in files that are complete; of copies, as soon as they are too many, all are taken back."""
        for file, kept in files.items():
            if kept.url is None or kept.sha256 is None:
                continue
            sum_begin = kept.sha256[:16]
            copies = self._copies.get(sum_begin, ())
            if len({address for _, address in copies}) >= _PLACEHOLDER_COPIES:
                self._take_back(file)
                continue
            self._copies[sum_begin] = copies = (*copies, (file, kept.url))
            if len({address for _, address in copies}) >= _PLACEHOLDER_COPIES:
                for copy, _ in copies:
                    self._take_back(copy)

    def _take_back(self, file: str) -> None:
        item = self._items.get(file)
        if item is None or not (file in self.present or file in self.fetched):
            return
        (self._folder / file).unlink(missing_ok=True)
        self.present.discard(file)
        self.fetched.discard(file)
        error = f"the same picture as at {_PLACEHOLDER_COPIES} other addresses or more: it stands for removed photos"
        self.missing.append(FetchFailure(item.id, item.url, 1, 200, error, None, _now(), gone=True))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _completed(
    pool: ThreadPoolExecutor, obtain: Callable[[ImageItem], Kept], items: Iterable[ImageItem], most: int
) -> Iterator[tuple[ImageItem, Future[Kept]]]:
    """The images as they are done; no more than `most` are handed to the threads at a time."""
    waiting, running = iter(items), dict[Future[Kept], ImageItem]()
    while True:
        running |= {pool.submit(obtain, item): item for item in islice(waiting, most - len(running))}
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future


def _result(future: Future[Kept], item: ImageItem) -> Kept | FetchFailure:
    try:
        return future.result()
    except Refused as error:
        reason, gone = str(error), error.is_gone
        return FetchFailure(item.id, item.url, error.attempts, error.status, reason, error.final_url, _now(), gone)


class _Worker:
    """Gets one image after the other, from wherever it can be had."""

    def __init__(
        self,
        folder: Path,
        session: Session | None,
        hand_placed: Callable[[ImageItem], Path | None],
        overwrite: bool,
        damaged: Mapping[str, str | None],
    ) -> None:
        self._folder = folder
        self._session = session
        self._hand_placed = hand_placed
        self._overwrite = overwrite
        self._damaged = damaged

    def obtain(self, item: ImageItem) -> Kept:
        """Put the image under its final name.

        Raises:
            Refused: when it cannot be had.
        """
        target = self._folder / item.file
        given = None if self._overwrite else read_whole_image(target)
        if isinstance(given, bytes):
            if self._damaged.get(item.file) in (None, hashlib.sha256(given).hexdigest()):
                return _kept(given, None)
            given = f"{target} is damaged, and nothing is fetched offline"
        path = self._hand_placed(item)
        if path is not None and isinstance(given := read_whole_image(path), bytes):
            return self._store(item, given, None)
        if self._session is None:
            raise Refused(given or f"{target} is missing, and nothing is fetched offline", attempts=0)
        return self._store(item, fetch_image(self._session, item.url), item.url)

    def _store(self, item: ImageItem, content: bytes, url: str | None) -> Kept:
        with whole_file(self._folder / item.file, "wb") as handle:
            handle.write(content)
        return _kept(content, url)


def _kept(content: bytes, url: str | None) -> Kept:
    return Kept(len(content), url, hashlib.sha256(content).hexdigest())
