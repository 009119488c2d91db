"""Cross entropy that takes zeros for negatives, with less force than plain cross entropy.

Cole et al., "Multi-Label Learning from Single Positive Labels", CVPR 2021: weak assume negative (WAN), and assume
negative with label smoothing (AN-LS).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hlcli.losses.base import Loss
from hlcli.losses.sigmoid import cross_entropy


class WeakNegativeLoss(Loss):
    """Cross entropy in which a zero weighs little.

    Args:
        negative_weight: weight of a zero; None is 1 / (L - 1), so that the zeros of an image with one positive weigh
            as much as that together.
    """

    def __init__(self, negative_weight: float | None = None) -> None:
        super().__init__()
        self.negative_weight = negative_weight

    def per_label(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss [B, L], not reduced, of logits and targets [B, L] in {0, 1}."""
        weight = self.negative_weight
        if weight is None:
            weight = 1 / max(logits.shape[1] - 1, 1)
        losses = cross_entropy(logits, targets)
        return torch.where(targets == 1, losses, weight * losses)


class SmoothedNegativeLoss(Loss):
    """Cross entropy against 1 - smoothing / 2 for positives and smoothing / 2 for zeros.

    Args:
        smoothing: 0 leaves plain cross entropy.
    """

    def __init__(self, smoothing: float = 0.1) -> None:
        super().__init__()
        self.smoothing = smoothing

    def per_label(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss [B, L], not reduced, of logits and targets [B, L] in {0, 1}."""
        return cross_entropy(logits, targets * (1 - self.smoothing) + self.smoothing / 2)
