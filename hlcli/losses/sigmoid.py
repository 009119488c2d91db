"""Parts that several losses share, safe for logits of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32; all else as it is."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy [B, L], not reduced, of logits [B, L] and targets [B, L] from 0 to 1."""
    logits = at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")


def focal_cross_entropy(logits: Tensor, gamma: float) -> Tensor:
    """-(1 - p)^gamma ln p with p = sigmoid(logits); the focusing weight is differentiated too.

    The power is taken of the logarithm, so that neither it nor its slope is lost where p is 0 or 1.
    """
    return -(gamma * F.logsigmoid(-logits)).exp() * F.logsigmoid(logits)
