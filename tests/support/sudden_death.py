"""Ways for a process to end, or to be asked to end, in the middle of things; called in that process, beforehand."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _replace(where: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put something in the place of `module:name` or `module:Class.name`, also where our modules imported it before."""
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *owners, name = path.split(".")
    for part in owners:
        owner = getattr(owner, part)
    former = getattr(owner, name)
    new = make(former)
    setattr(owner, name, new)
    for other in [other for key, other in sys.modules.items() if key.startswith("hlcli.") and not owners]:
        if vars(other).get(name) is former:
            setattr(other, name, new)


def _at_call(number: int, act: Callable[..., None]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What acts before the call of that number, counted from 1; it is given the function and the call's arguments."""

    def make(real: Callable[..., Any]) -> Callable[..., Any]:
        count = 0

        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                act(real, *arguments)
            return real(*arguments, **options)

        return counted

    return make


def die_at(where: str, number: int) -> None:
    """End by SIGKILL before that call of a function."""
    place, half = _HALVES.get(where, (where, None))

    def act(*call: Any) -> None:
        if half is not None:
            half(*call)
        _die()

    _replace(place, _at_call(number, act))


def ask_at(where: str, number: int, *, times: int = 1, gap: float = 0.0, wait: float = 60.0) -> None:
    """At that call of a function be sent SIGTERM, perhaps several times, then wait; who waits to the end says so."""

    def act(*_: Any) -> None:
        for turn in range(times):
            time.sleep(gap if turn else 0.0)
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(wait)
        if wait:
            sys.stderr.write("nobody was stopped\n")

    _replace(where, _at_call(number, act))


def _half_checkpoint(real: Callable[..., Any], content: Any, handle: Any) -> None:
    whole = io.BytesIO()
    real(content, whole)
    handle.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    handle.flush()


def _half_model(real: Callable[..., Any], state: Any, path: Any) -> None:
    real(state, path)
    os.truncate(path, os.path.getsize(path) // 2)


def _half_line(real: Callable[..., Any], run: Any, event: Any) -> None:
    real(run, event)
    os.truncate(run.metrics_file, os.path.getsize(run.metrics_file) - 9)


_HALVES: dict[str, tuple[str, Callable[..., None]]] = {
    "half a checkpoint": ("torch:save", _half_checkpoint),
    "half a model": ("hlcli.models.folder:save_file", _half_model),
    "half a line": ("hlcli.runs:Run.log_event", _half_line),
}
