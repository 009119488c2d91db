"""Multi-head attention with two exact ways of computing it.

Shapes: B batch, Q queries, N tokens, D width, H heads, E = D / H width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Attention as in `torch.nn.MultiheadAttention`, with the same parameter names, batch first.

    Plain: project queries, keys and values, then one fused kernel. Folded: leave the tokens as they are, carry the
    queries through the key projection and the gathered values through the value projection. Both are equal in exact
    arithmetic; `folding_pays` counts multiplications.

    Args:
        dim: D.
        num_heads: H, a divisor of D.
        dropout: probability of dropping an attention weight in training.
        xavier: draw the output matrix Xavier-uniform too; else it keeps a linear layer's own first weights.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0, *, xavier: bool = True) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"Expected dim to be a multiple of num_heads, but got {dim} and {num_heads}.")
        self.dim, self.num_heads, self.dropout = dim, num_heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))  # rows: queries, keys, values
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        if xavier:
            nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Gather values by the likeness of queries and keys.

        Args:
            queries: [B, Q, D].
            keys: [B, N, D]; the same object as queries where tokens attend to each other.
            values: [B, N, D].
            need_weights: also return the attention maps, which rules out the fused kernel.

        Returns:
            The result [B, Q, D], and the attention maps [B, Q, N] averaged over heads or None.
        """
        weights: Tensor | None
        if folding_pays(queries.shape[1], keys.shape[1], self.dim, self.num_heads):
            context, weights = self._folded(queries, keys, values)
        else:
            context, weights = self._plain(queries, keys, values, need_weights)
        context = context.transpose(1, 2).flatten(2)  # [B, Q, D]
        maps = weights.mean(dim=1) if need_weights and weights is not None else None
        return self.out_proj(context), maps

    def _plain(self, queries: Tensor, keys: Tensor, values: Tensor, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        """Context [B, H, Q, E], and the weights [B, H, Q, N] where they are needed."""
        # Splitting once (not slicing) lets the backward pass join the three gradients without zero filling.
        if queries is keys:
            weight_qk, weight_v = self.in_proj_weight.split((2 * self.dim, self.dim))
            bias_qk, bias_v = self.in_proj_bias.split((2 * self.dim, self.dim))
            query, key = F.linear(queries, weight_qk, bias_qk).chunk(2, dim=-1)
        else:
            weight_q, weight_k, weight_v = self.in_proj_weight.chunk(3)
            bias_q, bias_k, bias_v = self.in_proj_bias.chunk(3)
            query, key = F.linear(queries, weight_q, bias_q), F.linear(keys, weight_k, bias_k)
        value = F.linear(values, weight_v, bias_v)
        query, key, value = self._to_heads(query), self._to_heads(key), self._to_heads(value)
        if need_weights:
            weights = self._attention_maps(query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2))
            return weights @ value, weights
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout), None

    def _folded(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Context [B, H, Q, E] and weights [B, H, Q, N] without projecting a token.

        The key bias adds the same number to all scores of a query, so the softmax removes it. The value bias is
        gathered with weight 1, or with the sum of the weights that dropout has left.
        """
        heads = (self.num_heads, self.dim // self.num_heads)
        weight_q, weight_k, weight_v = self.in_proj_weight.chunk(3)
        bias_q, _, bias_v = self.in_proj_bias.chunk(3)
        query = self._to_heads(F.linear(queries, weight_q, bias_q) * heads[1] ** -0.5)  # [B, H, Q, E]
        query = torch.einsum("bhqe,hed->bhqd", query, weight_k.unflatten(0, heads))  # [B, H, Q, D]
        scores = query.flatten(1, 2) @ keys.transpose(1, 2)  # [B, H * Q, N]
        weights = self._attention_maps(scores)
        gathered = (weights @ values).unflatten(1, (self.num_heads, -1))  # [B, H, Q, D]
        weights = weights.unflatten(1, (self.num_heads, -1))  # [B, H, Q, N]
        context = torch.einsum("bhqd,hed->bhqe", gathered, weight_v.unflatten(0, heads))
        value_bias = bias_v.unflatten(0, heads)[:, None]  # [H, 1, E]
        if self.training and self.dropout > 0:
            value_bias = weights.sum(dim=-1, keepdim=True) * value_bias  # [B, H, Q, E]
        return context + value_bias, weights

    def _attention_maps(self, scores: Tensor) -> Tensor:
        """Attention weights over the last dimension, after dropout."""
        return F.dropout(scores.softmax(dim=-1), self.dropout, self.training)

    def _to_heads(self, features: Tensor) -> Tensor:
        """[B, Q, D] → [B, H, Q, E]."""
        return features.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def folding_pays(num_queries: int, num_tokens: int, dim: int, num_heads: int) -> bool:
    """Whether the folded way saves a third of the multiplications; with less, its smaller products cost more time.

    Per image, beyond what both do: plain projects N tokens to keys and values (2 N D²) and compares in width D
    (2 Q N D); folded projects Q queries twice more (2 Q D²) and compares in width D for every head (2 H Q N D).
    """
    plain = 2 * num_tokens * dim**2 + 2 * num_queries * num_tokens * dim
    folded = 2 * num_queries * dim**2 + 2 * num_heads * num_queries * num_tokens * dim
    return 3 * folded < 2 * plain
