"""Binary cross entropy per label."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BceLoss(nn.Module):
    """Binary cross entropy per image and label, from logits."""

    def forward(self, logits: Tensor, targets: Tensor, *, epoch: int = 0) -> Tensor:
        """Loss [B, L], not reduced, of logits [B, L] and targets [B, L]; the epoch plays no part."""
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
