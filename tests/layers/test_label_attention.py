"""Label attention: one vector in place of two linear layers changes neither results nor gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hlcli.layers.label_attention import LabelAttention


def make(dim: int = 6, embedding_dim: int = 5, attention_dim: int = 7) -> LabelAttention:
    torch.manual_seed(0)
    return LabelAttention(dim, embedding_dim, attention_dim).double()


def inputs(dim: int = 6, embedding_dim: int = 5) -> tuple[Tensor, Tensor]:
    """Tokens of two images and embeddings of four labels."""
    torch.manual_seed(1)
    return (
        torch.randn(2, 9, dim, dtype=torch.float64, requires_grad=True),
        torch.randn(4, embedding_dim, dtype=torch.float64, requires_grad=True),
    )


def two_layers(
    layer: LabelAttention, tokens: Tensor, label_embeddings: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """As published: both linear layers read the large tensor, one after the other."""
    repeated = layer.label_projection(label_embeddings.expand(len(tokens), -1, -1))  # [B, L, K]
    tangents = torch.tanh(layer.token_projection(tokens)[:, None] * repeated[:, :, None])  # [B, L, N, K]
    maps = (layer.target_linear(layer.hidden_linear(tangents))[..., 0] / temperature).softmax(dim=-1)
    return torch.einsum("bln,bnd->bld", maps, tokens), maps


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_results_and_all_gradients_are_those_of_two_layers(temperature: float) -> None:
    layer = make()
    everything = []
    for attend in (
        lambda *given: layer(*given, temperature=temperature),
        lambda *g: two_layers(layer, *g, temperature),
    ):
        tokens, label_embeddings = inputs()
        label_features, maps = attend(tokens, label_embeddings)
        layer.zero_grad(set_to_none=True)
        (label_features.square().sum() + (maps * maps.detach().roll(1, dims=-1)).sum()).backward()
        gradients = [parameter.grad for parameter in layer.parameters()]
        everything.append([label_features, maps, tokens.grad, label_embeddings.grad, *gradients])
    for ours, published in zip(*everything, strict=True):
        assert ours is not None
        torch.testing.assert_close(ours, published, rtol=1e-10, atol=1e-13)


def test_biases_get_a_gradient_of_zero_so_that_they_decay_as_published() -> None:
    layer = make()
    layer(*inputs()).label_features.square().sum().backward()
    for bias in (layer.hidden_linear.bias, layer.target_linear.bias):
        assert bias.grad is not None
        torch.testing.assert_close(bias.grad, torch.zeros_like(bias), rtol=0, atol=1e-14)


def test_maps_are_distributions_and_features_are_their_means() -> None:
    tokens, label_embeddings = inputs()
    label_features, maps = make()(tokens, label_embeddings)
    assert maps.shape == (2, 4, 9)
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 4, dtype=torch.float64))
    torch.testing.assert_close(label_features, maps @ tokens)


def test_a_higher_temperature_spreads_the_maps() -> None:
    peaks = [make()(*inputs(), temperature=temperature).attention_maps.max().item() for temperature in (0.01, 1.0, 1e4)]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[-1] == pytest.approx(1 / 9, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_keeps_the_maps_in_single_precision(dtype: torch.dtype) -> None:
    layer = make().float()
    tokens, label_embeddings = (tensor.detach().to(dtype) for tensor in inputs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        label_features, maps = layer(tokens, label_embeddings)
    exact = make()(*(tensor.double() for tensor in (tokens, label_embeddings)))
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, exact.attention_maps.float(), rtol=0.05, atol=0.01)
    torch.testing.assert_close(label_features.double(), exact.label_features, rtol=0.05, atol=0.02)


def test_a_model_in_half_precision_gives_features_in_it() -> None:
    layer = make().bfloat16()
    label_features, maps = layer(*(tensor.bfloat16() for tensor in inputs()))
    assert label_features.dtype == torch.bfloat16
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 4))


def test_parameters_keep_the_two_published_layers() -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in make().named_parameters()}
    assert shapes == {
        "token_projection.weight": (7, 6),
        "label_projection.weight": (7, 5),
        "hidden_linear.weight": (7, 7),
        "hidden_linear.bias": (7,),
        "target_linear.weight": (1, 7),
        "target_linear.bias": (1,),
    }
