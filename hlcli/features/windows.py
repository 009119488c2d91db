"""Regions without a detector: overlapping windows of several sizes, pooled from a backbone's grid.

A window's feature is the mean of the grid under it. Nothing here is learned, so regions cost one small matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_WINDOW_SCALES = (1, 2, 3, 6)
"""Windows per side, coarse → fine: 1 + 4 + 9 + 36 = 50 windows."""


def window_boxes(scales: Sequence[int] = _WINDOW_SCALES) -> Tensor:
    """Left, top, right and bottom [R, 4] of all windows as fractions of the image, coarse → fine, row by row.

    A scale s has s·s windows with sides of 2 / (s + 1), so that each overlaps its neighbour by half.

    Args:
        scales: windows per side, each at least 1.
    """
    if not scales or min(scales) < 1:
        raise ValueError(f"Expected scales of at least 1, but got {tuple(scales)}.")
    boxes = []
    for scale in scales:
        start = torch.arange(scale, dtype=torch.float64) / (scale + 1)
        top, left = torch.meshgrid(start, start, indexing="ij")
        corner = torch.stack((left, top), dim=-1).flatten(0, 1)  # [s·s, 2]
        boxes.append(torch.cat((corner, corner + 2 / (scale + 1)), dim=1))
    return torch.cat(boxes).float()


class WindowPool(nn.Module):
    """Grid features to region features by fixed windows.

    Args:
        grid: height and width of the grid, N = h · w.
        boxes: windows [R, 4] as fractions of the image.

    Attributes:
        boxes: as given.
        num_regions: R.
        weights: [R, N] share of each cell in each window; rows sum to 1. A constant, so not part of the state.
    """

    boxes: Tensor
    weights: Tensor

    def __init__(self, grid: tuple[int, int], boxes: Tensor | None = None) -> None:
        super().__init__()
        boxes = window_boxes() if boxes is None else boxes
        self.num_regions = len(boxes)
        self.register_buffer("boxes", boxes, persistent=False)
        self.register_buffer("weights", _pooling_matrix(grid, boxes), persistent=False)

    def forward(self, grid_features: Tensor) -> Tensor:
        """Region features [B, R, D] of grid features [B, N, D]."""
        return torch.einsum("rn,bnd->brd", self.weights.to(grid_features.dtype), grid_features)


def _pooling_matrix(grid: tuple[int, int], boxes: Tensor) -> Tensor:
    """Share [R, h·w] of each cell in the area of each window."""
    height, width = grid
    left, top, right, bottom = boxes.double().unbind(dim=1)
    columns = _overlap(left, right, width)  # [R, w]
    rows = _overlap(top, bottom, height)  # [R, h]
    areas = torch.einsum("rh,rw->rhw", rows, columns).flatten(1)
    return (areas / areas.sum(dim=1, keepdim=True)).float()


def _overlap(start: Tensor, end: Tensor, cells: int) -> Tensor:
    """Length [R, cells] that intervals of 0…1 share with each of equal cells."""
    edges = torch.arange(cells + 1, dtype=torch.float64, device=start.device) / cells
    shared = torch.minimum(end[:, None], edges[1:]) - torch.maximum(start[:, None], edges[:-1])
    return shared.clamp(min=0)
