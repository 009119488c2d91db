"""Locks that keep two processes out of each other's files; they end with their process, however that ends."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
        opened = open(folder / name, "a", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise HlcliError(f"{folder} cannot be written: {error.strerror or error}.", "Give another --root.") from error
    with opened as handle:
        _lock(handle, folder, doing)
        _held.add(handle)
        try:
            yield
        finally:
            _held.discard(handle)


def _lock(handle: IO[str], folder: Path, doing: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        logger.debug("%s is not locked: this system has no flock.", folder)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise HlcliError(f"Another hlcli is {doing} {folder}.", "Wait until it is done.") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s is on a file system without locks: do not start two commands at once in it.", folder)
