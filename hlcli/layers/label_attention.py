"""Low-rank bilinear attention: every label looks for itself among the grid tokens (shared by SALGL and SGRE).

Shapes: B batch, N grid tokens, L labels, D token width, E label-embedding width, K attention width.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from hlcli.layers.bilinear_scores import bilinear_scores


class _LabelFeatures(NamedTuple):
    """What every label has found, and where."""

    label_features: Tensor  # [B, L, D]
    attention_maps: Tensor  # [B, L, N], rows sum to 1


class LabelAttention(nn.Module):
    """Attention of labels over tokens, scored by a two-layer read-out of tanh(token * label).

    With a = W_1 x_n and v = W_2 e_l, the score of token n for label l is w_t . (W_h tanh(a * v) + b_h) + b_t. There
    is nothing between the two linear maps, so they are one vector: w = W_h^T w_t, and a constant that every token
    shares. Both linears stay parameters, so checkpoints and gradients are those of the published code.

    Args:
        dim: D.
        embedding_dim: E.
        attention_dim: K.
    """

    def __init__(self, dim: int, embedding_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.token_projection = nn.Linear(dim, attention_dim, bias=False)
        self.label_projection = nn.Linear(embedding_dim, attention_dim, bias=False)
        self.hidden_linear = nn.Linear(attention_dim, attention_dim)
        self.target_linear = nn.Linear(attention_dim, 1)

    def forward(self, tokens: Tensor, label_embeddings: Tensor, *, temperature: float = 1.0) -> _LabelFeatures:
        """Gather the tokens [B, N, D] that each of label_embeddings [L, E] asks for."""
        target = self.target_linear.weight[0]  # [K]
        weight = self.hidden_linear.weight.T @ target  # [K]
        # The same for every token: no effect on the softmax, but both biases get their (zero) gradient and are decayed.
        constant = self.hidden_linear.bias @ target + self.target_linear.bias
        scores = bilinear_scores(self.token_projection(tokens), self.label_projection(label_embeddings), weight)
        maps = ((scores + constant) / temperature).softmax(dim=-1)  # [B, L, N]
        return _LabelFeatures(maps.to(tokens.dtype) @ tokens, maps)
