"""Small label trees, backbones and models for the HLEG tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.methods.hleg.config import Hleg

MIDDLE = [[2, 0], [1], [4, 3, 6], [5]]  # fine labels of each middle group
COARSE = [[3, 1], [0, 2]]  # middle labels of each coarse group
SMALL = {"hidden_dim": 16, "feedforward_dim": 24, "num_heads": 2, "dropout": 0.0}


def tree(depth: int = 3) -> LabelSpace:
    """7 fine labels, 4 groups of them, 2 groups of groups, and 1 of all."""
    parents = [[0, 0], _parents(COARSE), _parents(MIDDLE)][3 - (depth - 1) :] if depth > 1 else []
    names = [[f"{i}" for i in range(size)] for size in (1, 2, 4, 7)][4 - depth :]
    return LabelSpace.from_parents(names, parents, {"object": [0, 3], "context": [2]})


def _parents(groups: list[list[int]]) -> list[int]:
    parent = {child: index for index, group in enumerate(groups) for child in group}
    return [parent[child] for child in range(len(parent))]


class TinyBackbone(nn.Module):
    """One strided convolution: images of 8 x 8 pixels per grid cell to C features."""

    def __init__(self, grid: tuple[int, int] = (2, 3), num_features: int = 16) -> None:
        super().__init__()
        self.grid, self.num_features, self.class_tokens = grid, num_features, 0
        self.model = nn.Conv2d(3, num_features, kernel_size=8, stride=8)

    def forward(self, images: Tensor) -> Tensor:
        """Grid features [B, N, C]."""
        return self.model(images).relu().flatten(2).transpose(1, 2)


def make(depth: int = 3, *, backbone: nn.Module | None = None, **fields: Any) -> tuple[Hleg, nn.Module]:
    """Section and network."""
    torch.manual_seed(0)
    section = Hleg(**{**SMALL, **fields})
    return section, section.build(backbone or TinyBackbone(), tree(depth))  # type: ignore[arg-type]


def batch_of(size: int = 4, grid: tuple[int, int] = (2, 3), seed: int = 0) -> LabelBatch:
    """Random images, targets and object masks."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, 8 * grid[0], 8 * grid[1], generator=generator)
    targets = (torch.rand(size, 7, generator=generator) < 0.4).float()
    targets[:, 0] = 1
    masks = torch.rand(size, 1, *grid, generator=generator)
    return LabelBatch(images, targets, None, torch.arange(size), masks)
