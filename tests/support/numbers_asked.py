"""Which lines of a training step ask the device for a number: on a GPU each would wait for all work before it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hlcli.training import loop

_ASKING = {
    torch.ops.aten._local_scalar_dense.default,  # .item(), bool(), float()
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.nonzero.default,  # and indexing by flags
    torch.ops.aten.masked_select.default,
    torch.ops.aten._unique2.default,
}


class _Watch(TorchDispatchMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _ASKING:
            self.found.append(f"{func} in {_place()}")
        return func(*args, **(kwargs or {}))


def _place() -> str:
    """The line of hlcli that is at work, as `captioning/search.py:124`."""
    own = [frame for frame in traceback.extract_stack() if "/hlcli/" in frame.filename]
    return f"{own[-1].filename.rpartition('/hlcli/')[2]}:{own[-1].lineno}"


def numbers_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on lists what trainings ask for between having a batch and the end of the step's update."""
    found: list[str] = []

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            with _Watch(found), pytest.MonkeyPatch.context() as patch:
                for name in ("tolist", "cpu", "numpy"):
                    patch.setattr(torch.Tensor, name, noted(name))
                return work(*arguments)

        return run

    def noted(name: str) -> Callable[..., Any]:
        plain = getattr(torch.Tensor, name)

        def run(tensor: torch.Tensor, *arguments: Any, **more: Any) -> Any:
            found.append(f"{name} in {_place()}")
            return plain(tensor, *arguments, **more)

        return run

    for name in ("_backward", "_update"):
        monkeypatch.setattr(loop, name, watched(getattr(loop, name)))
    return found
