"""Results that are kept for as long as nothing has changed from which they were computed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class _Result(NamedTuple):
    sources: Sequence[Tensor]  # held, so that no other tensor takes the place of one
    stamp: Hashable
    value: Tensor


class Remembered:
    """The last result of a computation.

    It is good while its sources are the same tensors, unchanged in place, on the same device and in the same
    precision. One caller's duty remains: fused optimisers, and whoever writes to `.data`, change weights without a
    trace, so `forget` then. Nothing is remembered of inference tensors, which keep no count of changes, nor while torch
    compiles or exports; a copy of a network, or a saved one, has no results in it.
    """

    def __init__(self) -> None:
        self._last: _Result | None = None  # replaced as a whole, so that threads never see half of it

    def get(self, sources: Sequence[Tensor], compute: Callable[[], Tensor], circumstances: Hashable = None) -> Tensor:
        """The result, computed if need be; threads that need it at the same time may each compute it.

        Args:
            sources: all tensors that it depends on.
            compute: makes it.
            circumstances: what else it depends on.
        """
        if torch.compiler.is_compiling() or any(source.is_inference() for source in sources):
            return compute()
        stamp = (
            circumstances,
            *((id(source), source.data_ptr(), source._version, source.device, source.dtype) for source in sources),
        )
        last = self._last
        if last is None or stamp != last.stamp:
            last = self._last = _Result(tuple(sources), stamp, compute())
        return last.value

    def forget(self) -> None:
        """Compute anew next time."""
        self._last = None

    def __getstate__(self) -> dict[str, object]:
        """What copies and files get: an empty memory."""
        return Remembered().__dict__


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """What mixed precision computes in on that device; None when it is off."""
    if not torch.amp.is_autocast_available(device.type) or not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)
