"""Large losses of zeros are taken for missed positives: Kim et al., "Large Loss Matters in Weakly Supervised
Multi-Label Classification", CVPR 2022.

Zeros are negatives at first (plain cross entropy in epoch 0). Later the zeros that cost most are left out (LL-R),
taken for positives in that step (LL-Ct) or from then on (LL-Cp).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from hlcli.losses.base import Loss
from hlcli.losses.sigmoid import cross_entropy


def largest(losses: Tensor, candidates: Tensor, share: float) -> Tensor:
    """Which entries [B, L] bool are that share (rounded up) of the candidates with the largest losses.

    Among equal losses the first ones are chosen, so never more than the share.

    Args:
        losses: [B, L].
        candidates: [B, L] bool; no other entry is chosen.
        share: 0 to 1, more counts as 1.
    """
    if share <= 0:
        return torch.zeros_like(candidates)
    ranked = losses.detach().masked_fill(~candidates, -1).flatten().argsort(descending=True, stable=True)
    # Kept on the device; 1e-9 takes back the rounding error of the product.
    count = (candidates.sum().double() * min(share, 1.0) - 1e-9).ceil()
    is_chosen = torch.arange(len(ranked), device=ranked.device) < count
    return torch.zeros_like(is_chosen).scatter(0, ranked, is_chosen).view_as(candidates)


class _LargeLoss(Loss):
    """Cross entropy in which zeros with the largest losses cost something else.

    Args:
        delta_rel: share of a batch's zeros that is added per epoch: epoch times delta_rel are chosen, counted from
            epoch 0.
    """

    def __init__(self, delta_rel: float) -> None:
        super().__init__()
        self.delta_rel = delta_rel

    def forward(
        self, logits: Tensor, targets: Tensor, epoch: int = 0, rows: Tensor | None = None, ignore: Tensor | None = None
    ) -> Tensor:
        """Loss [B, L], not negative and not reduced, of logits [B, L] and targets [B, L] in {0, 1}.

        In evaluation mode plain cross entropy; rows play no part.
        """
        losses = cross_entropy(logits, targets)
        if not self.training:
            return losses
        chosen = largest(losses, _seen(targets != 1, ignore), epoch * self.delta_rel)
        return torch.where(chosen, self.of_chosen(logits), losses)

    def of_chosen(self, logits: Tensor) -> Tensor:
        """What they cost instead, [B, L], of logits [B, L]."""
        raise NotImplementedError


class LargeLossRejection(_LargeLoss):
    """LL-R: zeros with the largest losses cost nothing."""

    def __init__(self, delta_rel: float = 0.005) -> None:
        super().__init__(delta_rel)

    def of_chosen(self, logits: Tensor) -> Tensor:
        """Nothing."""
        return torch.zeros_like(logits)


class LargeLossCorrection(_LargeLoss):
    """LL-Ct: zeros with the largest losses count as positives, for that step."""

    def __init__(self, delta_rel: float = 0.002) -> None:
        super().__init__(delta_rel)

    def of_chosen(self, logits: Tensor) -> Tensor:
        """The loss of positives."""
        return cross_entropy(logits, torch.ones_like(logits))


class PermanentLargeLossCorrection(Loss):
    """LL-Cp: zeros with the largest losses count as positives from then on.

    What was flipped is kept per image in `flips`, so every epoch after epoch 0 adds delta_rel of the zeros that are
    left. With several processes all end with the same flips.

    Args:
        num_images: images of the training split.
        num_labels: their labels.
        delta_rel: share of a batch's remaining zeros that each later epoch flips.
    """

    flips: Tensor

    def __init__(self, num_images: int, num_labels: int, delta_rel: float = 0.001) -> None:
        super().__init__()
        self.delta_rel = delta_rel
        self.correction = LargeLossCorrection(delta_rel)
        self.register_buffer("flips", torch.zeros(num_images, num_labels, dtype=torch.bool))

    def forward(
        self, logits: Tensor, targets: Tensor, epoch: int = 0, rows: Tensor | None = None, ignore: Tensor | None = None
    ) -> Tensor:
        """Loss [B, L], not negative and not reduced, of logits [B, L] and targets [B, L] in {0, 1}.

        In training, and with rows [B], writes new flips into `flips`; every process must call it then. Without rows
        (coarse levels) nothing can be kept, and it is LL-Ct; in evaluation mode plain cross entropy.
        """
        if rows is None or not self.training:
            return self.correction(logits, targets, epoch=epoch, ignore=ignore)
        is_positive = (targets == 1) | self.flips[rows]
        losses = cross_entropy(logits, is_positive)
        if epoch == 0:
            return losses
        new = largest(losses, _seen(~is_positive, ignore), self.delta_rel)
        self._keep(rows, new)
        return torch.where(new, cross_entropy(logits, torch.ones_like(targets)), losses)

    @torch.no_grad()
    def _keep(self, rows: Tensor, new: Tensor) -> None:
        """Add the flips [B, L] of these images, and those that other processes have found at this moment."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            rows, new = _gathered(rows), _gathered(new.to(torch.uint8)).bool()
        self.flips[rows] |= new


def _seen(zeros: Tensor, ignore: Tensor | None) -> Tensor:
    """Zeros [B, L] bool without those that do not count anyway."""
    return zeros if ignore is None else zeros & ~ignore


def _gathered(values: Tensor) -> Tensor:
    """The values of all processes, one after another; all have the same shape."""
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)
