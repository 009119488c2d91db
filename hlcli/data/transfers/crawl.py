"""Fetching many small images from the web: in parallel, politely, and each one whole or not there.

An image is stored as it was sent, after one full decoding has proved that it is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hlcli.data.images import load_image
from hlcli.data.transfers.manifest import Failure, Manifest, read_failures, write_failures
from hlcli.data.transfers.session import Refused, Session, Transient
from hlcli.errors import DataError, HlcliError, InputError
from hlcli.files import whole_file

if TYPE_CHECKING:
    import httpx

_LARGEST_IMAGE_BYTES = 256 << 20
_PLACEHOLDER = "photo_unavailable"
_ACCEPT = "image/jpeg,image/png;q=0.9,image/*;q=0.5"


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
    gone: list[Failure]


class CrawlReport(NamedTuple):
    """What was done.

    Args:
        present: how many images were there before.
        fetched: how many were fetched, copied, or found complete on disk.
        failures: the missing ones.
    """

    present: int
    fetched: int
    failures: list[Failure]


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
        raise InputError(
            f"{len(changed):,} images in {folder} were fetched from other addresses than asked for now: "
            f"{changed[0][0]} instead of {changed[0][1]}.",
            "Give the same options as before (--width), or --overwrite to fetch them anew.",
        )
    return plan


def _is_gone(failure: Failure | None, item: ImageItem) -> bool:
    return failure is not None and failure.is_gone and failure.url == item.url


def crawl_images(
    plan: CrawlPlan,
    folder: Path,
    *,
    session: Session | None,
    jobs: int = 16,
    hand_placed: Callable[[ImageItem], Path | None] = lambda item: None,
    overwrite: bool = False,
    on_done: Callable[[int], None] = lambda count: None,
) -> CrawlReport:
    """Carry out a plan. Interrupted, it leaves complete files, a correct manifest and a correct list of failures.

    Args:
        plan: from `plan_crawl`, with the same `overwrite`.
        folder: where the images go.
        session: sends the requests; None opens no connection at all.
        jobs: how many images are worked on at the same time.
        hand_placed: a file that may be the image; it is checked, then copied.
        overwrite: do not use what already lies under the final name.
        on_done: called with the number of images that are done.

    Raises:
        HostUnavailable: when a host keeps sending us away or failing.
        HlcliError: when files cannot be written.
    """
    if not plan.wanted:
        return CrawlReport(len(plan.present), 0, plan.gone)
    manifest, failures = Manifest(folder), read_failures(folder)
    for item in plan.present:
        failures.pop(item.id, None)
    worker = _Worker(folder, session, hand_placed, overwrite)
    fetched, missing = 0, list(plan.gone)
    try:
        with manifest.writer() as add, _pool(jobs, session) as pool:
            futures = {pool.submit(worker.obtain, item): item for item in plan.wanted}
            for future in as_completed(futures):
                item = futures.pop(future)
                result = _result(future, item)
                if isinstance(result, Failure):
                    missing.append(result)
                else:
                    add(*result)
                    failures.pop(item.id, None)
                    fetched += 1
                on_done(1)
    finally:
        failures.update({failure.id: failure for failure in missing})
        write_failures(folder, failures.values())
    return CrawlReport(len(plan.present), fetched, missing)


@contextmanager
def _pool(jobs: int, session: Session | None) -> Iterator[ThreadPoolExecutor]:
    """Threads that end soon when the block is left by an error or an interruption."""
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="fetch")
    try:
        yield pool
    except BaseException:
        if session is not None:
            session.clock.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _Placed(NamedTuple):
    file: str
    num_bytes: int
    url: str | None


def _result(future: Future[_Placed], item: ImageItem) -> _Placed | Failure:
    try:
        return future.result()
    except Refused as error:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        return Failure(item.id, item.url, error.attempts, error.status, str(error), error.final_url, time)


class _Worker:
    """Gets one image after the other, from wherever it can be had."""

    def __init__(
        self,
        folder: Path,
        session: Session | None,
        hand_placed: Callable[[ImageItem], Path | None],
        overwrite: bool,
    ) -> None:
        self._folder = folder
        self._session = session
        self._hand_placed = hand_placed
        self._overwrite = overwrite

    def obtain(self, item: ImageItem) -> _Placed:
        """Put the image under its final name.

        Raises:
            Refused: when it cannot be had.
        """
        given = None if self._overwrite else _read_whole_image(self._folder / item.file)
        if isinstance(given, bytes):
            return _Placed(item.file, len(given), None)
        path = self._hand_placed(item)
        if path is not None and isinstance(given := _read_whole_image(path), bytes):
            return self._store(item, given, None)
        if self._session is None:
            raise Refused(given or "not here, and nothing is fetched offline", attempts=0)
        return self._store(item, _fetch_image(self._session, item.url), item.url)

    def _store(self, item: ImageItem, content: bytes, url: str | None) -> _Placed:
        with whole_file(self._folder / item.file, "wb") as handle:
            handle.write(content)
        return _Placed(item.file, len(content), url)


def _read_whole_image(path: Path) -> bytes | str | None:
    """The bytes of an image file, or what is wrong with it, or None if there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HlcliError(f"{path} cannot be read: {error.strerror or error}.") from error
    complaint = not_an_image(content, str(path))
    return content if complaint is None else complaint


def _fetch_image(session: Session, url: str) -> bytes:
    """The bytes of an image on the web.

    Raises:
        Refused: when the URL does not give one; bytes that cannot be decoded are asked for once more.
    """
    undecodable = 0

    def attempt() -> bytes:
        nonlocal undecodable
        with session.get(url, {"Accept": _ACCEPT}) as response:
            if response.status_code != 200:
                raise Refused(f"HTTP {response.status_code} was not asked for", status=response.status_code)
            if _PLACEHOLDER in response.url.path:  # Flickr's picture that says so, with status 200
                raise Refused("the photo is no longer available", status=200, final_url=str(response.url))
            content = _read(session, response)
            complaint = not_an_image(content, "as sent")
            if complaint is None:
                return content
            undecodable += 1
            kind = response.headers.get("Content-Type", "unknown type").split(";")[0]
            if kind == "text/html" or undecodable > 1:
                raise Refused(f"{complaint} ({kind})", status=200, final_url=str(response.url))
            raise Transient(f"{complaint} ({kind})")

    return session.persist(url, attempt)


def _read(session: Session, response: httpx.Response) -> bytes:
    content = bytearray()
    for chunk in session.body(response):
        content += chunk
        if len(content) > _LARGEST_IMAGE_BYTES:
            raise Refused(f"more than {_LARGEST_IMAGE_BYTES:,} bytes", final_url=str(response.url))
    return bytes(content)


def not_an_image(content: bytes, name: str) -> str | None:
    """Why bytes are not a whole image; None when they can be decoded to the last pixel."""
    try:
        load_image(content, name=name)
    except DataError as error:
        return error.message.rstrip(".")
    return None
