"""SGRE's training objective: the loss of the scores, plus a share of the loss of the label features alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from hlcli.losses.masking import label_losses

if TYPE_CHECKING:
    from hlcli.data.loader import LabelBatch
    from hlcli.methods.base import Criterion
    from hlcli.methods.sgre.model import Output


def training_losses(
    model: nn.Module,
    batch: LabelBatch,
    criterion: Criterion,
    *,
    epoch: int,
    branch_weight: float = 1.0,
    loss_scale: float = 1000.0,
) -> dict[str, Tensor]:
    """Weighted scalar terms of one batch; their sum is trained.

    Args:
        model: `hlcli.methods.sgre.model.Sgre` in training mode, bare or wrapped for several processes.
        batch: images and targets.
        criterion: loss per image and label.
        epoch: handed on to the criterion.
        branch_weight: weight of the label features' own loss.
        loss_scale: factor of both, which are means over images and labels.
    """
    output: Output = model(batch.images)
    if output.label_logits is None:
        raise ValueError("Expected a model in training mode, but got one in evaluation mode.")

    def mean_loss(logits: Tensor, rows: Tensor | None = None) -> Tensor:
        return label_losses(criterion, logits, batch.targets, ignore=batch.ignore, epoch=epoch, rows=rows).mean()

    return {  # (10): the sum of both
        "classification": loss_scale * mean_loss(output.logits, batch.rows),
        # Multiplied even by 0, so that every parameter has a gradient on every process.
        "label_branch": branch_weight * loss_scale * mean_loss(output.label_logits),
    }
