"""SGRE's head once more, step by step as the specification lists them, slow, under the published names."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PlainLayer(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int, pre_norm: bool) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.pre_norm = pre_norm

    def forward(self, x: Tensor, position: Tensor | float) -> Tensor:
        if self.pre_norm:
            z = self.norm1(x)
            x = x + self.self_attn(z + position, z + position, z)[0]
            return x + self.linear2(self.linear1(self.norm2(x)).relu())
        x = self.norm1(x + self.self_attn(x + position, x + position, x)[0])
        return self.norm2(x + self.linear2(self.linear1(x).relu()))


class PlainAttention(nn.Module):
    def __init__(self, dim: int, text: int, width: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(dim, width, bias=False), nn.Linear(text, width, bias=False)
        self.hidden_linear, self.target_linear = nn.Linear(width, width), nn.Linear(width, 1)


class PlainHead(nn.Module):
    """The whole head; `grid` is the place of the cells, after `class_tokens` others."""

    def __init__(
        self,
        *,
        labels: int,
        dim: int,
        grid: tuple[int, int],
        text: int = 10,
        layers: int = 1,
        heads: int = 2,
        pre_norm: bool = False,
        positions: bool = True,
        tau: float = 1.0,
        given: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.tau, self.positions = tau, positions
        self.position_embedding = nn.Module()
        self.position_embedding.register_buffer("pe", table(dim, *grid))
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(PlainLayer(dim, heads, 12, pre_norm) for _ in range(layers))
        self.attention = PlainAttention(dim, text, 14)
        if given is None:
            self.embeddings = nn.Parameter(torch.randn(labels, text))
        self.given = [given]  # in a list: no part of the state
        self.fc = nn.Linear(dim, labels)
        self.fc2 = nn.Sequential(nn.Linear(2 * dim, 2 * dim), nn.ReLU(), nn.Dropout(0.0), nn.Linear(2 * dim, labels))
        for number in range(1, 5):
            step = nn.Sequential(nn.Conv1d(dim, dim, 1, bias=False), nn.BatchNorm1d(dim), nn.ReLU())
            self.add_module(f"net{number}", step)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, C], logits of the label branch [B, C], maps [B, C, N]."""
        embeddings = self.embeddings if self.given[0] is None else self.given[0]
        pe = self.position_embedding.pe.flatten(2).transpose(1, 2)  # [1, h w, D]
        pe = torch.cat((pe.new_zeros(1, tokens.shape[1] - pe.shape[1], pe.shape[2]), pe), dim=1)
        x = tokens
        for layer in self.encoder.layers:
            x = layer(x, pe if self.positions else 0.0)
        u, v = self.attention.linear1(x), self.attention.linear2(embeddings)
        t = torch.tanh(u[:, None] * v[None, :, None])  # [B, C, N, A]
        s = self.attention.target_linear(self.attention.hidden_linear(t))[..., 0]
        alpha = (s / self.tau).softmax(dim=-1)
        f = alpha @ x  # [B, C, D]
        logits1 = torch.einsum("bcd,cd->bc", f, self.fc.weight) + self.fc.bias

        def net(number: int, features: Tensor) -> Tensor:
            return self.get_submodule(f"net{number}")(features.transpose(1, 2)).transpose(1, 2)

        beta = (net(1, x) @ net(2, f).transpose(1, 2)).softmax(dim=-1)  # [B, N, C]
        context = net(4, beta @ net(3, f))
        logits2 = self.fc2(torch.cat((x, context), dim=-1)).max(dim=1)[0]
        return logits2, logits1, alpha


def table(dim: int, height: int, width: int) -> Tensor:
    """Sine positions [1, D, h, w], number by number."""
    share = dim // 2
    values = torch.zeros(1, dim, height, width)
    for row in range(height):
        for column in range(width):
            for channel in range(dim):
                m = channel % share
                place = (row + 1) / (height + 1e-6) if channel < share else (column + 1) / (width + 1e-6)
                angle = place * 2 * math.pi / 10000 ** (2 * (m // 2) / share)
                values[0, channel, row, column] = math.sin(angle) if m % 2 == 0 else math.cos(angle)
    return values


def plain_loss(logits: Tensor, targets: Tensor, *, kind: str, plus: float, minus: float, clip: float) -> Tensor:
    """The two losses of the specification, with its factor."""
    p = logits.sigmoid()
    if kind == "bce":
        return -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()
    n = (1 - p + clip).clamp(max=1) if clip > 0 else 1 - p
    loss = targets * p.clamp(min=1e-5).log() + (1 - targets) * n.clamp(min=1e-5).log()
    if plus > 0 or minus > 0:
        weight = (1 - p * targets - n * (1 - targets)) ** (plus * targets + minus * (1 - targets))
        loss = loss * weight.detach()
    return -loss.sum() / logits.shape[0] / logits.shape[1] * 1000
