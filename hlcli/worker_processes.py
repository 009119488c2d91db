"""Processes that share the work of one command: they leave interrupts to their parent, and end with it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

_LOOK_SECONDS = 0.5
"""How often a process looks whether its parent is still there."""


@contextmanager
def worker_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes; when the block is left by an error, they finish what they are at and begin nothing more."""
    pool = ProcessPoolExecutor(count, initializer=_begin, initargs=(os.getpid(),))
    try:
        yield pool
    finally:
        with _ignored_interrupts():
            pool.shutdown(cancel_futures=True)


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Let Ctrl-C do nothing within the block: for the end of a work that is being interrupted already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(os, "fork"):  # elsewhere the number of the parent stays when it ends
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent, whatever it is at: nobody else would."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)
