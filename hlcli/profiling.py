"""Where the time of a command goes: phases, marked where the work is done, added up while a `Profile` is active."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

if TYPE_CHECKING:
    from torch import nn

Item = TypeVar("Item")

_REST = "rest"
"""What no phase names."""


class PhaseTime(NamedTuple):
    """What a phase took without the phases inside it. `share` is of the whole, in [0, 1]; `times` counts entries."""

    name: str
    seconds: float
    share: float
    times: int


@dataclass
class _Sum:
    seconds: float = 0.0
    times: int = 0


class Profile:
    """Adds up the seconds of the phases that run while it is active; a context manager.

    A phase inside another is named after both (`evaluation/forward`), and its time is not the outer one's. Work of a
    GPU is waited for wherever a phase begins or ends, so that each pays for its own: what is measured runs a little
    slower than without.

    Examples:
        >>> import hlcli
        >>> with hlcli.Profile() as profile:
        ...     metrics = hlcli.evaluate("runs/shapes").metrics
        >>> "forward" in [phase.name for phase in profile.phases()]
        True
    """

    def __init__(self) -> None:
        self._sums: dict[str, _Sum] = defaultdict(_Sum)
        self._open = [_REST]
        self._since = 0.0

    def __enter__(self) -> Self:
        self._token = _active.set(self)
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._settle()
        _active.reset(self._token)

    def phases(self) -> list[PhaseTime]:
        """All phases that took time, the longest first; their shares add up to 1."""
        whole = sum(one.seconds for one in self._sums.values())
        found = [PhaseTime(name, one.seconds, one.seconds / whole, one.times) for name, one in self._sums.items()]
        return sorted(found, key=lambda one: -one.seconds)

    def begin(self, name: str) -> None:
        """Enter a phase."""
        self._settle()
        outer = self._open[-1]
        self._open.append(name if outer == _REST else f"{outer}/{name}")
        self._sums[self._open[-1]].times += 1

    def end(self) -> None:
        """Leave the phase entered last."""
        self._settle()
        self._open.pop()

    def _settle(self) -> None:
        """Give the time since the last change to the phase that ran."""
        _wait_for_gpu()
        now = time.perf_counter()
        self._sums[self._open[-1]].seconds += now - self._since
        self._since = now


_active: ContextVar[Profile | None] = ContextVar("profile", default=None)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Name a part of the work for `Profile`; without one it costs less than a microsecond."""
    profile = _active.get()
    if profile is None:
        yield
        return
    profile.begin(name)
    try:
        yield
    finally:
        profile.end()


def each(items: Iterable[Item], name: str) -> Iterator[Item]:
    """The items; waiting for each is a phase."""
    iterator = iter(items)
    nothing: Any = object()
    while True:
        with phase(name):
            item = next(iterator, nothing)
        if item is nothing:
            return
        yield item


def watch_communication(wrapped: nn.Module) -> None:
    """While a profile is active, let a data-parallel network exchange its gradients in a phase of their own.

    Without one the exchange runs beside the backward pass, as far as it can. The gradients are the same, but for the
    last bits where the number of processes is no power of two. Networks cut by FSDP exchange weights as well, which
    no hook sees.
    """
    from torch.nn.parallel import DistributedDataParallel

    if (profile := _active.get()) is not None and isinstance(wrapped, DistributedDataParallel):
        wrapped.register_comm_hook(profile, _exchange)


def _exchange(profile, bucket):  # type: ignore[no-untyped-def]  # torch refuses types that are text
    """Average a bucket of gradients over all processes, and wait for it."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    profile.begin("communication")
    try:
        future = allreduce_hook(None, bucket)  # type: ignore[arg-type]  # None is the group of all
        future.wait()
    finally:
        profile.end()
    return future


def _wait_for_gpu() -> None:
    torch = sys.modules.get("torch")  # not loaded for this alone
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
