"""What a forward pass drops."""

from __future__ import annotations

from typing import Any

import pytest
import torch.nn.functional as F
from torch import Tensor


def watch_dropout(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], float]]:
    """A list that fills with the shape and probability of each dropout that is applied, in order.

    That of the fused attention kernel stands there with the shape of its queries.
    """
    seen: list[tuple[tuple[int, ...], float]] = []
    dropout, attend = F.dropout, F.scaled_dot_product_attention

    def note_dropout(values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if training and p > 0:
            seen.append((tuple(values.shape), p))
        return dropout(values, p, training, inplace)

    def note_attention(query: Tensor, *others: Any, dropout_p: float = 0.0, **options: Any) -> Tensor:
        if dropout_p > 0:
            seen.append((tuple(query.shape), dropout_p))
        return attend(query, *others, dropout_p=dropout_p, **options)

    monkeypatch.setattr(F, "dropout", note_dropout)
    monkeypatch.setattr(F, "scaled_dot_product_attention", note_attention)
    return seen
