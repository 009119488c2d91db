"""Random pictures, always the same."""

from __future__ import annotations

import torch


def pictures(*size: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))
