"""From a list of published files to the official layout: fetched, verified, unpacked.

Below the data set's folder, `archives/` holds archives until they are unpacked, and `.fetched/` one small file for
everything that is done, so that a second run asks nobody and hashes nothing.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.data.datasets.base import DownloadOptions, DownloadReport, Source
from hlcli.data.transfers.archive_plan import (
    MOST_AT_ONCE,
    choose,
    fetched_path,
    find_given,
    is_done,
    is_unpacked_by_hand,
    is_unverified,
    space_needed,
    stamp_path,
)
from hlcli.data.transfers.archives import is_archive, unpack
from hlcli.data.transfers.checksums import complaint_about
from hlcli.data.transfers.manifest import lock_folder
from hlcli.data.transfers.patience import Clock
from hlcli.data.transfers.session import Session
from hlcli.data.transfers.transfer import OnBytes, fetch_file
from hlcli.errors import DataError, DownloadError, HlcliError, InputError
from hlcli.files import whole_file, write_json
from hlcli.progress import Progress

logger = logging.getLogger(__name__)

_MEGABYTE = 1_000_000


class _Fetched(NamedTuple):
    """How many files were there, how many came new, and which are left to be placed by hand."""

    present: int
    new: int
    missing: tuple[str, ...] = ()


def download(name: str, sources: Sequence[Source], folder: Path, options: DownloadOptions) -> DownloadReport:
    """Make a data set's files complete.

    Args:
        name: the data set.
        sources: its published files.
        folder: becomes the official layout.
        options: how.

    Raises:
        DownloadError: when a file cannot be had, naming all of them, or there is no room.
        InputError: when a file placed by hand is not the published one, or an option does not fit.
    """
    with lock_folder(folder), open_session(options) as session:
        fetched = fetch_sources(name, sources, folder, options, session)
    return DownloadReport(name, folder, fetched.present, fetched.new, fetched.missing, None, "file")


@contextmanager
def open_session(options: DownloadOptions) -> Iterator[Session | None]:
    """What requests are sent with; None offline."""
    with nullcontext() if options.offline else Session() as session:
        yield session


def fetch_sources(
    name: str, sources: Sequence[Source], folder: Path, options: DownloadOptions, session: Session | None
) -> _Fetched:
    """Fetch, verify and unpack what is missing, two files at a time; the folder is locked already.

    Raises:
        DownloadError: naming every file that could not be had.
        InputError: when a file placed by hand is not the published one, or an option does not fit.
    """
    wanted = choose(name, sources, options)
    todo = [source for source in wanted if options.overwrite or not is_done(source, folder, options)]
    for source in wanted:
        if source not in todo and is_unverified(source, folder, options):
            logger.warning("%s was fetched without verification; --overwrite fetches it anew.", source.name)
    by_hand = [source for source in todo if not source.urls and find_given(source, folder, options) is None]
    absent = [source for source in by_hand if not is_unpacked_by_hand(source, folder)]
    for source in absent:
        logger.warning("%s cannot be fetched. %s", source.name, source.by_hand)
    todo = [source for source in todo if source not in by_hand]
    _check_space(todo, folder, options)
    total = sum(source.size or 0 for source in todo) // _MEGABYTE or None
    clock = Clock() if session is None else session.clock
    with (
        Progress("Downloading", total=total, unit="MB", enabled=bool(todo)) as bytes_bar,
        Progress("Unpacking", unit="file", enabled=any(source.unpack_to for source in todo)) as files_bar,
        _pool(clock, min(MOST_AT_ONCE, options.jobs)) as pool,
    ):
        job = _Job(folder, options, session, clock, bytes_bar, files_bar)
        errors = [error for error in pool.map(job.complete, todo) if error is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        kind = InputError if any(isinstance(error, InputError) for error in errors) else DownloadError
        raise kind("\n".join(map(str, errors)), "What is complete is kept; run the same command again.")
    names = tuple(source.name for source in absent)
    return _Fetched(len(wanted) - len(todo) - len(absent), len(todo), names)


@contextmanager
def _pool(clock: Clock, jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that end soon when the block is left by an error or an interruption."""
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="archive")
    try:
        yield pool
    except BaseException:
        clock.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _check_space(sources: Sequence[Source], folder: Path, options: DownloadOptions) -> None:
    needed, free = space_needed(sources, folder, options), shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{needed:,} bytes are needed to fetch and unpack {len(sources)} files, but {free:,} are free on the disk "
            f"of {folder}.",
            "Make room, give another --root, or fetch one --part after the other.",
        )


