"""Captions of different lengths in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hlcli.captioning.vocabulary import BEGIN, END, PADDING, Vocabulary


def pad_captions(token_lists: Sequence[Sequence[str]], vocabulary: Vocabulary) -> Tensor:
    """Token ids of captions between `BEGIN` and `END`, [B, T] long; T is the longest of them, the rest `PADDING`."""
    rows = [[BEGIN, *vocabulary.encode(tokens), END] for tokens in token_lists]
    token_ids = torch.full((len(rows), max(map(len, rows), default=2)), PADDING, dtype=torch.long)
    for row, ids in enumerate(rows):
        token_ids[row, : len(ids)] = torch.tensor(ids)
    return token_ids
