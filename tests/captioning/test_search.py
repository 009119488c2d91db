"""Searches: against all captions there are, and what their options promise. With HIN: tests/methods."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from hlcli.captioning.search import Ensemble, Hypotheses, beam_search, greedy, sample

END = 3
SEEDS = st.integers(0, 9999)


class Chain:
    """A decoder whose next word depends on the last one and on the image: memory is a table [B, V, V] of logits."""

    begin, end = 2, 3

    def __init__(self, words: int = 5) -> None:
        self.vocabulary_size = words

    def start(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((len(memory), 1), self.begin), memory

    def step(self, state: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.arange(len(state))[:, None]
        return state[rows, token_ids].log_softmax(-1), state

    def reorder(self, state: Tensor, beams: Tensor) -> Tensor:
        return state


def table(seed: int, images: int = 2, words: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(images, words, words, generator=generator, dtype=torch.float64)


class Caption(NamedTuple):
    words: tuple[int, ...]
    score: float


def all_captions(memory: Tensor, length: int, end: int = 3, begin: int = 2) -> list[Caption]:
    """Every caption of one image [V, V], likeliest first: ended, or of full length."""
    log_probs = memory.log_softmax(-1).tolist()
    found = []
    for words in itertools.product(range(len(log_probs)), repeat=length):
        ended = words[: words.index(end) + 1] if end in words else words
        score = sum(log_probs[a][b] for a, b in itertools.pairwise((begin, *ended)))
        found.append(Caption(ended, score))
    return sorted(set(found), key=lambda caption: -caption.score)


def words_of(found: Hypotheses, image: int, rank: int = 0) -> tuple[int, ...]:
    """Up to the end, which is kept."""
    words = found.token_ids[image, rank].tolist()
    return tuple(words[: words.index(END) + 1] if END in words else words)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_a_beam_that_is_wide_enough_finds_the_best_captions_of_all(seed: int) -> None:
    memory = table(seed)
    found = beam_search(Chain(25), _widened(memory), beam_size=25, max_length=3, num_results=6)
    for image in range(2):
        scores = {caption.words: caption.score for caption in all_captions(memory[image], 3)}
        captions = [words_of(found, image, rank) for rank in range(6)]
        assert len(set(captions)) == 6
        assert [scores[words] for words in captions] == pytest.approx(sorted(scores.values(), reverse=True)[:6])


def _widened(memory: Tensor) -> Tensor:
    """Twenty more words that are never said, so that a beam may be wider than the words that are."""
    wide = memory.new_full((len(memory), 25, 25), -1e4)
    wide[:, :5, :5] = memory
    return wide


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, beams=st.integers(1, 5), length=st.integers(1, 7))
def test_captions_are_ranked_by_the_sum_of_their_words_and_end_in_zeros(seed: int, beams: int, length: int) -> None:
    memory = table(seed)
    found = beam_search(Chain(), memory, beam_size=beams, max_length=length, num_results=beams)
    assert found.token_ids.shape == found.log_probs.shape == (2, beams, length)
    assert_close(found.log_probs.sum(-1), found.scores)
    assert (found.scores.diff(dim=-1) <= 0).all()
    steps = torch.cat((torch.full((2, beams, 1), 2), found.token_ids), dim=-1)
    expected = memory.log_softmax(-1)[torch.arange(2)[:, None, None], steps[..., :-1], steps[..., 1:]]
    is_end = (found.token_ids == END).int()
    behind = is_end.cumsum(-1) > is_end
    assert_close(found.log_probs, expected.masked_fill(behind, 0))
    assert not found.token_ids[behind].any()


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_stopping_early_changes_nothing(seed: int) -> None:
    memory = table(seed)
    memory[..., END] += 3
    options: dict[str, Any] = {"beam_size": 3, "max_length": 12, "num_results": 3}
    for early, full in zip(
        beam_search(Chain(), memory, **options),
        beam_search(Chain(), memory, **options, early_stop=False),
        strict=True,
    ):
        assert torch.equal(early, full)
    first, second = (
        sample(Chain(), memory, max_length=12, generator=torch.Generator().manual_seed(seed), early_stop=early)
        for early in (True, False)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_stops_when_all_captions_have_ended() -> None:
    decoder, steps = Chain(), []
    memory = torch.zeros(1, 5, 5, dtype=torch.float64)
    memory[..., END] = 50
    step = decoder.step
    decoder.step = lambda state, ids: steps.append(ids) or step(state, ids)  # type: ignore[method-assign, func-returns-value]
    greedy(decoder, memory, max_length=20)
    assert len(steps) == 1


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_greedy_takes_the_likeliest_word_each_time(seed: int) -> None:
    memory = table(seed)
    found = greedy(Chain(), memory, max_length=8)
    for image in range(2):
        words, last = [], 2
        while len(words) < 8 and last != END:
            last = int(memory[image, last].argmax())
            words.append(last)
        assert words_of(found, image) == tuple(words)


def test_a_length_penalty_prefers_longer_captions() -> None:
    """`end` at 0.4 against two words at 0.5 · 0.7: the sum takes the first, the mean the second."""
    memory = torch.full((1, 5, 5), -1e9, dtype=torch.float64)
    memory[0, 2, 3], memory[0, 2, 4], memory[0, 2, 0] = math.log(0.4), math.log(0.5), math.log(0.1)
    memory[0, 4, 3], memory[0, 4, 0] = math.log(0.7), math.log(0.3)
    memory[0, 0, 3] = 0.0
    for penalty, words, score in ((0.0, (3,), math.log(0.4)), (1.0, (4, 3), math.log(0.35) / 2)):
        found = beam_search(Chain(), memory, beam_size=3, max_length=4, length_penalty=penalty)
        assert words_of(found, 0) == words
        assert found.scores.item() == pytest.approx(score)
        assert found.log_probs.sum().item() == pytest.approx(score * (len(words) if penalty else 1))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, size=st.integers(1, 3), beams=st.integers(1, 3))
def test_no_sequence_of_words_comes_twice_when_blocked(seed: int, size: int, beams: int) -> None:
    memory = table(seed, words=9)
    found = beam_search(Chain(9), memory, beam_size=beams, max_length=8, num_results=beams, block_ngrams=size)
    for image, rank in itertools.product(range(2), range(beams)):
        words = words_of(found, image, rank)
        sequences = [words[i : i + size] for i in range(len(words) - size + 1)]
        assert len(sequences) == len(set(sequences)), words


def test_blocking_leaves_captions_without_repetition_alone() -> None:
    memory = table(3, words=9)
    plain = beam_search(Chain(9), memory, beam_size=3, max_length=3, num_results=3)
    blocked = beam_search(Chain(9), memory, beam_size=3, max_length=3, num_results=3, block_ngrams=4)
    assert all(torch.equal(a, b) for a, b in zip(plain, blocked, strict=True))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_forbidden_words_are_never_said(seed: int) -> None:
    memory, generator = table(seed), torch.Generator().manual_seed(seed)
    beams = beam_search(Chain(), memory, beam_size=2, max_length=6, num_results=2, forbidden=(1, 2))
    drawn = sample(Chain(), memory, num_samples=20, max_length=6, forbidden=(1, 2), generator=generator)
    for found in (beams, drawn):
        assert not torch.isin(found.token_ids, torch.tensor([1, 2])).any()
        assert found.scores.isfinite().all()


def test_drawing_follows_the_probabilities_and_the_generator() -> None:
    memory = table(1, images=1)
    generator = torch.Generator()
    first, second = (
        sample(Chain(), memory, num_samples=4000, max_length=2, generator=generator.manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(first.token_ids, second.token_ids)
    assert_close(first.log_probs.sum(-1), first.scores)
    for word, probability in enumerate(memory[0, 2].softmax(-1).tolist()):
        share = (first.token_ids[..., 0] == word).double().mean().item()
        assert share == pytest.approx(probability, abs=0.04)
        behind = first.token_ids[0, first.token_ids[0, :, 0] == word, 1]
        if word == END:
            assert not behind.any()
        elif len(behind) > 500:
            shares = torch.bincount(behind, minlength=5).double() / len(behind)
            assert_close(shares, memory[0, word].softmax(-1), rtol=0, atol=0.1)


@pytest.mark.parametrize("options", [{"temperature": 1e-3}, {"top_p": 1e-9}])
def test_drawing_without_chance_is_greedy(options: dict[str, float]) -> None:
    memory = table(2)
    drawn = sample(Chain(), memory, num_samples=3, max_length=6, **options)
    expected = greedy(Chain(), memory, max_length=6)
    assert torch.equal(drawn.token_ids, expected.token_ids.expand(-1, 3, -1))
    assert_close(drawn.log_probs, expected.log_probs.expand(-1, 3, -1))


def test_only_the_likeliest_words_are_drawn() -> None:
    """0.5, 0.3, 0.2: two of them reach 0.6."""
    memory = torch.full((1, 5, 5), -1e9, dtype=torch.float64)
    memory[..., 0], memory[..., 3], memory[..., 4] = math.log(0.5), math.log(0.3), math.log(0.2)
    drawn = sample(Chain(), memory, num_samples=500, max_length=1, top_p=0.6).token_ids
    assert set(drawn.flatten().tolist()) == {0, 3}
    assert set(sample(Chain(), memory, num_samples=500, max_length=1, top_p=0.81).token_ids.flatten().tolist()) == {
        0,
        3,
        4,
    }


def test_an_ensemble_averages_log_probabilities() -> None:
    pair = Ensemble([Chain(), Chain()])
    tables = (table(4), table(5))
    first, state = pair.start(tables)
    found, _ = pair.step(state, first)
    assert_close(found[:, 0], (tables[0].log_softmax(-1) + tables[1].log_softmax(-1))[:, 2] / 2)
    with pytest.raises(ValueError, match="same words"):
        Ensemble([Chain(), Chain(6)])


def test_what_does_not_fit_is_refused() -> None:
    memory = table(0)
    with pytest.raises(ValueError, match="num_results <= beam_size <= 5 words, but got 1 and 6"):
        beam_search(Chain(), memory, beam_size=6)
    with pytest.raises(ValueError, match="but got 3 and 2"):
        beam_search(Chain(), memory, beam_size=2, num_results=3)
    with pytest.raises(ValueError, match="max_length of 1 or more"):
        greedy(Chain(), memory, max_length=0)
    with pytest.raises(ValueError, match="length_penalty=-1"):
        beam_search(Chain(), memory, beam_size=1, length_penalty=-1)
    with pytest.raises(ValueError, match="top_p in"):
        sample(Chain(), memory, top_p=0.0)
