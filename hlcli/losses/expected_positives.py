"""Expected positive regularisation (EPR) and regularised online label estimation (ROLE): Cole et al.,
"Multi-Label Learning from Single Positive Labels", CVPR 2021."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hlcli.losses.base import Loss
from hlcli.losses.sigmoid import at_least_float32, cross_entropy


class EprLoss(Loss):
    """Observed positives are learnt; of the rest only their number is known: `expected_positives` per image.

    With scores p, R = ((k - mean over images of sum over labels of p) / L)^2 and k = expected_positives:

        loss = -ln p where y = 1, else 0; and weight R for every entry, so that the mean has it once.

    Args:
        expected_positives: k, mean number of true labels per image.
        weight: of R.
        num_labels: labels that k is about; on a level with another number, where k is unknown, zeros are taken for
            negatives (plain cross entropy). 0: any number.
    """

    def __init__(self, expected_positives: float, weight: float = 1.0, num_labels: int = 0) -> None:
        super().__init__()
        self.expected_positives, self.weight, self.num_labels = expected_positives, weight, num_labels

    def forward(
        self, logits: Tensor, targets: Tensor, epoch: int = 0, rows: Tensor | None = None, ignore: Tensor | None = None
    ) -> Tensor:
        """Loss [B, L], not negative and not reduced, of logits [B, L] and targets [B, L] in {0, 1}.

        Epoch and rows play no part.
        """
        losses = cross_entropy(logits, targets)
        if self.is_elsewhere(logits):
            return losses
        return torch.where(targets == 1, losses, 0) + self.regulariser(logits, ignore)

    def is_elsewhere(self, logits: Tensor) -> bool:
        """Whether logits [B, L] are of another level than the one that `expected_positives` is about."""
        return self.num_labels not in (0, logits.shape[1])

    def regulariser(self, logits: Tensor, ignore: Tensor | None = None) -> Tensor:
        """weight R, a scalar, of logits [B, L]; ignored labels [B, L] bool are not counted."""
        scores = at_least_float32(logits).sigmoid()
        found = (scores if ignore is None else scores.masked_fill(ignore, 0)).sum(dim=1).mean()
        return self.weight * ((found - self.expected_positives) / logits.shape[1]).square()


class RoleLoss(Loss):
    """The labels of every training image are estimated beside the network; each learns from the other and has EPR.

    With f the network's scores, e the estimates, sg a stopped gradient and CE cross entropy:

        loss = (CE(f, sg e) + EPR(f)) / 2 + (CE(e, sg f) + EPR(e)) / 2

    An estimate is the sigmoid of `estimates` + s y, s = logit(0.995): uniform in probability logits between 0.4 and
    0.6 at first, and near 0.995 for observed positives. The step s is added in forward, not written into
    the parameter: the same as starting there, without a pass over all targets.

    Args:
        num_images: images of the training split.
        num_labels: their labels.
        expected_positives: mean number of true labels per image.
        weight: of the regulariser in EPR.
        lr_factor: learning rate of the estimates as a multiple of the network's.
    """

    def __init__(
        self,
        num_images: int,
        num_labels: int,
        expected_positives: float,
        weight: float = 1.0,
        lr_factor: float = 10.0,
    ) -> None:
        super().__init__()
        self.epr = EprLoss(expected_positives, weight, num_labels)
        self.lr_factor = lr_factor
        self.observed_logit = math.log(0.995 / 0.005)
        width = math.log(0.6 / 0.4)
        self.estimates = nn.Parameter(torch.empty(num_images, num_labels).uniform_(-width, width))

    def forward(
        self, logits: Tensor, targets: Tensor, epoch: int = 0, rows: Tensor | None = None, ignore: Tensor | None = None
    ) -> Tensor:
        """Loss [B, L], not negative and not reduced, of logits [B, L] and targets [B, L] in {0, 1}.

        Without rows [B] (evaluation, coarse levels) the targets stand for the estimates: (CE(f, y) + EPR(f)) / 2, and
        plain cross entropy on levels with another number of labels. The epoch plays no part.
        """
        logits = at_least_float32(logits)
        if self.epr.is_elsewhere(logits):
            return cross_entropy(logits, targets)
        if rows is None:
            return (cross_entropy(logits, targets) + self.epr(logits, targets, ignore=ignore)) / 2
        estimated = self.estimates[rows] + self.observed_logit * targets  # [B, L]
        of_network = cross_entropy(logits, estimated.detach().sigmoid()) + self.epr(logits, targets, ignore=ignore)
        of_estimates = cross_entropy(estimated, logits.detach().sigmoid()) + self.epr(estimated, targets, ignore=ignore)
        return (of_network + of_estimates) / 2
