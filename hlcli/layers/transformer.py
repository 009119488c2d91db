"""Transformer layers over grid tokens (encoder) and labels (decoder), with normalisation after or before each step.

Shapes: B batch, N grid tokens, K labels of a level, D width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from hlcli.layers.attention import MultiHeadAttention


class FeedForward(nn.Module):
    """Two linear layers with a rectifier between them: D → hidden → D; Xavier-uniform or torch's own first weights."""

    def __init__(self, dim: int, hidden: int, dropout: float, *, xavier: bool = True) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.dropout = dropout
        if xavier:
            nn.init.xavier_uniform_(self.expand.weight)
            nn.init.xavier_uniform_(self.contract.weight)

    def forward(self, features: Tensor) -> Tensor:
        """[…, D] → […, D]."""
        hidden = F.dropout(F.relu(self.expand(features)), self.dropout, self.training)
        return self.contract(hidden)


class EncoderLayer(nn.Module):
    """Self-attention between grid tokens, then a feed-forward step; positions steer queries and keys only.

    Args:
        dim: D.
        num_heads: heads of the attention.
        feedforward_dim: hidden width of the feed-forward step.
        dropout: probability, on attention weights, hidden units and results.
        pre_norm: normalise before each step instead of after it.
        xavier: draw all matrices Xavier-uniform; else the linear layers keep torch's own first weights.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float,
        *,
        pre_norm: bool = False,
        xavier: bool = True,
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(dim, num_heads, dropout, xavier=xavier)
        self.self_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, feedforward_dim, dropout, xavier=xavier)
        self.feed_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm

    def forward(self, tokens: Tensor, position: Tensor | None) -> Tensor:
        """tokens [B, N, D], position [N, D] or None → [B, N, D]."""
        if self.pre_norm:
            tokens = tokens + self.dropout(self._attend(self.self_norm(tokens), position))
            return tokens + self.dropout(self.feed_forward(self.feed_norm(tokens)))
        tokens = self.self_norm(tokens + self.dropout(self._attend(tokens, position)))
        return self.feed_norm(tokens + self.dropout(self.feed_forward(tokens)))

    def _attend(self, tokens: Tensor, position: Tensor | None) -> Tensor:
        placed = tokens if position is None else tokens + position
        return self.self_attention(placed, placed, tokens)[0]


class Encoder(nn.Module):
    """A stack of encoder layers. No layers: the identity.

    Args:
        layers: from first to last.
        dim: D.
        final_norm: normalise the last result once more; default in pre-norm only.
    """

    def __init__(self, layers: list[EncoderLayer], dim: int, *, final_norm: bool | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        if final_norm is None:
            final_norm = bool(layers) and layers[-1].pre_norm
        self.norm = nn.LayerNorm(dim) if final_norm else nn.Identity()

    def forward(self, tokens: Tensor, position: Tensor | None) -> Tensor:
        """tokens [B, N, D], position [N, D] or None → [B, N, D]."""
        for layer in self.layers:
            tokens = layer(tokens, position)
        return self.norm(tokens)


class DecoderLayer(nn.Module):
    """Labels attend to each other (optional), then to the grid tokens, then pass a feed-forward step.

    Args:
        dim: D.
        num_heads: heads of each attention.
        feedforward_dim: hidden width of the feed-forward step.
        dropout: probability, on attention weights, hidden units and results.
        pre_norm: normalise before each step instead of after it.
        has_self_attention: whether labels attend to each other.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float,
        *,
        pre_norm: bool,
        has_self_attention: bool,
    ) -> None:
        super().__init__()
        if has_self_attention:
            self.self_attention = MultiHeadAttention(dim, num_heads, dropout)
            self.self_norm = nn.LayerNorm(dim)
        self.cross_attention = MultiHeadAttention(dim, num_heads, dropout)
        self.cross_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, feedforward_dim, dropout)
        self.feed_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm
        self.has_self_attention = has_self_attention

    def forward(
        self, label_features: Tensor, queries: Tensor, keys: Tensor, values: Tensor, *, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Refine the features of one level's labels.

        Args:
            label_features: [B, K, D], what the residual branch starts from.
            queries: [K, D] or [B, K, D], added to the features wherever they are compared.
            keys: [B, N, D], tokens with their positions.
            values: [B, N, D], tokens without.
            need_weights: also return the cross-attention maps.

        Returns:
            New label_features [B, K, D], and maps [B, K, N] averaged over heads or None.
        """
        if self.pre_norm:
            return self._normalise_before(label_features, queries, keys, values, need_weights)
        if self.has_self_attention:
            label_features = self.self_norm(label_features + self._between_labels(label_features, queries))
        context, maps = self.cross_attention(label_features + queries, keys, values, need_weights=need_weights)
        label_features = self.cross_norm(label_features + self.dropout(context))
        return self.feed_norm(label_features + self.dropout(self.feed_forward(label_features))), maps

    def _normalise_before(
        self, label_features: Tensor, queries: Tensor, keys: Tensor, values: Tensor, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        if self.has_self_attention:
            label_features = label_features + self._between_labels(self.self_norm(label_features), queries)
        normed = self.cross_norm(label_features)
        context, maps = self.cross_attention(normed + queries, keys, values, need_weights=need_weights)
        label_features = label_features + self.dropout(context)
        return label_features + self.dropout(self.feed_forward(self.feed_norm(label_features))), maps

    def _between_labels(self, label_features: Tensor, queries: Tensor) -> Tensor:
        placed = label_features + queries
        return self.dropout(self.self_attention(placed, placed, label_features)[0])
