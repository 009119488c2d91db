"""A plain SGRE head, written down as the paper's program computes it: what `label_attention.py` measures against.

Nothing is clever here: label embeddings repeated over the batch, both linear layers of the attention applied to the
whole tensor of tangents, `nn.MultiheadAttention` with the averaged maps that nobody reads, tokens and context joined
before the classifier. Parameters bear the published names, so that weights can be carried over.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

ATTENTION_WIDTH = 1024
FEEDFORWARD = 2048
HEADS = 8


class PlainAttention(nn.Module):
    """Features [B, L, D] and maps [B, L, N] of labels from tokens [B, N, D] and label embeddings [L, E]."""

    def __init__(self, dim: int, embedding_dim: int, width: int = ATTENTION_WIDTH) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, width, bias=False)
        self.linear2 = nn.Linear(embedding_dim, width, bias=False)
        self.hidden_linear = nn.Linear(width, width)
        self.target_linear = nn.Linear(width, 1)

    def forward(self, tokens: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Features of every label, and where it looked."""
        labels = self.linear2(embeddings.repeat(len(tokens), 1, 1))  # [B, L, K]
        tangents = torch.tanh(self.linear1(tokens)[:, None] * labels[:, :, None])  # [B, L, N, K]
        scores = self.target_linear(self.hidden_linear(tangents)).squeeze(-1)  # [B, L, N]
        maps = scores.softmax(dim=-1)
        return maps @ tokens, maps


class PlainLayer(nn.Module):
    """Self-attention and feed-forward over tokens [B, N, D], normalised after each step."""

    def __init__(self, dim: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, HEADS, dropout=dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(dim, FEEDFORWARD), nn.Linear(FEEDFORWARD, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout, self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """New tokens."""
        tokens = self.norm1(tokens + self.dropout1(self.self_attn(tokens, tokens, tokens)[0]))
        hidden = self.dropout(torch.relu(self.linear1(tokens)))
        return self.norm2(tokens + self.dropout2(self.linear2(hidden)))


class PlainHead(nn.Module):
    """Logits [B, L], logits of the label features [B, L] and maps [B, L, N] from tokens [B, N, D]."""

    def __init__(self, dim: int, num_labels: int, embedding_dim: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList([PlainLayer(dim)])})
        self.embeddings = nn.Parameter(torch.empty(num_labels, embedding_dim))
        self.attention = PlainAttention(dim, embedding_dim)
        self.fc = nn.Linear(dim, num_labels)
        self.fc2 = nn.Sequential(
            nn.Linear(2 * dim, 2 * dim), nn.ReLU(), nn.Dropout(0.5), nn.Linear(2 * dim, num_labels)
        )
        self.net1, self.net2, self.net3, self.net4 = (
            nn.Sequential(nn.Conv1d(dim, dim, 1, bias=False), nn.BatchNorm1d(dim), nn.ReLU()) for _ in range(4)
        )

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score every label."""
        for layer in self.encoder["layers"]:
            tokens = layer(tokens)
        features, maps = self.attention(tokens, self.embeddings)
        label_logits = (features * self.fc.weight).sum(dim=-1) + self.fc.bias
        channels, label_channels = tokens.transpose(1, 2), features.transpose(1, 2)  # [B, D, N], [B, D, L]
        shares = (self.net1(channels).transpose(1, 2) @ self.net2(label_channels)).softmax(dim=-1)  # [B, N, L]
        context = shares @ self.net3(label_channels).transpose(1, 2)  # [B, N, D]
        context = self.net4(context.transpose(1, 2)).transpose(1, 2)
        votes = self.fc2(torch.cat((tokens, context), dim=-1))  # [B, N, L]
        return votes.max(dim=1).values, label_logits, maps
