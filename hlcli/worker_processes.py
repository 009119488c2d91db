"""Processes that share the work of one command: they leave interrupts to their parent, and end with it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from hlcli.errors import LostProcessError
from hlcli.interrupts import STOPS

_LOOK_SECONDS = 0.5
"""How often a process looks whether its parent is still there."""


@contextmanager
def worker_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes; when the block is left by an error, they finish what they are at and begin nothing more.

    Raises:
        LostProcessError: when one of them ends before its work does.
    """
    pool = ProcessPoolExecutor(count, initializer=_begin, initargs=(os.getpid(),))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise LostProcessError(
            "A process that loads images has died: there is no memory left, or a damaged image or disk is at fault.",
            "Give fewer --workers; --workers 1 takes the least memory.",
        ) from error
    finally:
        with _ignored_stops():
            pool.shutdown(cancel_futures=True)


@contextmanager
def _ignored_stops() -> Iterator[None]:
    """Let Ctrl-C and its like do nothing within the block: for the end of a work that is being stopped already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _begin(parent: int) -> None:
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    if hasattr(os, "fork"):  # elsewhere the number of the parent stays when it ends
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent, whatever it is at: nobody else would."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)
