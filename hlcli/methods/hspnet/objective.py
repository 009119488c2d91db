"""HSPNet's training objective: one multi-label loss, summed over images and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from hlcli.losses.masking import label_losses

if TYPE_CHECKING:
    from hlcli.data.loader import LabelBatch
    from hlcli.methods.base import Criterion
    from hlcli.methods.hspnet.model import Output

_Reduction = Literal["sum", "mean"]


def training_losses(
    model: nn.Module, batch: LabelBatch, criterion: Criterion, *, epoch: int, reduction: _Reduction = "sum"
) -> dict[str, Tensor]:
    """The one term that is trained.

    `model` is `hlcli.methods.hspnet.model.Hspnet`, bare or wrapped for several processes. The sum is over the images
    of the whole optimiser step, however many parts it is cut into. Ignored labels cost nothing.
    """
    output: Output = model(batch.images)
    losses = label_losses(
        criterion, output.logits, batch.targets, ignore=batch.ignore, epoch=epoch, rows=batch.rows
    )  # [B, L]
    # (10)
    return {"classification": losses.sum() * batch.parts if reduction == "sum" else losses.mean()}
