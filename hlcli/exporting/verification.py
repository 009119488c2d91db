"""Whether a file answers what the network answers in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from hlcli.errors import HlcliError
from hlcli.exporting.graphs import Tensors


class ExportDifference(NamedTuple):
    """How far an output of a file is from PyTorch's.

    Args:
        file: its name.
        inputs: what it was run on, in words.
        output: which of its outputs.
        greatest: difference; where PyTorch's number is greater than 1, as a share of it.
    """

    file: str
    inputs: str
    output: str
    greatest: float


def compare(file: str, inputs: str, found: Tensors, expected: Tensors, *, allowed: float) -> list[ExportDifference]:
    """The greatest difference of every output.

    Args:
        file: its name.
        inputs: what it was run on, in words.
        found: its outputs.
        expected: PyTorch's.
        allowed: difference; of numbers greater than 1, as a share of them.

    Raises:
        HlcliError: when an output is missing, of another shape, or too far away.
    """
    if set(found) != set(expected):
        raise _refusal(file, inputs, f"answers {', '.join(sorted(found))}; PyTorch {', '.join(sorted(expected))}")
    differences = [ExportDifference(file, inputs, name, _greatest(found[name], expected[name])) for name in expected]
    for one in differences:
        if not one.greatest <= allowed:  # NaN is not
            what = "numbers that are not finite" if math.isnan(one.greatest) else f"{one.greatest:.2g}"
            raise _refusal(file, inputs, f"differs by {what} in {one.output} (at most {allowed:.0e} is allowed)")
    return differences


def greatest(differences: Iterable[ExportDifference]) -> list[ExportDifference]:
    """Of the same outputs on the same inputs, step after step, the greatest differences."""
    best: dict[tuple[str, str, str], ExportDifference] = {}
    for one in differences:
        key = one[:3]
        if key not in best or one.greatest > best[key].greatest:
            best[key] = one
    return list(best.values())


def _greatest(found: Tensor, expected: Tensor) -> float:
    """NaN where one is not finite and the other not the same; infinite for other shapes."""
    if found.shape != expected.shape:
        return math.inf
    if expected.numel() == 0:
        return 0.0
    found, expected = found.double(), expected.double()
    shares = (found - expected).abs() / expected.abs().clamp(min=1)
    return float(torch.where(found == expected, 0.0, shares).max())


def _refusal(file: str, inputs: str, what: str) -> HlcliError:
    return HlcliError(
        f"{file} on {inputs} {what}. Nothing was written.", "Try the other format, and report it with `hlcli env`."
    )
