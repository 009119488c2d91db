"""Small backbones, networks and batches for the SGRE tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.methods.sgre.config import Sgre

SMALL: dict[str, Any] = {
    "label_embedding_dim": 10, "attention_dim": 14, "num_heads": 2, "feedforward_dim": 12,
    "dropout": 0.0, "classifier_dropout": 0.0,
}  # fmt: skip


class TinyBackbone(nn.Module):
    """One strided convolution: images of 8 x 8 pixels per grid cell to D features, behind mean tokens if asked for."""

    name = "tiny"

    def __init__(self, grid: tuple[int, int] = (2, 3), num_features: int = 16, class_tokens: int = 0) -> None:
        super().__init__()
        self.grid, self.num_features, self.class_tokens = grid, num_features, class_tokens
        self.model = nn.Conv2d(3, num_features, kernel_size=8, stride=8)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens [B, class_tokens + N, D]."""
        cells = self.model(images).relu().flatten(2).transpose(1, 2)
        return torch.cat((cells.mean(dim=1, keepdim=True).expand(-1, self.class_tokens, -1), cells), dim=1)


class Identity(nn.Module):
    """Tokens pass through."""

    def __init__(self, grid: tuple[int, int], num_features: int, class_tokens: int) -> None:
        super().__init__()
        self.name, self.grid, self.num_features, self.class_tokens = "identity", grid, num_features, class_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens


def make(num_labels: int = 5, *, backbone: nn.Module | None = None, **fields: Any) -> tuple[Sgre, Any]:
    """Section and network."""
    torch.manual_seed(0)
    section = Sgre(**{**SMALL, **fields})
    labels = LabelSpace.flat([f"label {i}" for i in range(num_labels)])
    return section, section.build(backbone or TinyBackbone(), labels)  # type: ignore[arg-type]


def batch_of(num_labels: int = 5, size: int = 4, grid: tuple[int, int] = (2, 3)) -> LabelBatch:
    """Random images and targets."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 3, 8 * grid[0], 8 * grid[1], generator=generator)
    targets = (torch.rand(size, num_labels, generator=generator) < 0.4).float()
    return LabelBatch(images, targets, None, torch.arange(size), None)


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()
