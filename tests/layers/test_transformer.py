"""Transformer layers: identity without layers, norms and dropout where they belong."""

from __future__ import annotations

import pytest
import torch
from dropout_calls import watch_dropout

from hlcli.layers import attention
from hlcli.layers.transformer import DecoderLayer, Encoder, EncoderLayer, FeedForward


def test_encoder_without_layers_changes_nothing_and_has_no_weights() -> None:
    encoder = Encoder([], 8)
    tokens = torch.randn(2, 5, 8)
    assert torch.equal(encoder(tokens, torch.randn(5, 8)), tokens)
    assert not encoder.state_dict()


def test_only_a_pre_norm_encoder_normalises_its_result() -> None:
    for pre_norm in (False, True):
        layers = [EncoderLayer(8, 2, 16, 0.0, pre_norm=pre_norm) for _ in range(2)]
        names = set(Encoder(layers, 8).state_dict())
        assert ({"norm.weight", "norm.bias"} <= names) == pre_norm


def test_positions_reach_queries_and_keys_but_not_values() -> None:
    """With zero query weights all tokens weigh the same, so positions can change nothing."""
    torch.manual_seed(0)
    layer = EncoderLayer(8, 2, 16, 0.0, pre_norm=False)
    with torch.no_grad():
        layer.self_attention.in_proj_weight[:8] = 0
    tokens, position = torch.randn(2, 5, 8), torch.randn(5, 8)
    torch.testing.assert_close(layer(tokens, position), layer(tokens, 0 * position))
    torch.nn.init.normal_(layer.self_attention.in_proj_weight)
    assert not torch.allclose(layer(tokens, position), layer(tokens, 0 * position))


def test_decoder_layer_without_self_attention_treats_labels_alone() -> None:
    torch.manual_seed(0)
    features, queries, memory = torch.randn(1, 4, 8), torch.randn(4, 8), torch.randn(1, 6, 8)
    for is_kept in (False, True):
        layer = DecoderLayer(8, 2, 16, 0.0, pre_norm=False, has_self_attention=is_kept)
        whole = layer(features, queries, memory, memory)[0]
        alone = layer(features[:, :1], queries[:1], memory, memory)[0]
        assert torch.allclose(whole[:, :1], alone, atol=1e-5) != is_kept


@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_training_drops_weights_hidden_units_and_both_results(
    monkeypatch: pytest.MonkeyPatch, pre_norm: bool, is_folded: bool
) -> None:
    seen = watch_dropout(monkeypatch)
    monkeypatch.setattr(attention, "folding_pays", lambda *_: is_folded)
    layer = EncoderLayer(8, 2, 16, 0.1, pre_norm=pre_norm)
    layer(torch.randn(3, 5, 8), None)
    weights = (3, 10, 5) if is_folded else (3, 2, 5, 4)  # without folding, by the queries of the fused kernel
    assert seen == [(weights, 0.1), ((3, 5, 8), 0.1), ((3, 5, 16), 0.1), ((3, 5, 8), 0.1)]
    seen.clear()
    layer.eval()(torch.randn(3, 5, 8), None)
    assert not seen


def test_the_feed_forward_step_drops_hidden_units(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_dropout(monkeypatch)
    step = FeedForward(8, 16, 0.3)
    step(torch.randn(3, 8))
    assert seen == [((3, 16), 0.3)]
    seen.clear()
    step.eval()(torch.randn(3, 8))
    assert not seen
