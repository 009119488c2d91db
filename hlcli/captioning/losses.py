"""Losses of captions, from scores of words to one number.

Shapes: B images, K captions of each, T tokens of the longest one, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy_loss(
    logits_or_log_probs: Tensor, token_ids: Tensor, padding: int, *, label_smoothing: float = 0.0
) -> Tensor:
    """Mean negative log-likelihood of every next token that is no padding, a scalar.

    Normalising twice changes nothing, so logits and log-probabilities give the same.

    Args:
        logits_or_log_probs: [..., T, V], of what follows each token; the last column of tokens is not used.
        token_ids: [..., T], with begin and end.
        padding: the token that does not count.
        label_smoothing: share of the target that is spread over the vocabulary.
    """
    targets = F.pad(token_ids[..., 1:], (0, 1), value=padding)  # shifted, so that no score has to be copied
    return F.cross_entropy(
        logits_or_log_probs.flatten(0, -2), targets.flatten(), ignore_index=padding, label_smoothing=label_smoothing
    )


def word_log_probs(logits_or_log_probs: Tensor, token_ids: Tensor, end: int) -> Tensor:
    """Log-probability of each word up to the first end, which counts; 0 behind it: [..., T].

    Args:
        logits_or_log_probs: [..., T, V], of the word at that place.
        token_ids: [..., T], words without begin.
        end: the token that ends a caption.
    """
    losses = F.cross_entropy(logits_or_log_probs.flatten(0, -2), token_ids.flatten(), reduction="none")
    is_end = (token_ids == end).int()
    is_over = is_end.cumsum(dim=-1) > is_end  # behind the first end
    return -losses.view(token_ids.shape).masked_fill(is_over, 0)


def self_critical_loss(log_probs: Tensor, reward: Tensor, baseline: Tensor | None = None) -> Tensor:
    """Mean over captions of -(mean log-probability of their T places) * (reward - baseline), a scalar.

    Args:
        log_probs: [B, K, T], 0 behind the end; the mean divides by T whatever the length.
        reward: [B, K], a constant.
        baseline: [B, K] or [B, 1], a constant; None: the mean reward of the image's captions.
    """
    reward = reward.detach()
    if baseline is None:
        baseline = reward.mean(dim=-1, keepdim=True)
    return torch.mean(-log_probs.mean(dim=-1) * (reward - baseline.detach()))
