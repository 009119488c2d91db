"""Locks that keep two processes out of each other's files; they end with their process, however that ends."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from hlcli.errors import HlcliError

logger = logging.getLogger(__name__)

_held: set[IO[str]] = set()
"""Open lock files. A process that is forked off inherits what is open: it would hold the lock for its parent."""


def _let_go() -> None:
    while _held:
        _held.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)
"""What file systems without locks answer."""


@contextmanager
def lock_folder(folder: Path, doing: str = "downloading into", *, name: str = ".lock") -> Iterator[None]:
    """Hold a folder, which is made if need be, for this process.

    Args:
        folder: what is held.
        doing: what the other process is doing to it, for the message.
        name: of the lock's file in the folder; other names are other locks.

    Raises:
        HlcliError: when another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open_locked(folder / name)
    except OSError as error:
        raise HlcliError(f"{folder} cannot be written: {error.strerror or error}.", "Give another --root.") from error
    if handle is None:
        raise HlcliError(f"Another hlcli is {doing} {folder}.", "Wait until it is done.")
    try:
        yield
    finally:
        unlock(handle)


def open_locked(path: Path) -> IO[str] | None:
    """Open a file to write at its end, which is made if need be, and lock it until `unlock` or this process ends.

    Returns:
        None when another process has it.

    Raises:
        OSError: when the file cannot be written.
    """
    handle = open(path, "a", encoding="utf-8")  # noqa: SIM115 - held open on purpose
    try:
        is_ours = _try(handle)
    except OSError:
        handle.close()
        raise
    if not is_ours:
        handle.close()
        return None
    _held.add(handle)
    return handle


def unlock(handle: IO[str]) -> None:
    """Let others in to what `open_locked` gave."""
    _held.discard(handle)
    handle.close()


def take(path: Path) -> IO[str] | None:
    """Lock a file, which is made if need be, until `give_back` removes it or this process ends.

    Returns:
        What `give_back` wants; None when another process has it.

    Raises:
        OSError: when the file cannot be written.
    """
    while (handle := open_locked(path)) is not None:
        if _is_still(handle, path):
            return handle
        unlock(handle)  # it was removed by who had it before, meanwhile: the next to come would make another one
    return None


def give_back(handle: IO[str], path: Path) -> None:
    """Remove a file that `take` locked, and let others in."""
    try:
        path.unlink(missing_ok=True)
    finally:
        unlock(handle)


def _is_still(handle: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _try(handle: IO[str]) -> bool:
    """Lock an open file, where there are locks; False when another process has it.

    Raises:
        OSError: when the disk fails.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        logger.debug("%s is not locked: this system has no flock.", handle.name)
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _warn_of_no_locks(Path(handle.name).parent)
    return True


@cache
def _warn_of_no_locks(place: Path) -> None:
    """Said once: models are locked whenever one is written."""
    logger.warning("%s is on a file system without locks: do not start two commands at once in it.", place)
