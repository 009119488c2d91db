"""Two processes of this program that know each other, forked from the test: no start of Python to wait for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from torch.multiprocessing import start_processes


def in_two_processes(work: Callable[..., None], *arguments: Any, **environment: str) -> None:
    """Call a function in both, on the CPU; an error in one of them is raised here.

    Args:
        work: called with the arguments.
        arguments: of the function.
        environment: variables that a launcher would set besides.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_start, (work, arguments, port, environment), nprocs=2, start_method="fork")


def _start(
    rank: int, work: Callable[..., None], arguments: tuple[Any, ...], port: int, environment: dict[str, str]
) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # of trainings that the test's own process made before
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port), ACCELERATE_USE_CPU="true", **environment,
    )  # fmt: skip
    work(*arguments)
