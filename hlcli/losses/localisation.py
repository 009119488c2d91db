"""Localisation loss: Grad-CAM maps of some labels should lie on objects, those of others beside them.

Jia et al., "Intentonomy: a Dataset and Study towards Human Intent Understanding", CVPR 2021.
Shapes: B batch, C channels, K regulated labels (object labels first, then context labels), h × w grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def score_gradients(
    logits: Tensor, grid_features: Tensor, label_indices: Sequence[int], *, differentiable: bool
) -> Tensor:
    """Gradient of each label's batch-mean logit with respect to the grid features: [B, K, N, C].

    Args:
        logits: [B, L], computed from grid_features.
        grid_features: [B, N, C].
        label_indices: K labels.
        differentiable: keep the graph, so that a loss on the result can be trained.
    """
    gradients = []
    for label in label_indices:
        # The mean's 1/B comes last: half-precision gradients would vanish otherwise.
        (gradient,) = torch.autograd.grad(
            logits[:, label].sum(), grid_features, retain_graph=True, create_graph=differentiable
        )
        gradients.append(gradient / len(logits))
    return torch.stack(gradients, dim=1)


def grad_cam(feature_map: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM maps [B, K, h, w]: channels weighted by the spatial mean of their gradient, rectified.

    Args:
        feature_map: [B, C, h, w].
        gradients: of the K label scores with respect to it, [B, K, C, h, w].
    """
    weights = gradients.mean(dim=(-2, -1))  # [B, K, C]
    return torch.einsum("bkc,bchw->bkhw", weights, feature_map).relu()


def normalise_maps(maps: Tensor, eps: float = 1e-8) -> Tensor:
    """Each map [..., h, w] moved and scaled to [0, 1): the minimum taken off, then divided by maximum + eps."""
    maps = maps - maps.amin(dim=(-2, -1), keepdim=True)
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + eps)


def localisation_loss(
    maps: Tensor,
    object_mask: Tensor,
    targets: Tensor,
    object_labels: Sequence[int],
    context_labels: Sequence[int],
    *,
    weight: float = 0.1,
    target_threshold: float | None = 1 / 3,
    map_threshold: float | None = None,
    without_positives: float = 0.0,
) -> Tensor:
    """How much of the maps lies on the wrong side of the object mask; a scalar.

    With t targets, A maps, M the mask, O and S the object and context labels:
    weight * (1/|O| sum_b,c∈O t_bc sum_uv A_bc (1 - M_b) + 1/|S| sum_b,c∈S t_bc sum_uv A_bc M_b) / sum t,
    the last sum over all labels.

    Args:
        maps: normalised maps [B, K, h, w] of the object labels, then of the context labels.
        object_mask: share of each cell that is object, [B, 1, g, g]; see `fit_masks` where g × g is not h × w.
        targets: [B, L], hard or soft.
        object_labels: labels whose maps should lie on objects.
        context_labels: labels whose maps should lie beside objects.
        weight: factor of the whole.
        target_threshold: targets above it count 1, others 0; None keeps soft targets.
        map_threshold: maps above it count 1, others 0 (no gradient then); None keeps them.
        without_positives: what a batch without positives costs; the published code divides by zero (NaN).
    """
    object_mask = fit_masks(object_mask, (maps.shape[-2], maps.shape[-1]))
    if target_threshold is not None:
        targets = (targets > target_threshold).to(maps.dtype)
    if map_threshold is not None:
        maps = (maps > map_threshold).to(maps.dtype)
    on_objects, on_context = maps.split((len(object_labels), len(context_labels)), dim=1)
    wrong_objects = _weighted_area(on_objects * (1 - object_mask), targets, object_labels)
    wrong_context = _weighted_area(on_context * object_mask, targets, context_labels)
    total = targets.sum()
    loss = weight * (wrong_objects + wrong_context) / torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(total > 0, loss, torch.full_like(loss, without_positives))


def fit_masks(object_mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Masks [B, 1, g, g] on the grid of the maps: [B, 1, h, w].

    A cell of a coarser grid holds the mean of what it covers; a finer grid is filled bilinearly, as masks are made.
    """
    if object_mask.shape[-2:] == grid:
        return object_mask
    coarser = (min(grid[0], object_mask.shape[-2]), min(grid[1], object_mask.shape[-1]))
    object_mask = F.interpolate(object_mask, size=coarser, mode="area")
    return F.interpolate(object_mask, size=grid, mode="bilinear", align_corners=False)


def _weighted_area(maps: Tensor, targets: Tensor, labels: Sequence[int]) -> Tensor:
    """Sum of the maps [B, K, h, w], each times its label's target, per label."""
    if not labels:
        return maps.new_zeros(())
    return (maps.sum(dim=(-2, -1)) * targets[:, list(labels)]).sum() / len(labels)
