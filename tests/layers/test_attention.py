"""Attention: both ways agree with torch's own, with each other, and under dropout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hlcli.layers import attention
from hlcli.layers.attention import MultiHeadAttention, folding_pays


def force(monkeypatch: pytest.MonkeyPatch, is_folded: bool) -> None:
    monkeypatch.setattr(attention, "folding_pays", lambda *_: is_folded)


def make(dim: int = 12, num_heads: int = 3, dropout: float = 0.0) -> MultiHeadAttention:
    torch.manual_seed(0)
    layer = MultiHeadAttention(dim, num_heads, dropout).double()
    for bias in (layer.in_proj_bias, layer.out_proj.bias):
        nn.init.normal_(bias)
    return layer


def inputs(num_queries: int, num_tokens: int, dim: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return tuple(  # type: ignore[return-value]
        torch.randn(2, length, dim, dtype=torch.float64, requires_grad=True)
        for length in (num_queries, num_tokens, num_tokens)
    )


@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize(("num_queries", "num_tokens"), [(5, 7), (1, 9), (8, 3)])
def test_equals_torch_with_the_same_state(
    monkeypatch: pytest.MonkeyPatch, is_folded: bool, num_queries: int, num_tokens: int
) -> None:
    force(monkeypatch, is_folded)
    ours = make()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    both = []
    for layer in (ours, theirs):
        arguments = inputs(num_queries, num_tokens)
        output, maps = layer(*arguments, need_weights=True)
        (output.square().sum()).backward()
        both.append([output, maps, *[argument.grad for argument in arguments], *[p.grad for p in layer.parameters()]])
    for actual, expected in zip(*both, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("is_folded", [False, True])
def test_self_attention_with_one_product_for_queries_and_keys(monkeypatch: pytest.MonkeyPatch, is_folded: bool) -> None:
    force(monkeypatch, is_folded)
    layer = make()
    tokens, position, _ = inputs(6, 6)
    placed = tokens + position
    joined = layer(placed, placed, tokens)[0]
    torch.testing.assert_close(joined, layer(placed, placed.clone(), tokens)[0], rtol=1e-12, atol=1e-12)


def test_maps_do_not_change_the_result_and_sum_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make()
    for is_folded in (False, True):
        force(monkeypatch, is_folded)
        output, maps = layer(*inputs(4, 9), need_weights=True)
        torch.testing.assert_close(output, layer(*inputs(4, 9))[0], rtol=1e-12, atol=1e-12)
        assert maps is not None
        torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 4, dtype=torch.float64))
        assert layer(*inputs(4, 9))[1] is None


def test_folded_equals_plain_under_the_same_dropout_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped weights no longer sum to 1, so the value bias must be scaled by what is left."""
    queries, keys, values = inputs(5, 7)
    mask = (torch.rand(2, 3, 5, 7) < 0.6).double() / 0.6  # [B, H, Q, N]

    def fixed_dropout(weights: Tensor, probability: float, training: bool) -> Tensor:
        assert training
        assert probability == 0.4
        return weights * mask.reshape(weights.shape)

    monkeypatch.setattr(F, "dropout", fixed_dropout)
    layer = make(dropout=0.4).train()
    results = []
    for is_folded in (False, True):
        force(monkeypatch, is_folded)
        layer.zero_grad()
        output, maps = layer(queries, keys, values, need_weights=True)
        output.square().sum().backward()
        results.append([output, maps, *[parameter.grad.clone() for parameter in layer.parameters()]])
    for plain, folded in zip(*results, strict=True):
        torch.testing.assert_close(plain, folded, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("is_folded", [False, True])
def test_dropout_keeps_the_expectation_and_stops_in_eval_mode(monkeypatch: pytest.MonkeyPatch, is_folded: bool) -> None:
    force(monkeypatch, is_folded)
    layer = make(dropout=0.3)
    queries, keys, values = (part[:1].detach().expand(4000, -1, -1) for part in inputs(2, 5))
    exact = layer.eval()(queries[:1], keys[:1], values[:1])[0]
    torch.testing.assert_close(layer(queries[:1], keys[:1], values[:1])[0], exact, rtol=0, atol=0)
    samples = layer.train()(queries, keys, values)[0]
    assert samples.std(dim=0).min() > 0
    torch.testing.assert_close(samples.mean(dim=0, keepdim=True), exact, rtol=0, atol=0.05)


def test_folding_pays_for_few_queries_only() -> None:
    assert folding_pays(28, 49, 2048, 4)
    assert folding_pays(9, 49, 2048, 4)
    assert folding_pays(15, 49, 512, 4)
    assert not folding_pays(28, 49, 512, 4)
    assert not folding_pays(80, 49, 2048, 4)
    assert not folding_pays(49, 49, 2048, 1)
    assert not folding_pays(28, 49, 16, 4)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="got 10 and 4"):
        MultiHeadAttention(10, 4)
