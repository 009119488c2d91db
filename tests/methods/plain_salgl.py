"""SALGL written a second time, plainly and slowly, from its specification: the second opinion of the tests.

Weights carry the published names; images are counted one after the other; nothing is merged.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainEncoderLayer(nn.Module):
    """Attention between tokens, feed-forward step, a norm after each."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        nn.init.normal_(self.self_attn.in_proj_bias)  # Adam with coupled decay blows the keys' up from rounding noise
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, position: Tensor | None) -> Tensor:
        placed = tokens if position is None else tokens + position
        tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens)[0])
        return self.norm2(tokens + self.linear2(F.relu(self.linear1(tokens))))


class PlainGraph(nn.Module):
    """Gated messages, gate by gate."""

    def __init__(self, dim: int, steps: int, two_way: bool) -> None:
        super().__init__()
        self.steps, self.two_way = steps, two_way
        for gate in (1, 2, 3):
            setattr(self, f"fc{gate}_w", nn.Linear(2 * dim if two_way else dim, dim))
            setattr(self, f"fc{gate}_u", nn.Linear(dim, dim))

    def forward(self, state: Tensor, graph: Tensor) -> Tensor:
        for _ in range(self.steps):
            message = graph.bmm(state)
            if self.two_way:
                message = torch.cat((message, graph.transpose(1, 2).bmm(state)), dim=2)
            update = torch.sigmoid(self.fc1_w(message) + self.fc1_u(state))
            reset = torch.sigmoid(self.fc2_w(message) + self.fc2_u(state))
            candidate = torch.tanh(self.fc3_w(message) + self.fc3_u(reset * state))
            state = (1 - update) * state + update * candidate
        return state


class PlainAttention(nn.Module):
    """Two linear layers over a tensor [B, L, N, K]."""

    def __init__(self, dim: int, embedding_dim: int, width: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(dim, width, bias=False), nn.Linear(embedding_dim, width, bias=False)
        self.hidden_linear, self.target_linear = nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, tokens: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.tanh(self.linear1(tokens)[:, None] * self.linear2(embeddings)[None, :, None])
        maps = self.target_linear(self.hidden_linear(both)).squeeze(3).softmax(dim=2)
        return maps.bmm(tokens), maps


class PlainClassifier(nn.Module):
    """A vector and a number per label."""

    def __init__(self, num_labels: int, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(num_labels, dim)), nn.Parameter(torch.randn(num_labels))


class PlainPosition(nn.Module):
    """Sines of rows, then of columns, cell by cell."""

    def __init__(self, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        table = torch.zeros(1, dim, *grid)
        half = dim // 2
        for axis, length in enumerate(grid):
            for place in range(length):
                angle = 2 * math.pi * (place + 1) / (length + 1e-6)
                for channel in range(half):
                    phase = angle / 10000 ** (2 * (channel // 2) / half)
                    value = math.cos(phase) if channel % 2 else math.sin(phase)
                    table.select(2 + axis, place)[0, axis * half + channel] = value
        self.register_buffer("pe", table)


class PlainSalgl(nn.Module):
    """From tokens and targets to logits, entropies, graph and counts."""

    def __init__(
        self,
        *,
        num_labels: int = 7,
        num_scenes: int = 3,
        dim: int = 16,
        embedding_dim: int | None = None,
        steps: int = 2,
        soft: bool = False,
        two_way: bool = False,
        ignore_self: bool = False,
        normalize: bool = False,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.soft, self.ignore_self, self.normalize, self.steps = soft, ignore_self, normalize, steps
        if embedding_dim is None:
            self.embeddings = nn.Parameter(torch.randn(num_labels, dim))
        else:
            self.register_buffer("embeddings", torch.randn(num_labels, embedding_dim))
        self.register_buffer("comatrix", torch.zeros(num_scenes, num_labels, num_labels))
        self.tb = nn.ModuleDict({"layers": nn.ModuleList([PlainEncoderLayer(dim, 4, 24)])})
        if grid is not None:
            self.position_embedding = PlainPosition(dim, grid)
        self.scene_linear = nn.Linear(dim, num_scenes, bias=False)
        self.ggnn = PlainGraph(dim, steps, two_way)
        self.attention = PlainAttention(dim, embedding_dim or dim, 20)
        self.fc = nn.Sequential(nn.Linear(2 * dim if steps else dim, dim), nn.Tanh())
        self.classifier = PlainClassifier(num_labels, dim)

    def forward(self, tokens: Tensor, targets: Tensor | None = None, detach: bool = False) -> dict[str, Tensor]:
        position = (
            self.position_embedding.pe.flatten(2).transpose(1, 2) if hasattr(self, "position_embedding") else None
        )
        tokens = self.tb["layers"][0](tokens, position)
        probs = self.scene_linear(tokens.mean(dim=1)).softmax(dim=1)
        counts = self.comatrix
        if targets is not None:
            for image in range(len(tokens)):
                pairs = torch.outer(targets[image], targets[image])
                share = probs[image] if self.soft else F.one_hot(probs[image].argmax(), probs.shape[1]).to(probs)
                counts = counts + (share.detach() if detach else share)[:, None, None] * pairs
            self.comatrix = counts.detach()
        graphs = torch.stack([self.conditional(scene) for scene in counts])
        if self.soft:
            graph = torch.stack([sum(p * g for p, g in zip(image, graphs, strict=True)) for image in probs])
        else:
            graph = torch.stack([graphs[image.argmax()] for image in probs])
        visual, maps = self.attention(tokens, self.embeddings)
        told = self.ggnn(visual, graph)
        joined = torch.cat((visual, told), dim=2) if self.steps else visual
        fused = self.fc(joined)
        logits = (fused * self.classifier.weight).sum(dim=2) + self.classifier.bias
        mean = torch.stack([entropy(image) for image in probs]).mean()
        even = entropy(torch.full_like(probs[0], 1 / probs.shape[1]))
        return {
            "logits": logits,
            "scene_probs": probs,
            "attention_maps": maps,
            "adjacency": graph,
            "sample_entropy": mean,
            "batch_entropy": 100 * (even - entropy(probs.mean(dim=0))),
        }

    def conditional(self, counts: Tensor) -> Tensor:
        rows = []
        for label, row in enumerate(counts):
            row = row / (row[label] + 1e-8)
            if self.ignore_self:
                row = row * (torch.arange(len(row)) != label)
            if self.normalize:
                row = row / (row.sum() + 1e-8)
            rows.append(row)
        return torch.stack(rows)


def entropy(probs: Tensor) -> Tensor:
    return -sum(p * torch.log(p + 1e-7) for p in probs)


def plain_asymmetric(
    logits: Tensor, targets: Tensor, gamma_pos: float = 0.0, gamma_neg: float = 2.0, clip: float = 0.0
) -> Tensor:
    """The published classification loss, times 1000, mean over images and labels."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, truth in zip(logits, targets, strict=True):
        for logit, y in zip(row, truth, strict=True):
            pos = torch.sigmoid(logit)
            neg = torch.clamp(1 - pos + clip, max=1)
            loss = torch.log(torch.clamp(pos if y else neg, min=1e-5))
            if gamma_pos or gamma_neg:
                loss = loss * ((1 - (pos if y else neg)).detach() ** (gamma_pos if y else gamma_neg))
            total = total - loss
    return total / logits.numel() * 1000
