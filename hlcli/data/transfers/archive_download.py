"""From a list of published files to the official layout: fetched, verified, unpacked.

Below the data set's folder, `archives/` holds archives until they are unpacked, and `.fetched/` one small file for
everything that is done, so that a second run asks nobody and hashes nothing.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
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
    partial_bytes,
    space_needed,
    stamp_path,
)
from hlcli.data.transfers.archives import UnpackingBar, is_archive, unpack
from hlcli.data.transfers.checksums import complaint_about
from hlcli.data.transfers.patience import Clock, worker_threads
from hlcli.data.transfers.session import Session
from hlcli.data.transfers.transfer import OnBytes, fetch_file
from hlcli.data.transfers.verification import find_changed, find_damaged, member_list, sum_before_damage
from hlcli.errors import DataError, DownloadError, HlcliError, InputError
from hlcli.files import free_bytes, sha256_of, whole_file, write_json
from hlcli.locks import lock_folder
from hlcli.plain_text import counted
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
    with open_session(options) as session, hold_folder(folder, options):
        fetched = fetch_sources(name, sources, folder, options, session)
    return DownloadReport(name, folder, fetched.present, fetched.new, fetched.missing, None, "file")


@contextmanager
def open_session(options: DownloadOptions) -> Iterator[Session | None]:
    """What requests are sent with; None offline.

    Raises:
        InputError: when the mirror is no address.
    """
    if options.mirror is not None and not options.mirror.lower().startswith(("https://", "http://")):
        raise InputError(f"--mirror {options.mirror}: an address was expected that begins with https:// or http://.")
    with nullcontext() if options.offline else Session(proxy=options.proxy) as session:
        yield session


def hold_folder(folder: Path, options: DownloadOptions) -> AbstractContextManager[None]:
    """Lock a data set's folder, which is made if need be; not where nothing can come into it."""
    given = options.source or options.annotations or options.crawl
    return nullcontext() if options.offline and not given and not folder.exists() else lock_folder(folder)


