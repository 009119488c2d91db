"""HIN against a plain second implementation, and what must hold for any weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from hlcli.captioning.losses import cross_entropy_loss
from hlcli.methods.hin.convert import to_upstream
from hlcli.methods.hin.layers import Widths
from hlcli.methods.hin.model import Hin, sinusoids

from . import plain_hin
from .hin_parts import BEGIN, END, HEADS, PAD, WORDS, draw_captions, draw_features, make


def plain_log_probs(model: Hin, features: tuple[Tensor, Tensor, Tensor], token_ids: Tensor) -> list[Tensor]:
    state = to_upstream(model.state_dict())
    found = []
    for grid, regions, padding, ids in zip(*features, token_ids, strict=True):
        levels = plain_hin.encode(grid, regions, padding, state, HEADS)
        found.append(plain_hin.caption_log_probs(ids, levels, padding, state, HEADS, PAD))
    return found


@pytest.mark.parametrize(("levels", "layers"), [(1, 1), (2, 2), (3, 1), (4, 3), (5, 5), (6, 4)])
def test_agrees_with_a_plain_implementation(levels: int, layers: int) -> None:
    """Levels beyond the fourth too, where the reference mixes up its chains; widths that the heads do not divide."""
    model = make(encoder_layers=levels, decoder_layers=layers)
    features, token_ids = draw_features(), draw_captions()
    expected = plain_log_probs(model, features, token_ids)
    assert_close(model(*features, token_ids), torch.stack(expected), rtol=1e-9, atol=1e-11)
    loss = cross_entropy_loss(model.logits(*features, token_ids), token_ids, PAD)
    assert_close(loss, plain_hin.plain_cross_entropy(expected, list(token_ids)))


@pytest.mark.parametrize(("tokens", "slots"), [(1, 1), (4, 7), (9, 2)])
def test_any_number_of_grid_tokens_and_regions(tokens: int, slots: int) -> None:
    model, token_ids = make(), draw_captions()
    features = draw_features((1, slots, 0), tokens=tokens, slots=slots)
    assert_close(
        model(*features, token_ids), torch.stack(plain_log_probs(model, features, token_ids)), rtol=1e-9, atol=1e-11
    )


def test_without_a_mask_all_slots_hold_regions() -> None:
    model, token_ids = make(), draw_captions()
    grid, regions, _ = draw_features((5, 5, 5))
    no_padding = torch.zeros(3, 5, dtype=torch.bool)
    assert_close(model(grid, regions, None, token_ids), model(grid, regions, no_padding, token_ids))


def test_odd_captions_agree_with_the_plain_implementation() -> None:
    """Padding first (a word that sees nothing looks everywhere), in the middle, and nothing else."""
    model, features = make(), draw_features()
    token_ids = torch.tensor([[PAD, 5, 6, END], [BEGIN, PAD, PAD, 7], [PAD, PAD, PAD, PAD]])
    expected = torch.stack(plain_log_probs(model, features, token_ids))
    assert_close(model(*features, token_ids), expected, rtol=1e-9, atol=1e-11)


@settings(max_examples=10, deadline=None)
@given(
    valid=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    extra_slots=st.integers(0, 3),
    extra_padding=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_padding_does_not_matter(valid: list[int], extra_slots: int, extra_padding: int, seed: int) -> None:
    """Neither what lies in slots without a region, nor how many there are, nor how far captions are filled."""
    model = make()
    grid, regions, padding = draw_features(tuple(valid), slots=4 + extra_slots, seed=seed)
    token_ids = draw_captions(tuple(range(1, len(valid) + 1)), seed=seed)
    expected = model(grid, regions[:, :4], padding[:, :4], token_ids)
    filled = torch.cat((token_ids, torch.full((len(valid), extra_padding), PAD)), dim=1)
    found = model(grid, torch.where(padding[..., None], 50.0, regions), padding, filled)
    is_word = token_ids != PAD
    assert_close(found[:, : token_ids.shape[1]][is_word], expected[is_word])


def test_images_of_a_batch_do_not_know_each_other() -> None:
    model, features, token_ids = make(), draw_features((5, 3, 0, 2)), draw_captions((3, 1, 5, 2))
    together = model(*features, token_ids)
    for row in range(4):
        alone = model(*(tensor[row : row + 1] for tensor in (*features, token_ids)))
        assert_close(alone[0], together[row])
    assert torch.equal(model(*features, token_ids), together)


def test_words_do_not_see_what_follows() -> None:
    model, features, token_ids = make(), draw_features(), draw_captions((5, 5, 5))
    changed = token_ids.clone()
    changed[:, 4:6] = 9
    before, after = model(*features, token_ids), model(*features, changed)
    assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4], before[:, 4])


def test_images_are_encoded_once_for_several_captions() -> None:
    model, features = make(), draw_features()
    token_ids = draw_captions((3, 1, 5, 2, 4))
    index = torch.tensor([2, 0, 0, 1, 2])
    repeated = model(*(tensor[index] for tensor in features), token_ids)
    assert_close(model(*features, token_ids, index), repeated)
    rows: list[int] = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    model(*features, token_ids, index)
    assert rows == [3]


def test_captions_can_be_grouped_by_image() -> None:
    model, features, token_ids = make(), draw_features(), draw_captions((3, 1, 5, 2, 4, 1)).view(3, 2, -1)
    found = model(*features, token_ids)
    assert found.shape == (*token_ids.shape, WORDS)
    index = torch.arange(3).repeat_interleave(2)
    assert_close(found.flatten(0, 1), model(*features, token_ids.flatten(0, 1), index))


def test_decoding_word_by_word_equals_teacher_forcing() -> None:
    """Also behind padding, which no trained network says, and without a mask."""
    model, token_ids = make(), draw_captions()
    grid, regions, padding = draw_features()
    for mask in (padding, None):
        memory = model.encode(grid, regions, mask)
        expected = model(grid, regions, mask, token_ids)
        _, state = model.start(memory)
        for place in range(token_ids.shape[1]):
            found, state = model.step(state, token_ids[:, place : place + 1])
            assert_close(found[:, 0], expected[:, place])


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 999), beams=st.integers(1, 4))
def test_captions_may_change_places_between_words(seed: int, beams: int) -> None:
    """Whatever beams continue whatever others, each is scored as if it had always stood alone."""
    generator = torch.Generator().manual_seed(seed)
    model, features = make(decoder_layers=2), draw_features((5, 2))
    memory = model.encode(*features)
    last, state = model.start(memory)
    captions = last[..., None]  # [B, 1, 1]
    for _ in range(5):
        found, state = model.step(state, last)
        assert_close(found, model.decode(memory, captions).log_softmax(-1)[:, :, -1])
        places = torch.randint(captions.shape[1], (2, beams), generator=generator)
        last = torch.randint(WORDS, (2, beams), generator=generator)
        captions = torch.cat((captions[torch.arange(2)[:, None], places], last[..., None]), dim=-1)
        state = model.reorder(state, places)


def test_every_weight_but_the_positions_is_trained() -> None:
    """Those without influence get zeros: wrappers and optimisers find all of them."""
    for layers in (3, 1):
        model = make(decoder_layers=layers).train()
        token_ids = draw_captions()
        cross_entropy_loss(model.logits(*draw_features(), token_ids), token_ids, PAD).backward()
        without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        assert without == {"decoder.position_embedding.weight"}
        idle = {name for name, p in model.named_parameters() if p.grad is not None and not p.grad.any()}
        for layer in range(3):
            for side in ("grid", "region"):
                for part in ("query", "key"):
                    assert f"encoder.layers.{layer}.{side}_exchange.{part}.weight" in idle
        assert ("encoder.layers.2.grid_attention.query.weight" in idle) == (layers == 1)
        assert "encoder.layers.0.grid_attention.query.weight" not in idle
        embedding = model.decoder.word_embedding.weight
        assert embedding.grad is not None
        assert embedding[PAD].any()
        assert not embedding.grad[PAD].any()


def test_twenty_steps_on_one_batch_drive_the_loss_down() -> None:
    model, token_ids = make(sharpness=1.0, encoder_layers=1, decoder_layers=1).train(), draw_captions()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = cross_entropy_loss(model.logits(*draw_features(), token_ids), token_ids, PAD)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_dropout_works_in_training_alone() -> None:
    model, features, token_ids = make(dropout=0.5), draw_features(), draw_captions()
    assert_close(model(*features, token_ids), make()(*features, token_ids))
    model.train()
    assert not torch.equal(model(*features, token_ids), model(*features, token_ids))


def test_starts_from_the_published_distribution() -> None:
    torch.manual_seed(0)
    model = Hin(vocabulary_size=300, grid_width=24, region_width=40, widths=Widths(64, 4, 16, 16))
    for name, value in model.state_dict().items():
        if value.ndim > 1:
            bound = math.sqrt(6 / (value.shape[0] + value.shape[1])) if value.ndim == 2 else math.sqrt(3 / 64)
            assert value.abs().max() <= bound, name
            assert value.std() == pytest.approx(bound / math.sqrt(3), rel=0.2), name
        elif "norm" in name:
            assert (value == ("weight" in name)).all(), name
        elif any(f".{part}.bias" in name for part in ("query", "key", "value", "output")):
            assert not value.any(), name
    assert model.decoder.word_embedding.weight[1].any()
    assert not model.decoder.position_embedding.weight.requires_grad


def test_positions_can_be_sines() -> None:
    model = make(positional="sinusoid", dim=7, num_heads=1)
    table = model.decoder.position_embedding.weight
    assert_close(table, sinusoids(13, 7).double())
    assert not table[0].any()
    assert table[5, 2] == pytest.approx(math.sin(5 / 10000 ** (2 / 7)), rel=1e-6)
    assert table[5, 3] == pytest.approx(math.cos(5 / 10000 ** (2 / 7)), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_finite_scores_near_the_exact_ones(dtype: torch.dtype) -> None:
    model, features, token_ids = make().float(), draw_features(), draw_captions()
    grid, regions, padding = features[0].float(), features[1].float(), features[2]
    expected = model(grid, regions, padding, token_ids)
    with torch.autocast("cpu", dtype):
        found = model(grid, regions, padding, token_ids)
        found.mean().backward()
    assert found.dtype == torch.float32
    assert_close(found, expected, rtol=0, atol=0.6)
    whole = model.to(dtype)(grid.to(dtype), regions.to(dtype), padding, token_ids)
    assert whole.dtype == torch.float32
    assert_close(whole, expected, rtol=0, atol=0.6)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected 1 to 2 decoder layers.*got 3"):
        make(encoder_layers=2, decoder_layers=3)
    with pytest.raises(ValueError, match=r"three different words below 11.*got 1, 1 and 3"):
        make(begin=1)
    model, token_ids = make(), draw_captions()
    grid, regions, padding = draw_features()
    with pytest.raises(ValueError, match=r"region_features of shape.*one slot that is padding"):
        model.encode(grid, regions[:, :0], padding[:, :0])
    with pytest.raises(ValueError, match="same images, but got 3 and 2"):
        model.encode(grid, regions[:2], padding[:2])
    with pytest.raises(ValueError, match=r"bool padding_mask of shape \[3, 5\]"):
        model.encode(grid, regions, padding[:, :4])
    with pytest.raises(ValueError, match="bool padding_mask"):
        model.encode(grid, regions, padding.float())
    with pytest.raises(ValueError, match="captions of 3 images, but got 2"):
        model(grid, regions, padding, token_ids[:2])
    with pytest.raises(ValueError, match="at most 12 tokens, but got 13"):
        model(grid, regions, padding, torch.full((3, 13), 5))


def test_an_image_without_regions_has_one_slot_that_is_padding() -> None:
    model, token_ids = make(), draw_captions()
    features = draw_features((0, 0, 0), slots=1)
    assert_close(
        model(*features, token_ids), torch.stack(plain_log_probs(model, features, token_ids)), rtol=1e-9, atol=1e-11
    )
