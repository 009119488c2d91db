"""A network on its way into a file: what it is fed, what it answers, which axes may have any length."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from hlcli.errors import HlcliError, in_a_line

Tensors = Mapping[str, Tensor]
"""Inputs or outputs of a graph by name."""

CANNOT_TRACE = (RuntimeError, ValueError, AssertionError, LookupError, TypeError)
"""What torch raises when it cannot follow or write a network; only to be caught around a call of torch itself."""

_WRONG_SHAPE = (RuntimeError, ValueError, AssertionError)
"""What networks that were made for another image size raise, and torch's programs."""


class Graph(NamedTuple):
    """A network that takes tensors by name and answers tensors by name.

    Args:
        name: of its file, without the ending.
        module: its `forward` takes a dict and returns a dict.
        example: inputs for a trace. Axes of any length are 2 or longer here: torch takes 0 and 1 for constants.
        axes: for every input the names of its axes that may have any length.
    """

    name: str
    module: nn.Module
    example: dict[str, Tensor]
    axes: dict[str, dict[int, str]]


def on_cpu(model: nn.Module) -> nn.Module:
    """The model in evaluation mode on the CPU in full precision; a copy where it is not so already."""
    is_there = all(one.device.type == "cpu" and one.dtype == torch.float32 for one in model.parameters())
    return model if is_there and not model.training else copy.deepcopy(model).cpu().float().eval()


def trace(graph: Graph) -> ExportedProgram:
    """The graph's operations, for any length of its axes.

    Raises:
        HlcliError: when torch cannot follow the network; what fails outside a trace too is a mistake, and stays as is.
    """
    with torch.no_grad():
        graph.module(dict(graph.example))
    any_length = {name: dict.fromkeys(graph.axes.get(name, ()), Dim.AUTO) for name in graph.example}
    try:
        with torch.no_grad():
            return export(graph.module, (graph.example,), dynamic_shapes=(any_length,), strict=False)
    except CANNOT_TRACE as error:
        raise HlcliError(f"The network cannot be exported: {in_a_line(error)}") from error


def refusal(run: nn.Module, examples: Sequence[Tensors]) -> str | None:
    """Why a network does not take inputs of these shapes; None where it does."""
    try:
        with torch.no_grad():
            for example in examples:
                run(dict(example))
    except _WRONG_SHAPE as error:
        return in_a_line(error)
    return None
