"""Ctrl-C, SIGTERM and SIGUSR1: a flag that is looked at where work can be saved; at once where none would be lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
"""What asks for a stop: Ctrl-C, and the others, one of which job schedulers send before the time is up."""

_SAME_SECONDS = 1.0
"""Signals so soon after another are the same wish: launchers hand on what the terminal has sent to all already."""


def leave_to_parent(worker: int) -> None:
    """In a loader process, leave all signals to the parent, which may need more batches: job schedulers and terminals
    send them to all processes of a job. The process ends with its parent, which kills it where it must."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


class Interrupts:
    """While active, the first signal only asks for a stop, but acts within a block of `at_once`. A second one acts
    wherever it comes, a third one as usual; those that follow within a second count as one."""

    def __init__(self) -> None:
        self.requested = False
        self.is_urgent = False  # asked for twice: what was not saved by then is lost
        self._asked_at = 0.0
        self._acts_at_once = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in STOPS:
            try:
                self._previous[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: signals are somebody else's business
                return self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A block without anything that is worth saving: a stop that was or is asked for ends it.

        Raises:
            KeyboardInterrupt: when it is.
        """
        before, self._acts_at_once = self._acts_at_once, True
        try:
            self.check()
            yield
            self.check()  # one that a library swallowed
        finally:
            self._acts_at_once = before

    def check(self) -> None:
        """Raises KeyboardInterrupt when a stop was asked for."""
        if self.requested:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested and now - self._asked_at < _SAME_SECONDS:
            return
        self._asked_at = now
        if self.requested:
            self.is_urgent = True
            self._restore()
        self.requested = True
        if self.is_urgent or self._acts_at_once:
            raise KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous = {}
