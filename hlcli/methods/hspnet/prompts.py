"""The sentences that stand for labels, as rows of CLIP's token table.

Shapes: L labels, P parents, T context length, W text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hlcli.embeddings.texts import PHOTO_TEMPLATE

if TYPE_CHECKING:
    from hlcli.clip import ClipTowers

PARENT_TEMPLATE = PHOTO_TEMPLATE
_PLACEHOLDER = "X"


class Prompts(NamedTuple):
    """Prompts of parents and children, and whose children the labels are.

    A child's prompt has `num_context_tokens` places after the start that are filled later.
    """

    parents: Tensor  # [P, T, W]
    parent_ends: tuple[int, ...]  # where the end of each text stands
    children: Tensor  # [L, T, W]
    child_ends: tuple[int, ...]
    parent_index: tuple[int, ...]  # parent of every label
    num_context_tokens: int


def make_prompts(
    towers: ClipTowers,
    children: Sequence[str],
    parents: Sequence[str],
    parent_index: Sequence[int],
    *,
    num_context_tokens: int,
) -> Prompts:
    """Prompts of label texts: `a photo of a {parent}.` and `X X X X {child}.`"""
    # (1)
    placeholders = " ".join([_PLACEHOLDER] * num_context_tokens)
    above, above_ends = _look_up(towers, [PARENT_TEMPLATE.format(text) for text in parents])
    below, below_ends = _look_up(towers, [f"{placeholders} {text}." for text in children])
    return Prompts(above, above_ends, below, below_ends, tuple(parent_index), num_context_tokens)


@torch.no_grad()
def text_cosines(towers: ClipTowers, texts: Sequence[str]) -> Tensor:
    """How alike the text encoder finds texts, [N, N], each put into the parents' sentence."""
    features = towers.encode_text(towers.tokenize([PARENT_TEMPLATE.format(text) for text in texts]))  # [N, D]
    features = F.normalize(features, dim=-1)
    return features @ features.T


@torch.no_grad()
def _look_up(towers: ClipTowers, texts: Sequence[str]) -> tuple[Tensor, tuple[int, ...]]:
    """Embeddings [N, T, W] of texts and where each of them ends."""
    tokens = towers.tokenize(texts)  # [N, T], numbers even where weights are not made yet
    table = towers.token_embedding.weight
    ends = tuple(int(end) for end in tokens.argmax(dim=-1))  # the end has the largest id
    return F.embedding(tokens.to(table.device), table), ends
