"""How long transfers wait, how often they try again, and how politely they treat a host."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from hlcli.errors import DownloadError


@dataclass(frozen=True)
class Patience:
    """Numbers of the retry policy.

    Args:
        tries: failures in a row, without progress between them, after which a URL is given up.
        first_wait_seconds: upper bound of the first wait; it doubles with every further failure.
        longest_wait_seconds: where the doubling ends.
        connect_seconds: time-out for connecting.
        read_seconds: time-out for one read.
        stall_seconds: a transfer that brings fewer than `stall_bytes` in this time is broken off.
        stall_bytes: see `stall_seconds`.
        busy_seconds: pause of a host that says it is busy without saying for how long.
        busy_budget_seconds: a host that wants more pause than this, without one success between, is given up.
    """

    tries: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    stall_seconds: float = 60.0
    stall_bytes: int = 4096
    busy_seconds: float = 60.0
    busy_budget_seconds: float = 900.0

    def wait_seconds(self, failures: int) -> float:
        """A random wait after that many failures in a row: exponential back-off with full jitter."""
        return random.uniform(0, min(self.longest_wait_seconds, self.first_wait_seconds * 2 ** (failures - 1)))


class Stopped(Exception):
    """The transfer was asked to end before it was done."""


class HostUnavailable(DownloadError):
    """A host keeps sending us away, or does not answer at all."""


_DOUBTFUL_AFTER = 3
"""URLs of a host given up in a row, after which each further one is tried only once."""

_UNAVAILABLE_AFTER = 10
"""URLs of a host given up in a row, after which nothing more is tried."""


class Clock:
    """Time as transfers see it; `stop` ends every wait at once, in all threads."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Stopped: when `stop` was called.
        """
        if self._stopped.wait(seconds):
            raise Stopped

    def check(self) -> None:
        """Raise `Stopped` when `stop` was called."""
        if self._stopped.is_set():
            raise Stopped

    def stop(self) -> None:
        """End all waits, now and later."""
        self._stopped.set()


@contextmanager
def worker_threads(clock: Clock, jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that end soon when the block is left by an error or an interruption."""
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="fetch")
    try:
        yield pool
    except BaseException:
        clock.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass
class _Host:
    places: threading.Semaphore
    next_turn: float = 0.0
    paused_until: float = 0.0
    paused_seconds: float = 0.0
    paused_for: set[str] = field(default_factory=set)
    given_up: int = 0
    answers: int = 0


class HostGate:
    """Lets requests through to each host: only so many at a time, only so many a second, none while it is paused.

    Args:
        clock: the time.
        per_host: most requests to one host at the same time.
        per_second: most new requests to one host in a second.
        budget_seconds: longest pause that is accepted without one success between.
    """

    def __init__(
        self, clock: Clock, *, per_host: int = 8, per_second: float = 10.0, budget_seconds: float = 900.0
    ) -> None:
        self._clock = clock
        self._spacing = 1.0 / per_second
        self._budget = budget_seconds
        self._lock = threading.RLock()
        self._hosts: defaultdict[str, _Host] = defaultdict(lambda: _Host(threading.Semaphore(per_host)))

    @contextmanager
    def slot(self, url: str) -> Iterator[None]:
        """Hold a place at the URL's host, after waiting for a turn."""
        host = self._host(url)
        with host.places:
            while (wait := self._take_turn(host)) > 0:
                self._clock.sleep(wait)
            self._clock.check()
            yield

    def pause(self, url: str, seconds: float, asked_url: str | None = None) -> None:
        """Send nothing more to the URL's host for a while.

        Args:
            url: an address of the host.
            seconds: how long.
            asked_url: what was asked for when the host said so; by default `url` itself.

        Raises:
            HostUnavailable: when the host asks for more patience than there is.
        """
        host, now = self._host(url), self._clock.now()
        with self._lock:
            host.paused_for.add(asked_url or url)
            longer = now + seconds - max(host.paused_until, now)
            if longer > 0:
                host.paused_seconds += longer
                host.paused_until = now + seconds
            if host.paused_seconds > self._budget:
                raise HostUnavailable(
                    f"{_host_name(url)} is busy and asks to wait {host.paused_seconds:,.0f} s.",
                    "What was fetched is kept: run the same command again later, perhaps with fewer --jobs.",
                )

    def is_paused_for(self, url: str, asked_url: str) -> bool:
        """Whether the URL's host was busy for this one request alone since it last answered anything."""
        with self._lock:
            return self._host(url).paused_for == {asked_url}

    def answered(self, url: str) -> None:
        """The host has answered: its budget of pauses is full again."""
        with self._lock:
            host = self._host(url)
            host.paused_seconds = 0.0
            host.paused_for.clear()
            host.answers += 1

    def num_answers(self, url: str) -> int:
        """How often the URL's host has answered so far."""
        return self._host(url).answers

    def succeeded(self, url: str) -> None:
        """What was asked for is settled: earlier failures of the host are forgotten."""
        self._host(url).given_up = 0

    def is_doubtful(self, url: str) -> bool:
        """Whether the last few URLs of this host all had to be given up."""
        return self._host(url).given_up >= _DOUBTFUL_AFTER

    def gave_up(self, url: str, reason: str) -> None:
        """Count a URL that was given up.

        Raises:
            HostUnavailable: when it is one of many in a row.
        """
        with self._lock:
            host = self._host(url)
            host.given_up += 1
            if host.given_up >= _UNAVAILABLE_AFTER:
                raise HostUnavailable(
                    f"{_host_name(url)} failed on {host.given_up} addresses in a row; the last time: {reason}.",
                    "Check the network (proxies: HTTPS_PROXY, NO_PROXY) and run the same command again; "
                    "what was fetched is kept.",
                )

    def _host(self, url: str) -> _Host:
        with self._lock:
            return self._hosts[_host_name(url)]

    def _take_turn(self, host: _Host) -> float:
        """Take the next turn if it is due and return 0, else return the seconds until then."""
        with self._lock:
            now = self._clock.now()
            due = max(host.next_turn, host.paused_until)
            if due > now:
                return due - now
            host.next_turn = now + self._spacing
            return 0.0


def _host_name(url: str) -> str:
    """Host and port; of what is no address, all of it."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return url


def retry_after_seconds(value: str | None, date: str | None = None) -> float | None:
    """The wait a `Retry-After` header asks for, at least one second; None when it says nothing readable.

    Args:
        value: the header: seconds, or an HTTP date.
        date: the `Date` header of the same answer, so that a wrong clock on either side does no harm.
    """
    if value is None:
        return None
    if value.strip().isdecimal():
        return max(1.0, float(value))
    try:
        then = parsedate_to_datetime(value)
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        return max(1.0, (then - now).total_seconds())
    except (TypeError, ValueError):  # not a date, or one with and one without a time zone
        return None
