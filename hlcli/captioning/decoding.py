"""What may come next, and which of it is kept: the tensor work of one step of a search.

Shapes: B images, K captions of each so far, V words, t words of a caption so far.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_FINISHED_SCORE = -999.0
"""Score of all continuations of a finished caption but one: the reference's number."""
FILL = 0
"""The word with which a finished caption goes on, at no cost."""


def continuations(log_probs: Tensor, scores: Tensor, alive: Tensor) -> Tensor:
    """Score of every caption with every next word, [B, K, V].

    Args:
        log_probs: [B, K, V].
        scores: [B, K] of the captions so far.
        alive: bool [B, K]; a finished caption goes on with word 0 and its own score, or with any other and -999.
    """
    finished = torch.full_like(log_probs, _FINISHED_SCORE)
    finished = torch.cat((scores[..., None], finished[..., 1:]), dim=-1)
    return torch.where(alive[..., None], scores[..., None] + log_probs, finished)


def per_length(scores: Tensor, lengths: Tensor, penalty: float) -> Tensor:
    """Sums of log-probabilities divided by length ** penalty.

    Args:
        scores: [B, K, ...].
        lengths: [B, K], words with the end mark.
        penalty: 0 leaves sums, which favour short captions; 1 gives the mean per word.
    """
    if penalty == 0:
        return scores
    return scores / lengths.reshape(*lengths.shape, *[1] * (scores.ndim - lengths.ndim)) ** penalty


def repeating_words(token_ids: Tensor, size: int, vocabulary_size: int) -> Tensor:
    """Words that would complete a sequence of `size` words for the second time: bool [B, K, V].

    Args:
        token_ids: [B, K, t].
        size: words of a sequence, 1 or more.
        vocabulary_size: V.
    """
    shape = (*token_ids.shape[:-1], vocabulary_size)
    if token_ids.shape[-1] < size:
        return torch.zeros(shape, dtype=torch.bool, device=token_ids.device)
    seen = token_ids.unfold(-1, size, 1)  # [B, K, t - size + 1, size]
    ending = token_ids[..., token_ids.shape[-1] - size + 1 :]  # [B, K, size - 1]
    matches = (seen[..., :-1] == ending[..., None, :]).all(dim=-1)
    counts = torch.zeros(shape, dtype=torch.int32, device=token_ids.device)
    return counts.scatter_add_(-1, seen[..., -1], matches.int()) > 0


def without_words(log_probs: Tensor, words: Sequence[int]) -> Tensor:
    """Log-probabilities [B, K, V] in which some words are impossible."""
    if not words:
        return log_probs
    return log_probs.index_fill(-1, torch.tensor(words, device=log_probs.device), -torch.inf)


def drawing_probabilities(log_probs: Tensor, temperature: float, top_p: float) -> Tensor:
    """Probabilities [B, K, V] to draw words by.

    Args:
        log_probs: [B, K, V].
        temperature: above 1 flattens, below 1 sharpens.
        top_p: only the likeliest words are drawn, as few as together reach this probability.
    """
    probabilities = (log_probs / temperature).softmax(dim=-1)
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered  # of all likelier words; 0 for the first, which always stays
    return torch.zeros_like(probabilities).scatter(-1, order, ordered.masked_fill(before >= top_p, 0))


def follow(tensor: Tensor, beams: Tensor) -> Tensor:
    """What belongs to the captions that are continued: [B, K, ...] at beams [B, K'] → [B, K', ...]."""
    index = beams.reshape(*beams.shape, *[1] * (tensor.ndim - 2)).expand(*beams.shape, *tensor.shape[2:])
    return tensor.gather(1, index)


def appended(captions: Tensor, last: Tensor, beams: Tensor) -> Tensor:
    """Captions [B, K, t], continued at beams [B, K'] with what is last in [B, K']: [B, K', t + 1]."""
    return torch.cat((follow(captions, beams), last[..., None]), dim=-1)


def filled(tensor: Tensor, length: int) -> Tensor:
    """[B, K, t] → [B, K, length]: word 0 with log-probability 0 behind what was found before an early stop."""
    return F.pad(tensor, (0, length - tensor.shape[-1]), value=FILL)
