"""Query2Label once more, from torch's own attention, by the published names: slow, plain, an independent check."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainEncoderLayer(nn.Module):
    """Tokens attend to each other; positions steer queries and keys."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """[N, B, D] → [N, B, D]."""
        placed = tokens + position
        tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens)[0])
        return self.norm2(tokens + self.linear2(F.relu(self.linear1(tokens))))


class PlainDecoderLayer(nn.Module):
    """Labels look at tokens, after they have looked at each other where they do."""

    def __init__(self, dim: int, heads: int, hidden: int, *, self_attention: bool) -> None:
        super().__init__()
        if self_attention:
            self.self_attn, self.norm1 = nn.MultiheadAttention(dim, heads), nn.LayerNorm(dim)
        self.multihead_attn = nn.MultiheadAttention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.self_attention = self_attention

    def forward(self, labels: Tensor, queries: Tensor, tokens: Tensor, position: Tensor) -> Tensor:
        """[L, B, D] → [L, B, D]."""
        if self.self_attention:
            placed = labels + queries
            labels = self.norm1(labels + self.self_attn(placed, placed, labels)[0])
        context, _ = self.multihead_attn(labels + queries, tokens + position, tokens)
        labels = self.norm2(labels + context)
        return self.norm3(labels + self.linear2(F.relu(self.linear1(labels))))


class PlainQuery2Label(nn.Module):
    """Everything behind the feature map [B, C, h, w]."""

    def __init__(self, sizes: tuple[int, int, int], num_features: int, num_labels: int, position: Tensor, **fields):
        super().__init__()
        dim = sizes[0]
        self.position = position  # [D, h, w]
        self.input_proj = nn.Conv2d(num_features, dim, kernel_size=1) if num_features != dim else nn.Identity()
        self.query_embed = nn.Embedding(num_labels, dim)
        self.transformer = nn.Module()
        self.transformer.encoder, self.transformer.decoder = nn.Module(), nn.Module()
        self.transformer.encoder.layers = nn.ModuleList(
            PlainEncoderLayer(*sizes) for _ in range(fields["encoder_layers"])
        )
        self.transformer.decoder.layers = nn.ModuleList(
            PlainDecoderLayer(*sizes, self_attention=fields["self_attention"]) for _ in range(fields["decoder_layers"])
        )
        self.transformer.decoder.norm = nn.LayerNorm(dim)
        self.fc = nn.Module()
        self.fc.W, self.fc.b = nn.Parameter(torch.empty(1, num_labels, dim)), nn.Parameter(torch.empty(1, num_labels))

    def forward(self, feature_map: Tensor) -> Tensor:
        """Logits [B, L]."""
        tokens = self.input_proj(feature_map).flatten(2).permute(2, 0, 1)  # [N, B, D]
        position = self.position.flatten(1).T[:, None]  # [N, 1, D]
        for layer in self.transformer.encoder.layers:
            tokens = layer(tokens, position)
        queries = self.query_embed.weight[:, None].repeat(1, tokens.shape[1], 1)  # [L, B, D]
        labels = torch.zeros_like(queries)
        for layer in self.transformer.decoder.layers:
            labels = layer(labels, queries, tokens, position)
        found = self.transformer.decoder.norm(labels).transpose(0, 1)  # [B, L, D]
        return torch.einsum("bld,ld->bl", found, self.fc.W[0]) + self.fc.b
