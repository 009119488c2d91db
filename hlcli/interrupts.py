"""Ctrl-C, SIGTERM and SIGUSR1 as a flag that the loop looks at between two steps."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self

_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
"""What asks for a stop; job schedulers send one of the last two before the time is up."""


def leave_to_parent(worker: int) -> None:
    """In a loader process, leave the first signal to the parent, which needs one more batch: job schedulers send it to
    all processes of a job. A second one acts."""
    for number in _NUMBERS:
        signal.signal(number, _act_next_time)


def _act_next_time(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)


class Interrupts:
    """While active, the first signal only asks for a stop; a second one acts at once, as usual."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in _NUMBERS:
            try:
                self._previous[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: signals are somebody else's business
                return self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous = {}
