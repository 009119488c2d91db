"""Hill loss: Zhang et al., "Simple and Robust Loss Design for Multi-Label Learning with Missing Labels",
arXiv 2112.07368, 2021."""

from __future__ import annotations

import torch
from torch import Tensor

from hlcli.losses.base import Loss
from hlcli.losses.sigmoid import at_least_float32, focal_cross_entropy


class HillLoss(Loss):
    """Focal loss with a margin for positives; zeros pull less again where the model is sure of a positive.

    With p = sigmoid(z) and p_m = sigmoid(z - margin):

        loss = -(1 - p_m)^gamma ln p_m        where y = 1
               (lam - p) p^2                  where y = 0

    Args:
        lam: a zero costs most at p = 2/3 lam; with 1.5 that is p = 1, and the pull there is none.
        margin: taken off the logits of positives.
        gamma: focusing power of positives; its weight is differentiated too.
    """

    is_focal = True

    def __init__(self, lam: float = 1.5, margin: float = 1.0, gamma: float = 2.0) -> None:
        super().__init__()
        self.lam, self.margin, self.gamma = lam, margin, gamma

    def per_label(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss [B, L], not negative for lam >= 1 and not reduced, of logits [B, L] and targets [B, L] in {0, 1}.

        Half precision is computed in float32.
        """
        logits = at_least_float32(logits)
        scores = logits.sigmoid()
        positive = focal_cross_entropy(logits - self.margin, self.gamma)
        return torch.where(targets == 1, positive, (self.lam - scores) * scores.square())
