"""The terms of a batch's loss, as the loop takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Terms(NamedTuple):
    """Scalars, already weighted, whose sum is trained; and what is only logged beside them.

    `weight` is how much the batch weighs beside the other parts of an optimiser step (a mean over words: their number);
    None: all parts weigh alike.
    """

    trained: Mapping[str, Tensor]
    noted: Mapping[str, Tensor] = {}
    weight: Tensor | None = None
