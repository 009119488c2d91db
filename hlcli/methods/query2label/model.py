"""Query2Label: labels ask the image.

Liu, Zhang, Yang, Su and Zhu, "Query2Label: A Simple Transformer Way to Multi-Label Classification", arXiv 2107.10834,
2021. Every label has a learned query; decoder layers let it gather from the feature map what speaks for that label,
and a vector of its own turns what was gathered into a score. HLEG grows out of it: one decoder layer per level there,
all layers for the one level here.

Shapes: B batch, N tokens (h * w grid cells, after a class token if there is one), C backbone width, D hidden width,
L labels. Numbers in parentheses are equations of docs/methods/query2label.md, which also lists the differences from
the published program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hlcli.layers.grouped_linear import GroupedLinear
from hlcli.layers.position import check_num_tokens, sine_position
from hlcli.layers.transformer import DecoderLayer, Encoder


class Output(NamedTuple):
    """Scores of an image batch before the sigmoid."""

    logits: Tensor  # [B, L]


class Query2Label(nn.Module):
    """Backbone, encoder over tokens, decoder over labels, one vector per label.

    Args:
        backbone: images to grid features.
        encoder: transformer over tokens.
        decoder: the labels' layers, from first to last.
        num_features: C; where it is not D, a linear layer leads there.
        hidden_dim: D.
        num_labels: L.
        grid: height and width of the feature map.
        class_tokens: tokens before the grid, 0 or 1.
    """

    position: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        encoder: Encoder,
        decoder: Sequence[DecoderLayer],
        *,
        num_features: int,
        hidden_dim: int,
        num_labels: int,
        grid: tuple[int, int],
        class_tokens: int = 0,
    ) -> None:
        super().__init__()
        self.grid, self.class_tokens = grid, class_tokens
        self.backbone = backbone
        self.input_projection = nn.Linear(num_features, hidden_dim) if num_features != hidden_dim else nn.Identity()
        self.register_buffer("position", sine_position(*grid, hidden_dim, class_tokens=class_tokens))  # (1): [N, D]
        self.encoder = encoder
        self.queries = nn.Parameter(torch.randn(num_labels, hidden_dim))
        self.decoder = nn.ModuleList(decoder)
        self.final_norm = nn.LayerNorm(hidden_dim)
        self.classifier = GroupedLinear(num_labels, hidden_dim)

    def forward(self, images: Tensor) -> Output:
        """Score images [B, 3, H, W]."""
        return self._decode(images, need_maps=False)[0]

    def attention_maps(self, images: Tensor) -> tuple[Output, Tensor]:
        """The scores, and where labels look in the last layer: [B, L, h, w]; rows sum to 1 without a class token."""
        output, maps = self._decode(images, need_maps=True)
        assert maps is not None
        return output, maps[..., self.class_tokens :].unflatten(-1, self.grid)

    def _decode(self, images: Tensor, *, need_maps: bool) -> tuple[Output, Tensor | None]:
        tokens = self.input_projection(self.backbone(images))  # [B, N, D]
        check_num_tokens(tokens.shape[1], self.grid, self.class_tokens)
        memory = self.encoder(tokens, self.position)  # (2): [B, N, D]
        keys = memory + self.position
        label_features = torch.zeros_like(self.queries).expand(memory.shape[0], -1, -1)  # [B, L, D]
        maps = None
        for layer in self.decoder:
            # (3): [B, L, D]
            label_features, maps = layer(label_features, self.queries, keys, memory, need_weights=need_maps)
        return Output(self.classifier(self.final_norm(label_features))), maps  # (4)
