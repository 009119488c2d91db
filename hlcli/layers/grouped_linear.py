"""A linear read-out with its own weight vector for every label."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupedLinear(nn.Module):
    """Score label l by the product of its feature vector with its own weight vector, plus an offset.

    The offset is kept as a matrix [1, L]: it then takes weight decay under rules that spare vectors and biases, as
    in HLEG's published implementation. SGRE's has a vector [L].

    Args:
        num_labels: L.
        dim: D, width of a label's features.
        offset_is_vector: keep the offset as a vector.
    """

    def __init__(self, num_labels: int, dim: int, *, offset_is_vector: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_labels, dim))
        self.offset = nn.Parameter(torch.empty(num_labels) if offset_is_vector else torch.empty(1, num_labels))
        bound = dim**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.offset, -bound, bound)

    def forward(self, label_features: Tensor) -> Tensor:
        """Logits [B, L] from label_features [B, L, D]."""
        return (label_features * self.weight).sum(dim=-1) + self.offset
