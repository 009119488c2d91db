"""A plain HLEG head and objective, written down as the paper's program computes them, step by step.

Nothing is clever here: one `nn.MultiheadAttention` per attention (with the averaged maps that nobody reads), tokens
first, Python loops over groups and labels, float64 targets. Parameters bear the published names, so that weights can
be carried over. It is what `hleg_step.py` measures against, and a second opinion for the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Groups = Sequence[Sequence[int]]


def sine_position(height: int, width: int, dim: int) -> Tensor:
    """Position code [1, D, h, w]."""
    half = dim // 2
    code = torch.zeros(1, dim, height, width)
    for k in range(half):
        divisor = 10000 ** (2 * (k // 2) / half)
        function = math.cos if k % 2 else math.sin
        for i in range(height):
            code[0, k, i, :] = function((i + 1) / (height + 1e-6) * 2 * math.pi / divisor)
        for j in range(width):
            code[0, half + k, :, j] = function((j + 1) / (width + 1e-6) * 2 * math.pi / divisor)
    return code


class PlainEncoderLayer(nn.Module):
    """Self-attention and feed-forward over tokens [N, B, D]."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, dropout=dropout)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout, self.pre_norm = nn.Dropout(dropout), pre_norm

    def feed_forward(self, x: Tensor) -> Tensor:
        """Two linear layers, position by position."""
        return self.linear2(self.dropout(F.relu(self.linear1(x))))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """Refine tokens x, with their position code."""
        if self.pre_norm:
            z = self.norm1(x)
            x = x + self.dropout(self.self_attn(z + position, z + position, z)[0])
            return x + self.dropout(self.feed_forward(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.self_attn(x + position, x + position, x)[0]))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class PlainDecoderLayer(nn.Module):
    """Optional self-attention, cross-attention and feed-forward over labels [K, B, D]."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float, pre_norm: bool, keep_self: bool) -> None:
        super().__init__()
        if keep_self:
            self.self_attn, self.norm1 = nn.MultiheadAttention(dim, heads, dropout=dropout), nn.LayerNorm(dim)
        self.multihead_attn = nn.MultiheadAttention(dim, heads, dropout=dropout)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout, self.pre_norm, self.keep_self = nn.Dropout(dropout), pre_norm, keep_self

    def feed_forward(self, x: Tensor) -> Tensor:
        """Two linear layers, position by position."""
        return self.linear2(self.dropout(F.relu(self.linear1(x))))

    def forward(self, t: Tensor, q: Tensor, memory: Tensor, position: Tensor) -> Tensor:
        """Refine targets t with queries q."""
        if self.pre_norm:
            if self.keep_self:
                z = self.norm1(t)
                t = t + self.dropout(self.self_attn(z + q, z + q, z)[0])
            t = t + self.dropout(self.multihead_attn(self.norm2(t) + q, memory + position, memory)[0])
            return t + self.dropout(self.feed_forward(self.norm3(t)))
        if self.keep_self:
            t = self.norm1(t + self.dropout(self.self_attn(t + q, t + q, t)[0]))
        t = self.norm2(t + self.dropout(self.multihead_attn(t + q, memory + position, memory)[0]))
        return self.norm3(t + self.dropout(self.feed_forward(t)))


class PlainHead(nn.Module):
    """The head over a feature map [B, C, h, w] and three levels, given as groups of children.

    Args:
        middle: fine labels of each middle group.
        coarse: middle labels of each coarse group.
        channels: C.
        dim: hidden width D.
        heads: attention heads.
        hidden: feed-forward width.
        grid: height and width of the feature map.
        encoder_layers: how many.
        dropout: probability.
        options: pre_norm, keep_first, keep_other.
    """

    def __init__(
        self,
        middle: Groups,
        coarse: Groups,
        *,
        channels: int,
        dim: int,
        heads: int,
        hidden: int,
        grid: tuple[int, int] = (7, 7),
        encoder_layers: int = 1,
        dropout: float = 0.0,
        options: tuple[bool, bool, bool] = (False, False, False),
    ) -> None:
        super().__init__()
        pre_norm, keep_first, keep_other = options
        sizes = (sum(len(group) for group in middle), len(middle), len(coarse))
        num_tokens = grid[0] * grid[1]
        self.middle, self.coarse = middle, coarse
        self.backbone = nn.ModuleList([nn.Identity(), nn.Module()])
        self.backbone[1].register_buffer("pe", sine_position(*grid, dim))
        if channels != dim:
            self.input_proj = nn.Conv2d(channels, dim, 1)
        layer = (dim, heads, hidden, dropout, pre_norm)
        self.transformer = nn.Module()
        self.transformer.encoder, self.transformer.decoder = nn.Module(), nn.Module()
        encoder, decoder = self.transformer.encoder, self.transformer.decoder
        encoder.layers = nn.ModuleList(PlainEncoderLayer(*layer) for _ in range(encoder_layers))
        if pre_norm:
            encoder.norm = nn.LayerNorm(dim)
        decoder.layers = nn.ModuleList(PlainDecoderLayer(*layer, keep) for keep in (keep_first, keep_other, keep_other))
        decoder.norm = nn.LayerNorm(dim)
        decoder.proj_m_t1, decoder.proj_m_t2 = nn.Linear(num_tokens, sizes[1]), nn.Linear(num_tokens, sizes[2])
        self.transformer.pro_m_t = nn.Linear(num_tokens, sizes[0])
        self.query_embed = nn.Embedding(sizes[0], dim)
        for name, size in zip(("fc_num_class", "fc_middle", "fc_coarse"), sizes, strict=True):
            classifier = nn.Module()
            classifier.W = nn.Parameter(torch.randn(1, size, dim) * dim**-0.5)
            classifier.b = nn.Parameter(torch.randn(1, size) * dim**-0.5)
            setattr(self, name, classifier)

    def forward(self, feature_map: Tensor) -> list[Tensor]:
        """Logits fine, middle, coarse."""
        if hasattr(self, "input_proj"):
            feature_map = self.input_proj(feature_map)
        memory = feature_map.flatten(2).permute(2, 0, 1)  # [N, B, D]
        position = self.backbone[1].pe.repeat(len(feature_map), 1, 1, 1).flatten(2).permute(2, 0, 1)
        encoder, decoder = self.transformer.encoder, self.transformer.decoder
        for layer in encoder.layers:
            memory = layer(memory, position)
        if len(encoder.layers) and hasattr(encoder, "norm"):
            memory = encoder.norm(memory)
        query = self.query_embed.weight[:, None].repeat(1, len(feature_map), 1)  # [L, B, D]
        logits: list[Tensor] = []
        output = query
        projections = (self.transformer.pro_m_t, decoder.proj_m_t1, decoder.proj_m_t2)
        classifiers = (self.fc_num_class, self.fc_middle, self.fc_coarse)
        for level, groups in enumerate((None, self.middle, self.coarse)):
            if groups is not None:
                query = group_means(output, groups)
            mixed = projections[level](memory.permute(1, 2, 0))  # [B, D, K]
            output = decoder.layers[level](mixed.sigmoid().permute(2, 0, 1), query, memory, position)
            features = decoder.norm(output).transpose(0, 1)  # [B, K, D]
            logits.append((classifiers[level].W * features).sum(-1) + classifiers[level].b)
        return logits


def group_means(features: Tensor, groups: Groups) -> Tensor:
    """Mean over each group's children, joined one after the other: [K, B, D] → [groups, B, D]."""
    result = features[:0]
    for group in groups:
        result = torch.cat((result, torch.stack([features[child] for child in group]).mean(dim=0, keepdim=True)))
    return result


