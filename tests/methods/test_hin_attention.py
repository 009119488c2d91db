"""What HIN's attention shows: it can be seen, is the one that is used, and may be asked for in three ways."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from hlcli.methods.hin.layers import Attention, Widths, key_mask

from .hin_parts import HEADS, draw_captions, draw_features, make


def test_attention_of_words_and_summaries_can_be_seen() -> None:
    model, token_ids = make(), draw_captions()
    grid, regions, padding = draw_features((5, 3, 2))
    on_grid, on_regions = model.word_attention(model.encode(grid, regions, padding), token_ids)
    assert on_grid.shape == (3, token_ids.shape[1], 5)
    summaries = model.summary_attention(grid, regions, padding)
    assert summaries.grid.shape == summaries.regions.shape == (3, 3, HEADS, 5)
    for weights in (on_grid, on_regions, summaries.grid, summaries.regions):
        assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    for weights in (on_regions, summaries.regions):
        assert not weights[1, ..., 3:].any()
        assert (weights[1, ..., :3] > 0).all()
    without = model.word_attention(model.encode(grid, regions), token_ids)[1]
    assert (without > 0).all()


def test_the_attention_that_is_seen_is_the_one_that_is_used() -> None:
    """The last layer's weights, times its values, are what its output layer gets."""
    model = make(decoder_layers=1, encoder_layers=1)
    layer: Any = model.decoder.layers[0]
    memory, token_ids = model.encode(*draw_features()), draw_captions()
    seen: list[tuple[Tensor, Tensor]] = []
    layer.grid_attention.output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.decode(memory, token_ids)
    values = memory.levels[0].grid_attention.values
    per_head, _ = model.decoder.word_attention_maps(token_ids, memory)
    assert_close((per_head @ values).transpose(1, 2).flatten(2), seen[0])


def test_three_ways_to_ask_agree() -> None:
    """The folded summary and the single key are the plain attention, with and without keys to look at."""
    torch.manual_seed(0)
    attention = Attention(Widths(6, 3, 2, 4, dropout=0.0), shortcut=False).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    query, tokens = torch.randn(1, 1, 6).double(), torch.randn(3, 4, 6).double()
    hidden = torch.arange(4) >= torch.tensor([4, 2, 0])[:, None]
    for mask in (hidden, None):
        kernel_mask = None if mask is None else key_mask(mask[:, None, None])
        plain = attention(query.expand(3, -1, -1), attention.project(tokens), kernel_mask)
        assert_close(attention.summarise(query, tokens, mask), plain)
    assert_close(attention.pass_on(tokens[:, :1]), attention(tokens[:, 1:2], attention.project(tokens[:, :1])))
