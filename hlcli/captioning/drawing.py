"""Drawn captions that can be drawn again: by a seed, and whatever the network's numbers are."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hlcli.captioning.decoding import follow
from hlcli.captioning.search import Decoder, Hypotheses, sample


def draw(
    decoder: Decoder,
    memory: Any,
    *,
    num_captions: int,
    max_length: int,
    temperature: float,
    top_p: float,
    forbidden: Sequence[int],
    seed: str,
) -> Hypotheses:
    """Captions as `search.sample` draws them, the likeliest first; those of lost images have no number for a score.

    Other arguments as of `search.sample`.

    Args:
        num_captions: n.
        seed: text that decides the draws.
    """
    network = _Drawable(decoder)
    generator = torch.Generator(decoder.start(memory)[0].device)
    found = sample(
        network,
        memory,
        num_samples=num_captions,
        max_length=max_length,
        temperature=temperature,
        top_p=top_p,
        forbidden=forbidden,
        generator=generator.manual_seed(random.Random(seed).getrandbits(32)),  # all that a CPU's generator looks at
    )
    order = found.log_probs.double().sum(dim=-1).argsort(dim=-1, descending=True, stable=True)  # [B, n]
    token_ids, log_probs, scores = (follow(tensor, order) for tensor in found)
    return Hypotheses(token_ids, log_probs.masked_fill(network.is_lost[:, None, None], torch.nan), scores)


class _Drawable:
    """A captioner whose words can always be drawn: with equal chances where its probabilities are no numbers.

    Args:
        network: the captioner.

    Attributes:
        is_lost: images [B] for which that has happened.
    """

    def __init__(self, network: Decoder) -> None:
        self.network = network
        self.begin, self.end, self.vocabulary_size = network.begin, network.end, network.vocabulary_size
        self.reorder = network.reorder
        self.is_lost = torch.zeros(0, dtype=torch.bool)

    def start(self, memory: Any) -> tuple[Tensor, Any]:
        """First tokens [B, 1], and the state before they are read."""
        last, state = self.network.start(memory)
        self.is_lost = torch.zeros(len(last), dtype=torch.bool, device=last.device)
        return last, state

    def step(self, state: Any, token_ids: Tensor) -> tuple[Tensor, Any]:
        """Log-probabilities [B, K, V] of the words behind the last tokens [B, K], and the new state."""
        log_probs, state = self.network.step(state, token_ids)
        self.is_lost = self.is_lost | log_probs.isnan().flatten(1).any(dim=1)
        return log_probs.masked_fill(self.is_lost[:, None, None], -math.log(self.vocabulary_size)), state