def lift(targets: Tensor, groups: Groups) -> Tensor:
    """Targets of the level above, [B, groups]: on where any child is."""
    lifted = torch.zeros(len(targets), len(groups), dtype=targets.dtype)
    for image in range(len(targets)):
        for index, group in enumerate(groups):
            if any(targets[image][child] == 1 for child in group):
                lifted[image][index] = 1
    return lifted


def asymmetric(logits: Tensor, targets: Tensor, gamma_neg: float = 2.0, eps: float = 1e-5) -> Tensor:
    """Asymmetric loss per image, without clip and positive focus, summed over labels."""
    positive = logits.sigmoid()
    negative = 1 - positive
    loss = targets * positive.clamp(min=eps).log() + (1 - targets) * negative.clamp(min=eps).log()
    with torch.no_grad():
        weight = (1 - positive * targets - negative * (1 - targets)) ** (gamma_neg * (1 - targets))
    return -(loss * weight).sum(dim=1)


def plain_objective(head: PlainHead, logits: Sequence[Tensor], targets: Tensor, alpha_fine: float = 0.1) -> Tensor:
    """Mean over images of the hardest level, plus a share of the fine one."""
    middle = lift(targets, head.middle)
    levels = (targets, middle, lift(middle, head.coarse))
    losses = torch.stack([asymmetric(x, y) for x, y in zip(logits, levels, strict=True)])
    return losses.max(dim=0).values.mean() + alpha_fine * losses[0].mean()
