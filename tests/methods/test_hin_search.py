"""Searches with HIN: against a plain implementation that computes all anew, and with gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from hlcli.captioning.losses import self_critical_loss
from hlcli.captioning.search import Ensemble, beam_search, search_then_score
from hlcli.methods.hin.convert import to_upstream

from .hin_parts import PAD, draw_features, make
from .plain_hin import plain_beam_search


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 999), beams=st.integers(1, 4))
def test_agrees_with_lists_and_sorting(seed: int, beams: int) -> None:
    """HIN, a caption at a time, everything computed anew for every word; behind padding all words would be equal."""
    model, features = make(seed=seed, sharpness=8.0, encoder_layers=2, decoder_layers=2), draw_features((3, 0), slots=3)
    with torch.no_grad():
        found = beam_search(
            model, model.encode(*features), beam_size=beams, max_length=4, num_results=beams, forbidden=(PAD,)
        )
        state = to_upstream(model.state_dict())
        for image, (grid, regions, padding) in enumerate(zip(*features, strict=True)):
            plain = plain_beam_search(grid, regions, padding, state, 2, beams, 4)
            for rank, (score, words, log_probs) in enumerate(plain):
                assert found.token_ids[image, rank].tolist() == words
                assert found.log_probs[image, rank].tolist() == pytest.approx(log_probs, abs=1e-9)
                assert found.scores[image, rank].item() == pytest.approx(score)


def test_an_ensemble_of_copies_is_one_of_them() -> None:
    model, features = make(sharpness=8.0), draw_features()
    pair = Ensemble([model, make(sharpness=8.0)])
    alone = beam_search(model, model.encode(*features), beam_size=3, max_length=6, num_results=3)
    together = beam_search(pair, pair.encode(*features), beam_size=3, max_length=6, num_results=3)
    assert torch.equal(alone.token_ids, together.token_ids)
    assert_close(alone.log_probs, together.log_probs)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_through_the_search_are_those_of_one_pass_over_its_captions(seed: int) -> None:
    reward = torch.rand(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gradients = []
    for search in (beam_search, search_then_score):
        model = make(seed=seed, sharpness=8.0).train()
        memory = model.encode(*draw_features())
        if search is beam_search:
            found = beam_search(model, memory, beam_size=4, max_length=6, num_results=4)
        else:
            found = search_then_score(model, memory, beam_size=4, max_length=6)
        self_critical_loss(found.log_probs, reward).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
        assert not found.scores.requires_grad
    for name, gradient in gradients[0].items():
        assert_close(gradient, gradients[1][name], rtol=1e-8, atol=1e-13, msg=lambda m, name=name: f"{name}: {m}")


def test_half_precision_finds_captions_with_exact_sums() -> None:
    """Scores add up in single precision."""
    model = make(sharpness=8.0).bfloat16()
    grid, regions, padding = draw_features()
    memory = model.encode(grid.bfloat16(), regions.bfloat16(), padding)
    found = beam_search(model, memory, beam_size=3, max_length=10, num_results=3)
    assert found.log_probs.dtype == torch.float32
    assert_close(found.log_probs.sum(-1), found.scores)


def test_captions_longer_than_the_positions_are_refused() -> None:
    model = make(max_length=4)
    encoded = model.encode(*draw_features())
    assert beam_search(model, encoded, beam_size=2, max_length=4).token_ids.shape == (3, 1, 4)
    with pytest.raises(ValueError, match="at most 4 tokens"):
        beam_search(model, encoded, beam_size=2, max_length=5, early_stop=False)
