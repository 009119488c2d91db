"""Message passing between labels.

Shapes: B batch, L labels, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GatedGraph(nn.Module):
    """Gated graph network (Li et al., ICLR 2016): labels take messages from their neighbours, step by step.

    A step: m = G h, or [G h, G^T h] with two-way messages; u = sigmoid(W_1 m + U_1 h), r = sigmoid(W_2 m + U_2 h),
    c = tanh(W_3 m + U_3 (r * h)), h <- (1 - u) * h + u * c. All steps share the weights.

    Args:
        dim: D.
        num_steps: T; with 0 the features come out as they went in, and no weight is trained.
        two_way: also pass messages against the direction of the edges.
    """

    def __init__(self, dim: int, num_steps: int, *, two_way: bool = False) -> None:
        super().__init__()
        self.num_steps, self.two_way = num_steps, two_way
        width = 2 * dim if two_way else dim
        self.update_message, self.update_state = nn.Linear(width, dim), nn.Linear(dim, dim)
        self.reset_message, self.reset_state = nn.Linear(width, dim), nn.Linear(dim, dim)
        self.candidate_message, self.candidate_state = nn.Linear(width, dim), nn.Linear(dim, dim)
        if num_steps == 0:
            self.requires_grad_(False)

    def forward(self, label_features: Tensor, adjacency: Tensor) -> Tensor:
        """label_features [B, L, D], adjacency [B, L, L] (row: who listens) → [B, L, D]."""
        state = label_features
        for _ in range(self.num_steps):
            message = adjacency @ state  # [B, L, D]
            if self.two_way:
                message = torch.cat((message, adjacency.transpose(1, 2) @ state), dim=-1)
            update = torch.sigmoid(self.update_message(message) + self.update_state(state))
            reset = torch.sigmoid(self.reset_message(message) + self.reset_state(state))
            candidate = torch.tanh(self.candidate_message(message) + self.candidate_state(reset * state))
            state = torch.lerp(state, candidate, update)
        return state
