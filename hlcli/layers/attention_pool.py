"""The attention pool of CLIP's ResNets: the mean of the grid looks at the whole grid.

Shapes: B batch, h·w = N grid cells, D width, H heads of width E = D / H, O output width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AttentionPool(nn.Module):
    """Attention with one query: the mean of the cells among the cells and itself.

    The published code computes every query and then takes the first. Computed alone, that one query also makes it
    cheaper to carry keys and values over to its side: q · (W_k x + b_k) = (W_kᵀ q) · x + q · b_k, and
    Σ a_n (W_v x_n + b_v) = W_v Σ a_n x_n + b_v, so that no cell is projected at all. The parameters are the published
    ones, and so are their gradients.

    Args:
        grid: h and w.
        width: D.
        num_heads: H.
        output_dim: O.
    """

    def __init__(self, grid: tuple[int, int], width: int, num_heads: int, output_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.positional_embedding = nn.Parameter(torch.randn(1 + grid[0] * grid[1], width) / width**0.5)
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, output_dim)

    def forward(self, grid_features: Tensor) -> Tensor:
        """Pool grid features [B, D, h, w] to [B, O]."""
        cells = grid_features.flatten(2).transpose(1, 2)  # [B, N, D]
        tokens = torch.cat((cells.mean(dim=1, keepdim=True), cells), dim=1) + self.positional_embedding  # [B, 1 + N, D]
        query = self._heads(self.q_proj(tokens[:, 0]), -1)  # [B, H, E]
        query = query * query.shape[-1] ** -0.5
        look_for = torch.einsum("bhe,hed->bhd", query, self._heads(self.k_proj.weight, 0))
        scores = torch.einsum("bhd,bnd->bhn", look_for, tokens)
        # The same for every token: no effect on the softmax, but the bias keeps its (zero) gradient.
        scores = scores + (query * self._heads(self.k_proj.bias, 0)).sum(dim=-1, keepdim=True)
        gathered = torch.einsum("bhn,bnd->bhd", scores.softmax(dim=-1).to(tokens.dtype), tokens)
        values = torch.einsum("bhd,hed->bhe", gathered, self._heads(self.v_proj.weight, 0)).flatten(1)  # [B, D]
        return self.c_proj(values + self.v_proj.bias)

    def _heads(self, features: Tensor, dim: int) -> Tensor:
        """The axis of width D cut into H pieces of width E."""
        return features.unflatten(dim, (self.num_heads, -1))


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Positions of the mean and of a square grid [1 + n, D] for another grid: [1 + h·w, D]; bicubic, smoothed."""
    side = round((len(positions) - 1) ** 0.5)
    if grid == (side, side):
        return positions
    cells = positions[1:].T.reshape(1, -1, side, side)  # [1, D, side, side]
    cells = F.interpolate(cells, size=grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat((positions[:1], cells[0].flatten(1).T))