def fetch_sources(
    name: str, sources: Sequence[Source], folder: Path, options: DownloadOptions, session: Session | None
) -> _Fetched:
    """Fetch, verify and unpack what is missing, two files at a time; the folder is locked already.

    Raises:
        DownloadError: naming every file that could not be had.
        InputError: when a file placed by hand is not the published one, or an option does not fit.
    """
    wanted = choose(name, sources, options)
    damaged = find_damaged(wanted, folder) if options.verify_again else []
    changed = find_changed(wanted, folder) if options.verify_again else []
    todo = [one for one in wanted if options.overwrite or one in damaged or not is_done(one, folder, options)]
    by_hand = [one for one in todo if not one.urls and (one in damaged or find_given(one, folder, options) is None)]
    absent = [source for source in by_hand if source in changed or not is_unpacked_by_hand(source, folder)]
    for source in absent:
        logger.warning("%s cannot be fetched. %s", source.name, source.by_hand)
    todo = [source for source in todo if source not in by_hand]
    _check_space(todo, folder, options)
    total = sum(_megabytes(source) or 0 for source in todo) or None
    have = sum(partial_bytes(source, folder) // _MEGABYTE for source in todo)
    clock = Clock() if session is None else session.clock
    shows = bool(todo) and session is not None
    with (
        Progress("Downloading", total=total, unit="MB", start=have, enabled=shows) as bytes_bar,
        ExitStack() as stack,
        worker_threads(clock, min(MOST_AT_ONCE, options.jobs)) as pool,
    ):
        job = _Job(folder, options, damaged, session, clock, bytes_bar, UnpackingBar(stack))
        errors = {one.name: error for one, error in zip(todo, pool.map(job.complete, todo), strict=True) if error}
    _raise_all([errors[source.name] for source in todo if source.is_needed and source.name in errors])
    for error in errors.values():
        logger.warning("%s The download goes on without it.", error.message)
    names = tuple(source.name for source in absent)
    return _Fetched(len(wanted) - len(todo) - len(absent), len(todo) - len(errors), names)


def _raise_all(errors: Sequence[HlcliError]) -> None:
    """Raise one error for all; nothing where there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        kind = InputError if any(isinstance(error, InputError) for error in errors) else DownloadError
        raise kind("\n".join(map(str, errors)), "What is complete is kept; run the same command again.")


def _check_space(sources: Sequence[Source], folder: Path, options: DownloadOptions) -> None:
    needed, free = space_needed(sources, folder, options), free_bytes(folder)
    if needed <= free:
        return
    message = (
        f"{needed:,} bytes are needed to fetch and unpack {counted(len(sources), 'file')}, but {free:,} are free on "
        f"the disk of {folder}."
    )
    if not options.force:
        hint = "Make room, give another --root, fetch one --part after the other, or go on with --force."
        raise DownloadError(message, hint)
    logger.warning("%s Going on all the same (--force).", message)


class _Job(NamedTuple):
    """What all files of a run share."""

    folder: Path
    options: DownloadOptions
    damaged: Sequence[Source]
    session: Session | None
    clock: Clock
    bytes_bar: Progress
    unpacking_bar: UnpackingBar

    def complete(self, source: Source) -> HlcliError | None:
        """Fetch, verify, unpack and stamp one file; an error is given back, so that the other files go on."""
        try:
            options = replace(self.options, overwrite=True) if source in self.damaged else self.options
            path = find_given(source, self.folder, options)
            if path is None:
                path = self._fetch(source)
            else:
                self._verify_given(source, path)
            self._place(source, path)
        except HlcliError as error:
            return error
        except OSError as error:
            place, reason = error.filename or source.name, error.strerror or error
            return HlcliError(f"{place} cannot be read or written: {reason}.")
        return None

    def _verify_given(self, source: Source, path: Path) -> None:
        if not self.options.verify:
            return
        is_own = path == fetched_path(source, self.folder)
        checksum = source.checksum or (sum_before_damage(source, self.folder) if is_own else None)
        complaint = complaint_about(path, checksum, source.size)
        if complaint is not None:
            raise InputError(
                f"{path}: {complaint}. The file is damaged or not the published one.",
                "Delete it and run the command again, or give --no-verify to use it as it is.",
            )

    def _fetch(self, source: Source) -> Path:
        target = fetched_path(source, self.folder)
        if self.session is None:
            place = self.folder / source.name
            state = "damaged" if source in self.damaged else "missing"
            raise DownloadError(f"{place} is {state}, and nothing is fetched offline.", self._by_hand(source))
        if source.checksum is None:
            logger.warning("%s: no checksum is published; what the server sends is believed.", source.name)
        logger.info("Fetching %s%s.", source.name, f" ({source.size:,} bytes)" if source.size else "")
        mirror = self.options.mirror
        urls = (*((f"{mirror.rstrip('/')}/{source.name}",) if mirror else ()), *source.urls)
        verify = self.options.verify
        total, have = _megabytes(source), partial_bytes(source, self.folder)
        shows = bool(total) and total != self.bytes_bar.total  # not where this file is all there is
        try:
            with Progress(source.name, total=total, unit="MB", start=have // _MEGABYTE, enabled=shows) as bar:
                fetch_file(
                    urls,
                    target,
                    session=self.session,
                    checksum=source.checksum if verify else None,
                    size=source.size if verify else None,
                    on_bytes=_count_megabytes(have, self.bytes_bar, bar),
                )
        except DownloadError as error:
            hint = error.hint if isinstance(error.__cause__, OSError) else self._by_hand(source)
            raise DownloadError(error.message, hint) from error
        if source.unpack_to is not None and not is_archive(target):
            target.unlink()
            raise DownloadError(
                f"{source.name}: the server sent something that is not an archive, perhaps a web page.",
                f"Fetch it by hand ({urls[-1]}) and give its folder with --from DIR.",
            )
        return target

    def _by_hand(self, source: Source) -> str:
        """What the user can do about a file that we cannot get."""
        words = f"Put it into {self.folder}, or give its folder with --from DIR."
        return words if source.by_hand is None else f"{source.by_hand} {words}"

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
        stamp: dict[str, Any] = {"checksum": checksum, "sha256": self._own_sum(source, path)}
        stamp["samples"] = {sample: (self.folder / sample).stat().st_size for sample in samples}
        write_json(stamp_path(source, self.folder), stamp)
        if path.parent == self.folder / "archives" and not self.options.keep_archives:
            path.unlink()

    def _own_sum(self, source: Source, path: Path) -> str | None:
        """The sum of a file that stays and has no published one, to compare it with later."""
        stays = source.unpack_to is None or (self.options.keep_archives and path.parent == self.folder / "archives")
        return sha256_of(path) if stays and source.checksum is None else None

    def _unpack(self, source: Source, path: Path, target: Path) -> tuple[str, ...]:
        """Unpack an archive; returns some of its files, as paths below the data set's folder."""

        def on_files(count: int) -> None:
            self.clock.check()
            bar.advance(count)

        logger.info("Unpacking %s.", path)
        bar, staging = self.unpacking_bar.begin(), self.folder / f".{source.name}.unpacking"
        try:
            with member_list(source, self.folder) as on_member:
                unpacked = unpack(path, target, staging=staging, on_files=on_files, on_member=on_member)
        except DataError as error:
            if path.parent != self.folder / "archives" or (source.checksum is not None and self.options.verify):
                raise
            path.unlink()  # nothing told that the transfer went well
            raise DownloadError(error.message, "It was removed; run the same command again.") from error
        return tuple((target / sample).relative_to(self.folder).as_posix() for sample in unpacked.samples)


def _megabytes(source: Source) -> int | None:
    return None if source.size is None else source.size // _MEGABYTE


def _count_megabytes(have: int, *bars: Progress) -> OnBytes:
    """Turns the bytes of one file, of which some are there already, into steps of bars that count megabytes."""
    seen = have // _MEGABYTE

    def on_bytes(done: int, _: int | None) -> None:
        nonlocal seen
        step = done // _MEGABYTE - seen
        if step:
            for bar in bars:
                bar.advance(step)
            seen += step

    return on_bytes
