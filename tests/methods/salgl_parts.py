"""Small SALGL models and batches for the tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.methods.salgl.config import Salgl

from .hleg_parts import TinyBackbone

SMALL: dict[str, Any] = {
    "num_scenes": 3, "graph_steps": 2, "attention_dim": 20, "num_heads": 4, "feedforward_dim": 24, "dropout": 0.0,
}  # fmt: skip

TINY: dict[str, dict[str, Any]] = {
    "data": {
        "dataset": "shapes", "image_size": 32, "workers": 0, "normalization": "none",
        "num_train": 32, "num_val": 8, "num_test": 4,
    },
    "backbone": {"name": "test_resnet.r160_in1k", "pretrained": False, "freeze_batch_norm": True},
    "model": {
        "method": "salgl", "num_scenes": 3, "graph_steps": 1, "attention_dim": 16, "feedforward_dim": 16,
        "dropout": 0.0, "loss_scale": 10.0,
    },
    "optim": {"optimizer": "sgd", "lr": 1e-3},
    "train": {"epochs": 2, "batch_size": 8, "ema_decay": 0.9, "cpu": True, "checkpoint_every_steps": None},
    "eval": {"batch_size": 8, "select_by": "mAP"},
}  # fmt: skip
"""A recipe that trains in seconds; its batch norms are frozen, so that processes do the same as one."""


def flat(num_labels: int = 7) -> LabelSpace:
    """Labels without a tree."""
    return LabelSpace.from_parents([[f"label {i}" for i in range(num_labels)]], [])


class Tokens(nn.Module):
    """Stands where the backbone does: its images are tokens [B, N, D]."""

    def __init__(self, grid: tuple[int, int] = (2, 3), num_features: int = 16, class_tokens: int = 0) -> None:
        super().__init__()
        self.grid, self.num_features, self.class_tokens = grid, num_features, class_tokens

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The images themselves."""
        return tokens


def make(backbone: nn.Module | None = None, **fields: Any) -> tuple[Salgl, nn.Module]:
    """Section and network."""
    torch.manual_seed(0)
    section = Salgl(**{**SMALL, **fields})
    return section, section.build(backbone or TinyBackbone(), flat())  # type: ignore[arg-type]


def batch_of(size: int = 4, seed: int = 0) -> LabelBatch:
    """Random images and targets."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, 16, 24, generator=generator)
    targets = (torch.rand(size, 7, generator=generator) < 0.4).float()
    targets[:, 0] = 1
    return LabelBatch(images, targets, None, torch.arange(size), None)
