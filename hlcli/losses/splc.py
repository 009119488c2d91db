"""Self-paced loss correction: Zhang et al., "Simple and Robust Loss Design for Multi-Label Learning with Missing
Labels", arXiv 2112.07368, 2021."""

from __future__ import annotations

import torch
from torch import Tensor

from hlcli.losses.base import Loss
from hlcli.losses.sigmoid import at_least_float32, focal_cross_entropy


class SplcLoss(Loss):
    """Focal loss with a margin for positives; after some epochs, confident zeros are taken for missed positives.

    With z' = z - margin where y = 1, else z, p = sigmoid(z'), and y* = 1 where p > tau, else y:

        loss = -(1 - p)^gamma ln p            where y* = 1
               -p^gamma ln(1 - p)             where y* = 0

    The correction is made anew for every batch and nothing of it is kept. A corrected label has no margin. Before
    `change_epoch` y* = y: the "focal margin" loss.

    Args:
        tau: score above which a zero counts as a positive.
        change_epoch: first epoch that corrects, counted from 0; None never does.
        margin: taken off the logits of observed positives.
        gamma: focusing power; its weight is differentiated too.
    """

    is_focal = True

    def __init__(self, tau: float = 0.6, change_epoch: int | None = 1, margin: float = 1.0, gamma: float = 2.0) -> None:
        super().__init__()
        self.tau, self.change_epoch = tau, change_epoch
        self.margin, self.gamma = margin, gamma

    def corrected(self, logits: Tensor, targets: Tensor, epoch: int) -> Tensor:
        """Targets [B, L] as that epoch takes them: those given, and 1 where a score is above `tau`."""
        if self.change_epoch is None or epoch < self.change_epoch:
            return targets
        scores = self._shifted(at_least_float32(logits.detach()), targets).sigmoid()
        return torch.where(scores > self.tau, torch.ones_like(targets), targets)

    def forward(
        self, logits: Tensor, targets: Tensor, epoch: int = 0, rows: Tensor | None = None, ignore: Tensor | None = None
    ) -> Tensor:
        """Loss [B, L], not negative and not reduced, of logits [B, L] and targets [B, L] in {0, 1}.

        Half precision is computed in float32; rows play no part.
        """
        shifted = self._shifted(at_least_float32(logits), targets)
        is_positive = self.corrected(logits, targets, epoch) == 1
        return focal_cross_entropy(torch.where(is_positive, shifted, -shifted), self.gamma)

    def _shifted(self, logits: Tensor, targets: Tensor) -> Tensor:
        return torch.where(targets == 1, logits - self.margin, logits)
