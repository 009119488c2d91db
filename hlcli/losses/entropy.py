"""Entropy maximisation (EM): Zhou et al., "Acknowledging the Unknown for Multi-Label Learning with Single Positive
Labels", ECCV 2022. Without the paper's asymmetric pseudo-labels (APL)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hlcli.losses.base import Loss
from hlcli.losses.sigmoid import at_least_float32


class EntropyMaximisationLoss(Loss):
    """Positives are learnt; zeros are taken for unknown, and their scores are pulled towards one half.

    With p = sigmoid(z): loss = -ln p where y = 1, and alpha (p ln p + (1 - p) ln(1 - p)) where y = 0.

    Args:
        alpha: weight of the entropy of unknown labels.
    """

    def __init__(self, alpha: float = 0.1) -> None:
        super().__init__()
        self.alpha = alpha

    def per_label(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss [B, L], at least -alpha ln 2 and not reduced, of logits [B, L] and targets [B, L] in {0, 1}.

        Half precision is computed in float32.
        """
        logits = at_least_float32(logits)
        log_score, log_rest = F.logsigmoid(logits), F.logsigmoid(-logits)
        negative_entropy = logits.sigmoid() * log_score + (-logits).sigmoid() * log_rest
        return torch.where(targets == 1, -log_score, self.alpha * negative_entropy)
