"""Processes of this program that know each other, forked from the test: no start of Python to wait for."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from programs import group_variables
from torch.multiprocessing import start_processes

# The first backward pass of a process starts a thread per device, and a process with such threads cannot be forked.
# There is none yet when tests are collected; some of them load libraries that announce devices which are not there.
torch.ones((), requires_grad=True).backward()


def in_two_processes(work: Callable[..., None], *arguments: Any, **environment: str) -> None:
    """Call a function in both, on the CPU; an error in one of them is raised here.

    Args:
        work: called with the arguments.
        arguments: of the function.
        environment: variables that a launcher would set besides.
    """
    in_processes(2, work, *arguments, **environment)


def in_processes(count: int, work: Callable[..., None], *arguments: Any, **environment: str) -> None:
    """Call a function in so many; see `in_two_processes`."""
    variables = [told | environment for told in group_variables(count)]
    start_processes(_start, (work, arguments, variables), nprocs=count, start_method="fork")


def _start(rank: int, work: Callable[..., None], arguments: tuple[Any, ...], variables: list[dict[str, str]]) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # of trainings that the test's own process made before
    os.environ.update(variables[rank])
    work(*arguments)
