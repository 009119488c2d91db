"""HLEG's training objective: the hardest level of each image, plus a share of the fine level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from hlcli.errors import DataError
from hlcli.layers.hierarchy import LabelHierarchy
from hlcli.losses.localisation import localisation_loss
from hlcli.losses.masking import label_losses

if TYPE_CHECKING:
    from hlcli.data.loader import LabelBatch
    from hlcli.methods.base import Criterion
    from hlcli.methods.hleg.model import Hleg, Output

_LevelLoss = Literal["hard_first_sample", "hard_first_batch", "sum"]


def training_losses(
    model: nn.Module,
    batch: LabelBatch,
    criterion: Criterion,
    *,
    epoch: int,
    level_loss: _LevelLoss = "hard_first_sample",
    alpha_fine: float = 0.1,
    loss_scale: float = 1.0,
    localisation_weight: float = 0.0,
    map_threshold: float | None = None,
) -> dict[str, Tensor]:
    """Weighted scalar terms of one batch; their sum is trained.

    `model` is `hlcli.methods.hleg.model.Hleg`, bare or wrapped for several processes.

    Raises:
        DataError: when the localisation loss is on and the batch has no object masks.
    """
    if localisation_weight > 0 and batch.object_masks is None:
        raise DataError(
            "model.localisation_weight is above 0, but the data has no object masks.",
            "Set model.localisation_weight=0, or run `hlcli preprocess intentonomy --masks FILE`.",
        )
    inner = cast("Hleg", getattr(model, "module", model))
    output: Output = model(batch.images, need_label_maps=True) if localisation_weight > 0 else model(batch.images)
    level_targets = lift_targets(inner.head.hierarchy, batch.targets, batch.ignore)
    ignored = None if batch.ignore is None else inner.head.hierarchy.lift_ignored(batch.targets, batch.ignore)
    losses = per_level(output.level_logits, level_targets, criterion, ignored=ignored, epoch=epoch, rows=batch.rows)
    terms = {
        "levels" if level_loss == "sum" else "hard_first": loss_scale * combine_levels(losses, level_loss),
        "fine": loss_scale * alpha_fine * losses[-1].mean(),  # (11): the sum of both
    }
    if output.label_maps is not None and batch.object_masks is not None:
        terms["localisation"] = localisation_loss(  # (13)
            output.label_maps,
            batch.object_masks,
            batch.targets,
            inner.object_labels,
            inner.context_labels,
            weight=localisation_weight,
            map_threshold=map_threshold,
        )
    return terms


def lift_targets(hierarchy: LabelHierarchy, targets: Tensor, ignore: Tensor | None) -> tuple[Tensor, ...]:
    """Targets of every level, coarse → fine; an ignored fine label turns no parent on."""
    return hierarchy.lift(targets if ignore is None else targets.masked_fill(ignore, 0))  # (7)


def per_level(
    level_logits: Sequence[Tensor],
    level_targets: Sequence[Tensor],
    criterion: Criterion,
    *,
    ignored: Sequence[Tensor] | None = None,
    epoch: int = 0,
    rows: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Loss of each image [B] on every level, summed over labels, coarse → fine.

    Args:
        level_logits: [B, K] per level, coarse → fine.
        level_targets: the same shapes.
        criterion: loss per image and label.
        ignored: labels that cost nothing, [B, K] bool per level.
        epoch: handed on to the criterion.
        rows: [B], handed on with the fine level, which alone a loss may remember.
    """
    masks = ignored if ignored is not None else [None] * len(level_logits)
    rows_of_levels = [None] * (len(level_logits) - 1) + [rows]
    return tuple(
        label_losses(criterion, logits, targets, ignore=mask, epoch=epoch, rows=level_rows).sum(dim=1)  # (9)
        for logits, targets, mask, level_rows in zip(level_logits, level_targets, masks, rows_of_levels, strict=True)
    )


def combine_levels(losses: Sequence[Tensor], level_loss: _LevelLoss) -> Tensor:
    """One scalar from the losses [B] of the levels (coarse → fine).

    hard_first_sample: mean over images of the largest level, which alone gets the gradient; hard_first_batch: the
    level with the largest mean; sum: all levels. Of equal levels the finer one wins.
    """
    stacked = torch.stack(tuple(reversed(losses)))  # [levels, B], fine first
    match level_loss:
        case "hard_first_sample":
            return stacked.max(dim=0).values.mean()  # (10)
        case "hard_first_batch":
            return stacked.mean(dim=1).max(dim=0).values
        case "sum":
            return stacked.mean(dim=1).sum()
