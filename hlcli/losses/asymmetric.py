"""Asymmetric loss: Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021."""

from __future__ import annotations

from torch import Tensor

from hlcli.losses.base import Loss
from hlcli.losses.sigmoid import at_least_float32


class AsymmetricLoss(Loss):
    """Cross entropy per label, focused with one power for positives and another for negatives.

    With p = sigmoid(x), q = min(1 - p + clip, 1) and p' = y p + (1 - y) q:

        loss = -(1 - p')^(gamma_pos y + gamma_neg (1 - y)) * (y ln max(p, eps) + (1 - y) ln max(q, eps))

    Args:
        gamma_pos: focusing power of positives; 0 leaves plain cross entropy.
        gamma_neg: focusing power of negatives.
        clip: added to the probability of a negative, so that easy negatives count for nothing.
        eps: smallest probability inside the logarithm; no gradient flows below it.
        detach_focus: treat the power as a constant for the gradient.
    """

    is_focal = True

    def __init__(
        self,
        gamma_pos: float = 0.0,
        gamma_neg: float = 2.0,
        clip: float = 0.0,
        eps: float = 1e-5,
        detach_focus: bool = True,
    ) -> None:
        super().__init__()
        self.gamma_pos, self.gamma_neg = gamma_pos, gamma_neg
        self.clip, self.eps = clip, eps
        self.detach_focus = detach_focus

    def per_label(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss [B, L], not negative and not reduced, of logits [B, L] and targets [B, L] in {0, 1}.

        Half precision is computed in float32.
        """
        positive = at_least_float32(logits).sigmoid()
        negative = 1 - positive
        if self.clip > 0:
            negative = (negative + self.clip).clamp(max=1)
        others = 1 - targets
        loss = -targets * positive.clamp(min=self.eps).log() - others * negative.clamp(min=self.eps).log()
        if self.gamma_pos == 0 and self.gamma_neg == 0:
            return loss
        if self.detach_focus:
            positive, negative = positive.detach(), negative.detach()
        miss = 1 - positive * targets - negative * others
        return loss * miss.pow(self.gamma_pos * targets + self.gamma_neg * others)
