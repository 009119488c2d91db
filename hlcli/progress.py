"""The one progress display: a bar on a terminal, a line now and then in a log file, nothing when asked to be quiet.

It shows whenever messages of level INFO do: `--quiet` and all processes but the first one raise that level, and a
program that only imports hlcli sees nothing until it sets up logging itself.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

logger = logging.getLogger(__name__)

_PLAIN_SECONDS = 30.0
"""Shortest time between two lines where there is no terminal."""


class Progress:
    """How far a piece of work is, how fast it goes and when it will be done; a context manager.

    Args:
        title: what is being done, e.g. `Training`.
        total: how many units there are in all; None when nobody knows.
        unit: one of them, in the singular: `step`, `image`.
        start: units that were done before, by a run that is now resumed; they do not count for the rate.
        enabled: False shows nothing at all.
    """

    _screen: ClassVar[RichProgress | None] = None  # shared by displays that run inside each other

    def __init__(
        self, title: str, *, total: int | None = None, unit: str = "item", start: int = 0, enabled: bool = True
    ) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.count = start
        self._start = start
        self._enabled = enabled and logger.isEnabledFor(logging.INFO) and os.environ.get("RANK", "0") == "0"
        self._notes = ""
        self._bar: TaskID | None = None
        self._owns_screen = False
        self._lock = threading.Lock()
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        self._began = self._spoke = time.monotonic()
        if self._enabled and _on_terminal():
            if Progress._screen is None:
                Progress._screen = _rich_screen()
                Progress._screen.start()
                self._owns_screen = True
            self._bar = Progress._screen.add_task(
                self.title, total=self.total, completed=self.count, speed="", notes=""
            )
        return self

    def advance(self, units: int = 1) -> None:
        """Count units as done; may be called from several threads."""
        with self._lock:
            self.count += units
        if self._bar is not None and Progress._screen is not None:
            Progress._screen.update(self._bar, completed=self.count, speed=self._speed())
        elif self._enabled and time.monotonic() - self._spoke >= _PLAIN_SECONDS:
            self._spoke = time.monotonic()
            logger.info(self._line())

    def note(self, **values: float | int | str) -> None:
        """Show values beside the count, e.g. `note(loss=0.12)`; they replace the ones before."""
        self._notes = " ".join(f"{name} {_short(value)}" for name, value in values.items())
        if self._bar is not None and Progress._screen is not None:
            Progress._screen.update(self._bar, notes=self._notes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None and Progress._screen is not None:
            self._leave_screen(Progress._screen)
        elif self._enabled:
            logger.info(self._last_line(stopped=kind is not None))

    def _leave_screen(self, screen: RichProgress) -> None:
        """Keep the outermost bar in sight, take away those inside it."""
        if self._owns_screen:
            screen.stop()
            Progress._screen = None
        elif self._bar is not None:
            screen.remove_task(self._bar)
        self._bar = None

    def _rate(self) -> float:
        """Units per second since this display began."""
        seconds = time.monotonic() - self._began
        return (self.count - self._start) / seconds if seconds > 0 else 0.0

    def _speed(self) -> str:
        return f"{_short(self._rate())} {self.unit}/s"

    def _line(self) -> str:
        """`Training: 37/100 steps, 4.2 step/s, 0:15 left, loss 0.12`."""
        count = f"{self.count} {self.unit}s" if self.total is None else f"{self.count}/{self.total} {self.unit}s"
        parts = [count, self._speed()]
        rate = self._rate()
        if self.total is not None and rate > 0:
            parts.append(f"{duration(max(self.total - self.count, 0) / rate)} left")
        return f"{self.title}: {', '.join([*parts, self._notes] if self._notes else parts)}"

    def _last_line(self, *, stopped: bool) -> str:
        """`Training: 100 steps in 0:24, 4.2 step/s, loss 0.12`."""
        of_total = f" of {self.total}" if self.total is not None and self.count != self.total else ""
        words = "stopped after " if stopped else ""
        line = f"{self.title}: {words}{self.count}{of_total} {self.unit}s in "
        line += f"{duration(time.monotonic() - self._began)}, {self._speed()}"
        return f"{line}, {self._notes}" if self._notes else line


def duration(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _rich_screen() -> RichProgress:
    """Title, bar, count, rate, time gone, time left, notes."""
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=24),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[speed]}"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[notes]}"),
        console=Console(stderr=True),
    )


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