class _Job(NamedTuple):
    """What all files of a run share."""

    folder: Path
    options: DownloadOptions
    session: Session | None
    clock: Clock
    bytes_bar: Progress
    files_bar: Progress

    def complete(self, source: Source) -> HlcliError | None:
        """Fetch, verify, unpack and stamp one file; an error is given back, so that the other files go on."""
        try:
            path = find_given(source, self.folder, self.options)
            if path is None:
                path = self._fetch(source)
            else:
                self._verify_given(source, path)
            self._place(source, path)
        except HlcliError as error:
            return error
        return None

    def _verify_given(self, source: Source, path: Path) -> None:
        if not self.options.verify:
            return
        complaint = complaint_about(path, source.checksum, source.size)
        if complaint is not None:
            raise InputError(
                f"{path}: {complaint}. The file is damaged or not the published one.",
                "Delete it and run the command again, or give --no-verify to use it as it is.",
            )

    def _fetch(self, source: Source) -> Path:
        target = fetched_path(source, self.folder)
        if self.session is None:
            raise DownloadError(
                f"{source.name} is missing, and nothing is fetched offline.",
                f"Put it into {self.folder}, or give its folder with --from DIR.",
            )
        if source.checksum is None:
            logger.warning("%s: no checksum is published; what the server sends is believed.", source.name)
        logger.info("Fetching %s%s.", source.name, f" ({source.size:,} bytes)" if source.size else "")
        mirror = self.options.mirror
        urls = (*((f"{mirror.rstrip('/')}/{source.name}",) if mirror else ()), *source.urls)
        verify = self.options.verify
        fetch_file(
            urls,
            target,
            session=self.session,
            checksum=source.checksum if verify else None,
            size=source.size if verify else None,
            on_bytes=_count_megabytes(self.bytes_bar),
        )
        if source.unpack_to is not None and not is_archive(target):
            target.unlink()
            raise DownloadError(
                f"{source.name}: the server sent something that is not an archive, perhaps a web page.",
                f"Fetch it by hand ({urls[-1]}) and give its folder with --from DIR.",
            )
        return target

    def _place(self, source: Source, path: Path) -> None:
        """Put what a file holds to its final place, and remember it."""
        if source.unpack_to is None:
            target = self.folder / source.name
            if path != target:
                with open(path, "rb") as given, whole_file(target, "wb") as handle:
                    shutil.copyfileobj(given, handle)
            samples: tuple[str, ...] = (source.name,)
        else:
            samples = self._unpack(source, path, self.folder / source.unpack_to)
        checksum = source.checksum.value if source.checksum is not None and self.options.verify else None
        stamp: dict[str, Any] = {"checksum": checksum}
        stamp["samples"] = {sample: (self.folder / sample).stat().st_size for sample in samples}
        write_json(stamp_path(source, self.folder), stamp)
        if path.parent == self.folder / "archives" and not self.options.keep_archives:
            path.unlink()

    def _unpack(self, source: Source, path: Path, target: Path) -> tuple[str, ...]:
        """Unpack an archive; returns some of its files, as paths below the data set's folder."""

        def on_files(count: int) -> None:
            self.clock.check()
            self.files_bar.advance(count)

        logger.info("Unpacking %s.", path)
        try:
            unpacked = unpack(path, target, staging=self.folder / f".{source.name}.unpacking", on_files=on_files)
        except DataError as error:
            if path.parent != self.folder / "archives" or (source.checksum is not None and self.options.verify):
                raise
            path.unlink()  # nothing told that the transfer went well
            raise DownloadError(error.message, "It was removed; run the same command again.") from error
        return tuple((target / sample).relative_to(self.folder).as_posix() for sample in unpacked.samples)


def _count_megabytes(bar: Progress) -> OnBytes:
    """Turns the bytes of one file into steps of a bar that counts megabytes."""
    seen = 0

    def on_bytes(done: int, _: int | None) -> None:
        nonlocal seen
        step = done // _MEGABYTE - seen
        if step:
            bar.advance(step)
            seen += step

    return on_bytes
