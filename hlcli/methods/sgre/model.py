"""SGRE: semantic-guided representation enhancement.

"Semantic-Guided Representation Enhancement for Multi-Label Image Classification", IEEE TCSVT 34(10), 2024. Embeddings
of label names look for their objects in the image (between modalities). What they find is then handed back to every
grid token that resembles it (within the image), and each token, together with this context, votes on every label; the
best vote counts. In training the label features alone are classified too.

Shapes: B batch, N tokens (h * w grid cells, after a class token if there is one), L labels, D width, E width of the
label embeddings. Numbers in parentheses are equations of docs/methods/sgre.md, which also lists the differences from
the reference.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hlcli.layers.grouped_linear import GroupedLinear
from hlcli.layers.precision import without_autocast
from hlcli.methods.label_head import HeadParts, LabelAttentionHead


class Output(NamedTuple):
    """Scores of an image batch before the sigmoid, and where every label looks."""

    logits: Tensor  # [B, L]
    label_logits: Tensor | None  # [B, L] of the label features alone; None in evaluation
    attention_maps: Tensor  # [B, L, N], rows sum to 1


class _Projection(nn.Module):
    """A linear map, batch norm over all rows of the batch, and a rectifier: the paper's 1 x 1 convolutions.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, features: Tensor) -> Tensor:
        """[B, K, D] → [B, K, D]."""
        return self.activate(self.linear(features))

    def activate(self, mapped: Tensor) -> Tensor:
        """What follows the linear map: [B, K, D] → [B, K, D]."""
        return F.relu(self.norm(mapped.flatten(0, 1)), inplace=True).view_as(mapped)  # (5)


class _TokenClassifier(nn.Module):
    """Two linear layers over [token ; context], from 2 D to 2 D to L, without ever joining the two.

    Args:
        dim: D.
        num_labels: L.
        dropout: probability, between the layers.
    """

    def __init__(self, dim: int, num_labels: int, dropout: float) -> None:
        super().__init__()
        self.from_token = nn.Linear(dim, 2 * dim)  # the published matrix's left half, and its bias
        self.from_context = nn.Linear(dim, 2 * dim, bias=False)  # its right half
        self.output = nn.Linear(2 * dim, num_labels)
        self.dropout = dropout
        for parameter in (*self.from_token.parameters(), *self.from_context.parameters()):
            nn.init.uniform_(parameter, -((2 * dim) ** -0.5), (2 * dim) ** -0.5)  # as one layer of 2 D inputs

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Votes [B, N, L] of tokens [B, N, D] and context [B, N, D]."""
        hidden = F.relu(self.from_token(tokens) + self.from_context(context), inplace=True)  # [B, N, 2 D]
        return self.output(F.dropout(hidden, self.dropout, self.training))  # (8)


class SgreHead(LabelAttentionHead):
    """Everything after the backbone, for any labels and any number of tokens.

    Args:
        parts: embeddings, positions, encoder and label attention.
        dim: D.
        temperature: divisor of the attention scores.
        classifier_dropout: dropout inside the classifier of tokens.
    """

    def __init__(
        self, parts: HeadParts, *, dim: int, temperature: float = 1.0, classifier_dropout: float = 0.5
    ) -> None:
        super().__init__(parts)
        num_labels = len(parts.label_embeddings)
        self.temperature = temperature
        self.label_classifier = GroupedLinear(num_labels, dim, offset_is_vector=True)
        self.token_query = _Projection(dim)
        self.label_key = _Projection(dim)
        self.label_value = _Projection(dim)
        self.context_projection = _Projection(dim)
        self.classifier = _TokenClassifier(dim, num_labels, classifier_dropout)

    @property
    def needs_several_images(self) -> bool:
        """Whether a batch of one image cannot be trained: batch norms would see one value per channel."""
        num_tokens = self.class_tokens + self.grid[0] * self.grid[1]
        return len(self.label_embeddings) == 1 or num_tokens == 1

    def forward(self, tokens: Tensor) -> Output:
        """Score every label from tokens [B, N, D]."""
        if self.position is not None:
            self.check_size(tokens)
        tokens = self.encoder(tokens, self.position)  # (1): [B, N, D]
        # (2) and (3): [B, L, D], [B, L, N]
        label_features, attention_maps = self.attention(tokens, self.label_embeddings, temperature=self.temperature)
        votes = self.classifier(tokens, self._context(tokens, label_features))  # [B, N, L]
        label_logits = self.label_classifier(label_features) if self.training else None  # (4): [B, L]
        return Output(votes.max(dim=1).values, label_logits, attention_maps)  # (9)

    def _context(self, tokens: Tensor, label_features: Tensor) -> Tensor:
        """What the labels have found, handed back to the tokens that resemble it: [B, N, D]."""
        shares = likeness(self.token_query(tokens), self.label_key(label_features))  # [B, N, L]
        values = self.label_value(label_features)  # [B, L, D]
        project = self.context_projection
        # A linear map and a mixture may change places: the map goes where there are fewer rows.
        is_labels_first = values.shape[1] < tokens.shape[1]
        mapped = shares @ project.linear(values) if is_labels_first else project.linear(shares @ values)
        return project.activate(mapped)  # (7)


def likeness(queries: Tensor, keys: Tensor) -> Tensor:
    """Softmax over keys of the plain products, [B, N, L], of queries [B, N, D] and keys [B, L, D].

    Nothing is scaled, as published, so products reach hundreds: half precision would round them to whole numbers.
    """
    if queries.dtype in (torch.float16, torch.bfloat16):
        with without_autocast(queries.device):
            return (queries.float() @ keys.float().mT).softmax(dim=-1)
    return (queries @ keys.mT).softmax(dim=-1)  # (6)


class Sgre(nn.Module):
    """Backbone and head.

    Args:
        backbone: images to tokens; has `num_features`, `grid` and `class_tokens`.
        head: tokens to logits.
    """

    def __init__(self, backbone: nn.Module, head: SgreHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Output:
        """Score images [B, 3, H, W]."""
        return self.head(self.backbone(images))
