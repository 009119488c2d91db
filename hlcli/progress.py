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
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TextIO

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
        after: units of the same work that follow this piece, such as the steps of later epochs.
        enabled: False shows nothing at all.
    """

    _screen: ClassVar[RichProgress | None] = None  # shared by displays that run inside each other

    def __init__(
        self,
        title: str,
        *,
        total: int | None = None,
        unit: str = "item",
        start: int = 0,
        after: int = 0,
        enabled: bool = True,
    ) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.count = start
        self._start = start
        self._after = after
        self._enabled = enabled and _is_shown()
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
                self.title, total=self.total, completed=self.count, after=self._after, speed="", notes="", ended=""
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
            self._leave_screen(Progress._screen, stopped=kind is not None)
        elif self._enabled:
            logger.info(self._last_line(stopped=kind is not None))

    def _leave_screen(self, screen: RichProgress, *, stopped: bool) -> None:
        """Keep the outermost bar in sight and say how it ended, take away those inside it."""
        if self._owns_screen and self._bar is not None:
            ended = f"{'stopped after' if stopped else 'in'} {duration(time.monotonic() - self._began)}"
            total = self.count if self.total is None and not stopped else self.total
            screen.update(self._bar, total=total, ended=ended, speed=self._speed())
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
        rate = self._rate()
        return f"{f'{rate:,.0f}' if rate >= 100 else f'{rate:.3g}'} {self.unit}/s"

    def _units(self) -> str:
        """The word for as many units as there are in all; abbreviations such as MB have one form."""
        is_one = (self.count if self.total is None else self.total) == 1
        return self.unit if is_one or self.unit.isupper() else f"{self.unit}s"

    def _line(self) -> str:
        """`Training: 37/100 steps, 4.2 step/s, 0:15 left, loss 0.12`."""
        count = f"{self.count}" if self.total is None else f"{self.count}/{self.total}"
        count += f" {self._units()}"
        parts = [count, self._speed()]
        rate = self._rate()
        if self.total is not None and rate > 0:
            left = max(self.total - self.count, 0)
            whole = f", {duration((left + self._after) / rate)} in all" if self._after else ""
            parts.append(f"{duration(left / rate)} left{whole}")
        return f"{self.title}: {', '.join([*parts, self._notes] if self._notes else parts)}"

    def _last_line(self, *, stopped: bool) -> str:
        """`Training: 100 steps in 0:24, 4.2 step/s, loss 0.12`."""
        of_total = f" of {self.total}" if self.total is not None and self.count != self.total else ""
        words = "stopped after " if stopped else ""
        line = f"{self.title}: {words}{self.count}{of_total} {self._units()} in "
        line += f"{duration(time.monotonic() - self._began)}, {self._speed()}"
        return f"{line}, {self._notes}" if self._notes else line


def duration(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _is_shown() -> bool:
    """Whether messages of level INFO are, and this is the first process."""
    return logger.isEnabledFor(logging.INFO) and os.environ.get("RANK", "0") == "0"


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """Say on a terminal what a silent stretch is spent on, such as `Loading`; the words go away when anything else is
    written to stderr, or with the block. What is written to stdout must wait until then.

    Args:
        title: what is being done.
    """
    if Progress._screen is not None or not (_is_shown() and _on_terminal()):
        yield
        return
    words = _WaitingWords(sys.stderr, f"{title} …")
    sys.stderr = words  # type: ignore[assignment]
    try:
        yield
    finally:
        words.remove()


class _WaitingWords:
    """Stands for stderr while words wait there; what is written takes their place."""

    def __init__(self, stream: TextIO, words: str) -> None:
        self._stream, self._are_there = stream, True
        stream.write(words)
        stream.flush()

    def write(self, text: str) -> int:
        self.remove()
        return self._stream.write(text)

    def remove(self) -> None:
        """Take the words away, and give stderr back."""
        if self._are_there:
            self._are_there = False
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
        if sys.stderr is self:  # type: ignore[comparison-overlap]
            sys.stderr = self._stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_line(text: str) -> None:
    """Write a line of results to stdout: above the bar if there is one and both are on the terminal."""
    if Progress._screen is not None and sys.stdout.isatty():
        from rich.text import Text

        Progress._screen.console.print(Text(text), soft_wrap=True)
    else:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _rich_screen() -> RichProgress:
    """Title, bar, count, rate, time, notes; where there is little room, bar and notes give way and nothing else."""
    from rich import progress
    from rich.console import Console, RenderableType
    from rich.table import Column
    from rich.text import Text

    class Bar(progress.ProgressColumn):
        """Leaves its room to the notes when the work is over."""

        _bar = progress.BarColumn(bar_width=24)

        def render(self, task: progress.Task) -> RenderableType:
            return Text() if task.fields["ended"] and task.fields["notes"] else self._bar.render(task)

    class Clock(progress.ProgressColumn):
        """Time left of this piece and of all; what it took when it is done."""

        def render(self, task: progress.Task) -> Text:
            if task.fields["ended"] or task.time_remaining is None or not task.speed:
                return Text(task.fields["ended"] or duration(task.elapsed or 0))
            after = task.fields["after"] / task.speed
            whole = f", {duration(task.time_remaining + after)} in all" if after else ""
            return Text(f"{duration(task.time_remaining)} left{whole}")

    class Notes(progress.ProgressColumn):
        """As much as there is room for."""

        def render(self, task: progress.Task) -> Text:
            return Text(task.fields["notes"], no_wrap=True, overflow="ellipsis")

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        Bar(table_column=Column(no_wrap=False)),
        progress.MofNCompleteColumn(table_column=Column(no_wrap=True)),
        progress.TextColumn("{task.fields[speed]}"),
        Clock(table_column=Column(no_wrap=True)),
        Notes(table_column=Column(no_wrap=False)),
        console=Console(stderr=True),
        redirect_stdout=False,  # results go where they were sent; print_line writes them above the bar
    )


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
