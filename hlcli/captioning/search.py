"""Captions from a decoder: the likeliest ones by beam search, the greedy one, drawn ones; decoders in an ensemble.

Shapes: B images, K captions of each that are followed, n captions of each that are returned, T longest caption,
V words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from hlcli.captioning.decoding import (
    FILL,
    appended,
    continuations,
    drawing_probabilities,
    filled,
    follow,
    per_length,
    repeating_words,
    without_words,
)
from hlcli.captioning.losses import word_log_probs


class Decoder(Protocol):
    """What makes captions word by word. Its memory and its states are its own affair."""

    begin: int
    end: int
    vocabulary_size: int

    def start(self, memory: Any) -> tuple[Tensor, Any]:
        """First tokens [B, 1], and the state before they are read."""

    def step(self, state: Any, token_ids: Tensor) -> tuple[Tensor, Any]:
        """Read the last tokens [B, K]; log-probabilities [B, K, V] of the next ones, and the new state."""

    def reorder(self, state: Any, beams: Tensor) -> Any:
        """The state of captions that continue those at beams [B, K'], places below the former K."""


class _TeacherForced(Decoder, Protocol):
    """A decoder that can also read whole captions at once."""

    def decode(self, memory: Any, token_ids: Tensor) -> Tensor:
        """Logits [B, K, T, V] of what follows each token of captions [B, K, T]."""


class Hypotheses(NamedTuple):
    """Captions of every image."""

    token_ids: Tensor  # [B, n, T] without begin; with end, if a caption has ended; 0 behind it
    log_probs: Tensor  # [B, n, T] of each word; 0 behind the end
    scores: Tensor  # [B, n], what captions were ranked by


class Search(NamedTuple):
    """How a network is asked for captions that are to be rewarded; `beam_search` tells what the numbers mean."""

    beam_size: int
    max_length: int
    with_gradients: bool = True  # through every step of the search; else through one pass over what it found


def beam_search(
    decoder: Decoder,
    memory: Any,
    *,
    beam_size: int,
    max_length: int = 20,
    num_results: int = 1,
    length_penalty: float = 0.0,
    block_ngrams: int = 0,
    forbidden: Sequence[int] = (),
    early_stop: bool = True,
) -> Hypotheses:
    """The likeliest captions, best first, as far as following the best K of every step finds them.

    Finished captions stay among the K with their score. The defaults are the reference's search. With gradients
    enabled, log_probs can be trained through.

    Args:
        decoder: makes the captions.
        memory: of B images.
        beam_size: K.
        max_length: T, end counted, begin not.
        num_results: n, at most K.
        length_penalty: captions are ranked by their log-probability / length ** this.
        block_ngrams: no sequence of so many words comes twice in a caption; 0 allows it.
        forbidden: words that are never used.
        early_stop: look after every step whether all captions have ended; on a GPU that waits for it.

    Raises:
        ValueError: when a number does not fit.
    """
    _check_search(decoder, beam_size, max_length, num_results)
    if length_penalty < 0 or block_ngrams < 0:
        raise ValueError(f"Expected options of 0 or more, but got {length_penalty=} and {block_ngrams=}.")
    last, state = decoder.start(memory)  # [B, 1], and so is all that is known of captions at first
    alive, scores, lengths = (
        torch.ones_like(last, dtype=torch.bool),
        torch.zeros_like(last, dtype=torch.float),
        0 * last,
    )
    token_ids, log_probs = last[..., None][..., :0], scores[..., None][..., :0]
    for step in range(max_length):
        found, state = decoder.step(state, last)  # [B, K, V], K being 1 in the first step
        possible = without_words(found.detach(), forbidden)
        if block_ngrams:
            repeating = repeating_words(token_ids, block_ngrams, decoder.vocabulary_size)
            possible = possible.masked_fill(repeating, -torch.inf)
        candidates = continuations(possible, scores, alive)
        lengths = lengths + alive
        places = per_length(candidates, lengths, length_penalty).flatten(1).topk(beam_size, dim=1).indices  # [B, K]
        beams, last = places // decoder.vocabulary_size, places % decoder.vocabulary_size
        scores, alive, lengths = candidates.flatten(1).gather(1, places), follow(alive, beams), follow(lengths, beams)
        chosen = found.flatten(1).gather(1, places).masked_fill(~alive, 0)
        token_ids, log_probs = appended(token_ids, last, beams), appended(log_probs, chosen, beams)
        alive = alive & (last != decoder.end)
        if step + 1 == max_length or (early_stop and not bool(alive.any())):
            break
        state = decoder.reorder(state, beams)
    found_all = Hypotheses(token_ids, log_probs, per_length(scores, lengths, length_penalty))
    return _finished(found_all, max_length, num_results)


def greedy(decoder: Decoder, memory: Any, *, max_length: int = 20, early_stop: bool = True) -> Hypotheses:
    """One caption per image, always going on with the likeliest word."""
    return beam_search(decoder, memory, beam_size=1, max_length=max_length, early_stop=early_stop)


def search_then_score(
    decoder: _TeacherForced, memory: Any, *, beam_size: int, max_length: int = 20, early_stop: bool = True
) -> Hypotheses:
    """All K captions of a beam search, whose log_probs come from one pass over whole captions.

    What `beam_search` gives with gradients, without keeping every step of it. Dropout differs between search and pass.
    """
    with torch.no_grad():
        found = beam_search(
            decoder,
            memory,
            beam_size=beam_size,
            max_length=max_length,
            num_results=beam_size,
            early_stop=early_stop,
        )
    begin = torch.full_like(found.token_ids[..., :1], decoder.begin)
    logits = decoder.decode(memory, torch.cat((begin, found.token_ids[..., :-1]), dim=-1))  # [B, K, T, V]
    return found._replace(log_probs=word_log_probs(logits, found.token_ids, decoder.end))


def sample(
    decoder: Decoder,
    memory: Any,
    *,
    num_samples: int = 1,
    max_length: int = 20,
    temperature: float = 1.0,
    top_p: float = 1.0,
    forbidden: Sequence[int] = (),
    generator: torch.Generator | None = None,
    early_stop: bool = True,
) -> Hypotheses:
    """Captions drawn word by word, in the order of drawing; log_probs and scores are the model's own.

    Args:
        decoder: makes the captions.
        memory: of B images.
        num_samples: n.
        max_length: T, end counted, begin not.
        temperature: above 1 flattens the probabilities, below 1 sharpens them.
        top_p: only the likeliest words are drawn, as few as together reach this probability.
        forbidden: words that are never used.
        generator: of random numbers, on the decoder's device; None: torch's own.
        early_stop: look after every step whether all captions have ended; on a GPU that waits for it.

    Raises:
        ValueError: when a number does not fit.
    """
    if num_samples < 1 or max_length < 1 or temperature <= 0 or not 0 < top_p <= 1:
        raise ValueError(
            "Expected num_samples and max_length of 1 or more, temperature above 0 and top_p in (0, 1], "
            f"but got {num_samples}, {max_length}, {temperature} and {top_p}."
        )
    last, state = decoder.start(memory)  # [B, 1]
    alive = torch.ones(len(last), num_samples, dtype=torch.bool, device=last.device)
    token_ids, log_probs = [], []
    for step in range(max_length):
        found, state = decoder.step(state, last)  # [B, 1, V], later [B, n, V]
        probabilities = drawing_probabilities(without_words(found.detach(), forbidden), temperature, top_p)
        draws = num_samples // found.shape[1]  # all from the first word's probabilities, later one each
        drawn = torch.multinomial(probabilities.flatten(0, 1), draws, replacement=True, generator=generator)
        last = drawn.view(alive.shape).masked_fill(~alive, FILL)
        chosen = found.expand(-1, num_samples, -1).gather(-1, last[..., None]).squeeze(-1).masked_fill(~alive, 0)
        token_ids.append(last)
        log_probs.append(chosen)
        alive = alive & (last != decoder.end)
        if early_stop and not bool(alive.any()):
            break
        if step == 0:
            state = decoder.reorder(state, torch.zeros_like(last))
    scores = torch.zeros_like(log_probs[0])
    for chosen in log_probs:  # in this order, whether or not there are zeros behind the end
        scores = scores + chosen
    drawn_all = Hypotheses(torch.stack(token_ids, -1), torch.stack(log_probs, -1), scores)
    return _finished(drawn_all, max_length, num_samples)


class Ensemble:
    """Several decoders as one: the mean of their log-probabilities, not normalised again.

    Args:
        members: of the same words.
    """

    def __init__(self, members: Sequence[Any]) -> None:
        if len({(member.begin, member.end, member.vocabulary_size) for member in members}) != 1:
            raise ValueError("Expected members, one at least, that use the same words.")
        self.members = tuple(members)
        self.begin: int = members[0].begin
        self.end: int = members[0].end
        self.vocabulary_size: int = members[0].vocabulary_size

    def encode(self, *features: Any) -> tuple[Any, ...]:
        """Every member's memory of the same features."""
        return tuple(member.encode(*features) for member in self.members)

    def start(self, memory: Sequence[Any]) -> tuple[Tensor, tuple[Any, ...]]:
        """First tokens [B, 1], and the members' states."""
        begun = [member.start(own) for member, own in zip(self.members, memory, strict=True)]
        return begun[0][0], tuple(state for _, state in begun)

    def step(self, state: Sequence[Any], token_ids: Tensor) -> tuple[Tensor, tuple[Any, ...]]:
        """Mean log-probabilities [B, K, V], and the members' states."""
        done = [member.step(own, token_ids) for member, own in zip(self.members, state, strict=True)]
        return torch.stack([log_probs for log_probs, _ in done]).mean(dim=0), tuple(own for _, own in done)

    def reorder(self, state: Sequence[Any], beams: Tensor) -> tuple[Any, ...]:
        """Every member's state of captions that continue those at beams [B, K']."""
        return tuple(member.reorder(own, beams) for member, own in zip(self.members, state, strict=True))


def _finished(found: Hypotheses, length: int, count: int) -> Hypotheses:
    """The first ones, filled up to the full length after an early stop."""
    token_ids, log_probs, scores = (tensor[:, :count] for tensor in found)
    return Hypotheses(filled(token_ids, length), filled(log_probs, length), scores)


def _check_search(decoder: Decoder, beam_size: int, max_length: int, num_results: int) -> None:
    if not 1 <= num_results <= beam_size <= decoder.vocabulary_size:
        raise ValueError(
            f"Expected 1 <= num_results <= beam_size <= {decoder.vocabulary_size} words, "
            f"but got {num_results} and {beam_size}."
        )
    if max_length < 1:
        raise ValueError(f"Expected max_length of 1 or more, but got {max_length}.")
