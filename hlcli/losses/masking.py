"""Losses per image and label, with ignored labels left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from hlcli.methods.base import Criterion


def label_losses(
    criterion: Criterion,
    logits: Tensor,
    targets: Tensor,
    *,
    ignore: Tensor | None = None,
    epoch: int = 0,
    rows: Tensor | None = None,
) -> Tensor:
    """The loss of every image and label, [B, L]; ignored ones cost nothing.

    Args:
        criterion: loss per image and label.
        logits: [B, L].
        targets: [B, L].
        ignore: [B, L] bool, or None.
        epoch: handed on to the criterion.
        rows: [B], likewise.
    """
    losses = criterion(logits, targets, epoch=epoch, rows=rows, ignore=ignore)
    return losses if ignore is None else losses.masked_fill(ignore, 0)
