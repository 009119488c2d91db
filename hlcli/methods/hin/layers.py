"""The two building blocks of HIN: attention and feed-forward, each with its dropout, shortcut and norm.

Shapes: B batch, Q queries, N keys, D width, H heads, K and V widths of a head's keys and values. Letters in
parentheses are equations of docs/methods/hin.md.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MASKED_SCORE = -1e9  # replaces a score; where all are masked, all weigh the same


class Widths(NamedTuple):
    """The numbers that all parts of the network share; the defaults are the paper's.

    Args:
        dim: D, width of the network.
        num_heads: H.
        key_width: K, width of a head's queries and keys.
        value_width: V, width of a head's values.
        feed_forward: hidden width of the feed-forward layers.
        dropout: probability of dropping a feature.
    """

    dim: int = 512
    num_heads: int = 8
    key_width: int = 64
    value_width: int = 64
    feed_forward: int = 2048
    dropout: float = 0.1


class KeysValues(NamedTuple):
    """What an attention asks, projected and split into heads."""

    keys: Tensor  # [B, H, N, K]
    values: Tensor  # [B, H, N, V]

    def joined(self, later: KeysValues) -> KeysValues:
        """These, then the later ones."""
        return KeysValues(torch.cat((self.keys, later.keys), dim=2), torch.cat((self.values, later.values), dim=2))

    def select(self, index: Tensor) -> KeysValues:
        """Those of some rows of the batch, [P]."""
        return KeysValues(self.keys.index_select(0, index), self.values.index_select(0, index))


class KeyMask(NamedTuple):
    """Which keys a query may look at, ready for the fused kernels."""

    visible: Tensor  # bool, [B, 1, Q or 1, N]
    blind: Tensor | None  # bool, [B, 1, Q or 1, 1]: queries without any key, which look at all of them alike


def key_mask(hidden: Tensor) -> KeyMask:
    """The mask that hides keys.

    Args:
        hidden: bool, [B, 1, Q or 1, N], true where a score is to be replaced.
    """
    blind = hidden.all(dim=-1, keepdim=True)
    return KeyMask(~hidden | blind, blind)


class Attention(nn.Module):
    """Multi-head attention, its dropout, its shortcut from the queries, its norm.

    Three ways to ask, by what is known of queries and keys. All start from the same weights.

    Args:
        widths: of the network.
        shortcut: whether the queries are added to what they find.
    """

    def __init__(self, widths: Widths, *, shortcut: bool = True) -> None:
        super().__init__()
        dim, num_heads, key_width, value_width, _, dropout = widths
        self.num_heads, self.key_width, self.value_width = num_heads, key_width, value_width
        self.query = nn.Linear(dim, num_heads * key_width)
        self.key = nn.Linear(dim, num_heads * key_width)
        self.value = nn.Linear(dim, num_heads * value_width)
        self.output = nn.Linear(num_heads * value_width, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)
        self.shortcut = shortcut
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.zeros_(linear.bias)

    def forward(self, queries: Tensor, asked: KeysValues, mask: KeyMask | None = None) -> Tensor:
        """What queries [B, Q, D] find among keys that `project` has made: [B, Q, D]."""
        query = self._to_heads(self.query(queries))  # [B, H, Q, K]
        if mask is None:
            context = F.scaled_dot_product_attention(query, asked.keys, asked.values)
        else:
            if mask.blind is not None:
                query = query.masked_fill(mask.blind, 0)  # equal scores
            context = F.scaled_dot_product_attention(query, asked.keys, asked.values, attn_mask=mask.visible)
        return self._finish(queries, context.transpose(1, 2).flatten(2))

    def project(self, tokens: Tensor) -> KeysValues:
        """Keys and values of tokens [B, N, D]."""
        return KeysValues(self._to_heads(self.key(tokens)), self._to_heads(self.value(tokens)))

    def between(self, queries: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Each query [B, Q, D] weighs its own two tokens, its row of `first` and of `second`, both [B, Q, D]."""
        pairs = torch.stack((first, second), dim=2).flatten(0, 1)  # [B * Q, 2, D]
        return self(queries.flatten(0, 1)[:, None], self.project(pairs)).view(queries.shape)

    def summarise(self, query: Tensor, tokens: Tensor, hidden: Tensor | None = None) -> Tensor:
        """What one query, the same for all images, finds among tokens, without projecting a token: [B, 1, D].

        Keys: (Wk x + bk) · q = x · (Wkᵀ q) + bk · q. Values: the weights sum to 1, so Σ w (Wv x + bv) is
        Wv (Σ w x) + bv.

        Args:
            query: [1, 1, D].
            tokens: [B, N, D].
            hidden: bool, [B, N].
        """
        gathered = self.summary_maps(query, tokens, hidden) @ tokens  # [B, H, D]
        heads = (self.num_heads, self.value_width)
        context = torch.einsum("bhd,hvd->bhv", gathered, self.value.weight.unflatten(0, heads))
        context = context + self.value.bias.unflatten(0, heads)
        return self._finish(query, context.flatten(1)[:, None])

    def summary_maps(self, query: Tensor, tokens: Tensor, hidden: Tensor | None = None) -> Tensor:
        """How much the summary takes of each token: [B, H, N], rows sum to 1."""
        heads = (self.num_heads, self.key_width)
        asking = (self.query(query) * self.key_width**-0.5).unflatten(-1, heads)[0, 0]  # [H, K]
        offset = (asking * self.key.bias.unflatten(0, heads)).sum(dim=-1, keepdim=True)  # [H, 1]
        asking = torch.einsum("hk,hkd->hd", asking, self.key.weight.unflatten(0, heads))
        scores = asking @ tokens.transpose(1, 2) + offset  # [B, H, N]
        return _masked_softmax(scores, None if hidden is None else hidden[:, None]).to(tokens.dtype)

    def pass_on(self, token: Tensor) -> Tensor:
        """What any query finds where there is but one key [B, 1, D]: that. Only without a shortcut."""
        found = self._finish(token, self.value(token))
        return with_zero_gradients(found, *self.query.parameters(), *self.key.parameters())

    def attention_maps(self, queries: Tensor, asked: KeysValues, hidden: Tensor | None = None) -> Tensor:
        """How much queries [B, Q, D] take of each key: [B, H, Q, N]. `hidden` is as in `key_mask`."""
        query = self._to_heads(self.query(queries))
        scores = query @ asked.keys.transpose(-1, -2) * self.key_width**-0.5
        return _masked_softmax(scores, hidden)

    def _finish(self, queries: Tensor, context: Tensor) -> Tensor:
        """[B, Q, H * V] → [B, Q, D]."""
        found = self.dropout(self.output(context))
        return self.norm(queries + found if self.shortcut else found)  # (A)

    def _to_heads(self, features: Tensor) -> Tensor:
        """[B, N, H * E] → [B, H, N, E]."""
        return features.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers on every token, with dropout, shortcut and norm.

    Args:
        widths: of the network; features are dropped between the layers and after them.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.expand = nn.Linear(widths.dim, widths.feed_forward)
        self.contract = nn.Linear(widths.feed_forward, widths.dim)
        self.dropout = nn.Dropout(widths.dropout)
        self.norm = nn.LayerNorm(widths.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] → [B, N, D]."""
        hidden = self.dropout(F.relu(self.expand(tokens)))
        return self.norm(tokens + self.dropout(self.contract(hidden)))  # (F)


def _masked_softmax(scores: Tensor, hidden: Tensor | None) -> Tensor:
    """Softmax over the last dimension, in single precision at least; `hidden` scores count as -1e9."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return (scores if hidden is None else scores.masked_fill(hidden, _MASKED_SCORE)).softmax(dim=-1)


def with_zero_gradients(result: Tensor, *unused: Tensor) -> Tensor:
    """The result, whose backward pass gives what did not contribute a gradient of zeros.

    Without one, optimisers would keep no state of these weights, and wrappers for several processes wait for them.
    """
    if not torch.is_grad_enabled():
        return result
    for tensor in unused:
        result = result + 0 * tensor.flatten()[0]
    return result
