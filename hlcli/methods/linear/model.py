"""Plain multi-label classification: the mean over the grid, then one linear layer.

Shapes: B batch, N grid tokens, D backbone width, L labels. Numbers in parentheses are equations of
docs/methods/linear.md.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Output(NamedTuple):
    """Scores of an image batch before the sigmoid."""

    logits: Tensor  # [B, L]


class Linear(nn.Module):
    """Backbone, mean, linear layer.

    Args:
        backbone: images to grid features.
        num_features: D.
        num_labels: L.
        dropout: before the linear layer, in training.
    """

    def __init__(self, backbone: nn.Module, *, num_features: int, num_labels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_features, num_labels)

    def forward(self, images: Tensor) -> Output:
        """Score images [B, 3, H, W]."""
        features = self.backbone(images).mean(dim=1)  # (1): [B, D]
        return Output(self.head(self.dropout(features)))  # (2)
