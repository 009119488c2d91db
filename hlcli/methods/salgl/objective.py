"""SALGL's training objective: the classification loss, and two terms that make scenes sure and all of them used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from hlcli.losses.masking import label_losses

if TYPE_CHECKING:
    from hlcli.data.loader import LabelBatch
    from hlcli.methods.base import Criterion
    from hlcli.methods.salgl.model import Output


def training_losses(
    model: nn.Module,
    batch: LabelBatch,
    criterion: Criterion,
    *,
    epoch: int,
    loss_scale: float = 1000.0,
    sample_entropy_weight: float = 1.0,
    batch_entropy_weight: float = 1.0,
) -> dict[str, Tensor]:
    """Weighted scalar terms of one batch; their sum is trained. The batch's label pairs are counted on the way.

    `model` is `hlcli.methods.salgl.model.Salgl`, bare or wrapped for several processes. The classification loss is
    the mean over images and labels; ignored labels cost nothing, and the mean is still over all of them.
    """
    output: Output = model(batch.images, batch.targets, batch.ignore)
    losses = label_losses(
        criterion, output.logits, batch.targets, ignore=batch.ignore, epoch=epoch, rows=batch.rows
    )  # [B, L]
    # (12), the sum of all three. A term of weight 0 stays, so that the scene classifier always has a gradient.
    return {
        "classification": loss_scale * losses.mean(),
        "sample_entropy": sample_entropy_weight * output.sample_entropy,
        "batch_entropy": batch_entropy_weight * output.batch_entropy,
    }
