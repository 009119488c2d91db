"""Binary cross entropy per label; with missing labels, the loss that assumes them negative (AN)."""

from __future__ import annotations

from torch import Tensor

from hlcli.losses.base import Loss
from hlcli.losses.sigmoid import cross_entropy


class BceLoss(Loss):
    """Binary cross entropy per image and label, from logits."""

    def per_label(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss [B, L], not reduced, of logits [B, L] and targets [B, L].

        Half precision is computed in float32.
        """
        return cross_entropy(logits, targets)
