"""SALGL's first weights and its dropout: what the published code begins with."""

from __future__ import annotations

import pytest
import torch
from dropout_calls import watch_dropout
from torch import Tensor

from hlcli.data.labels import LabelSpace
from hlcli.methods.salgl.config import Salgl
from hlcli.methods.salgl.model import SalglHead


def make_head(num_labels: int = 40, **fields: object) -> SalglHead:
    torch.manual_seed(0)
    labels = LabelSpace.flat([f"{i}" for i in range(num_labels)])
    section = Salgl(**{"attention_dim": 32, "feedforward_dim": 48, **fields})  # type: ignore[arg-type]
    return section.build_head(labels, num_features=64, grid=(3, 3)).requires_grad_(False)


def test_linear_layers_begin_uniform_within_the_root_of_their_inputs() -> None:
    head = make_head(two_way_messages=True)
    layer, graph, attention = head.encoder.layers[0], head.graph, head.attention
    for weight, num_inputs in (
        (layer.feed_forward.expand.weight, 64),
        (layer.feed_forward.expand.bias, 64),
        (layer.feed_forward.contract.weight, 48),
        (layer.feed_forward.contract.bias, 48),
        (layer.self_attention.out_proj.weight, 64),
        (attention.token_projection.weight, 64),
        (attention.label_projection.weight, 64),
        (attention.hidden_linear.weight, 32),
        (attention.target_linear.weight, 32),
        (head.scene_classifier.weight, 64),
        (graph.update_message.weight, 128),
        (graph.reset_message.bias, 128),
        (graph.candidate_state.weight, 64),
        (head.fusion.weight, 128),
        (head.classifier.weight, 64),
        (head.classifier.offset, 64),
    ):
        assert_uniform(weight, num_inputs**-0.5)


def assert_uniform(weight: Tensor, bound: float) -> None:
    assert 0.85 * bound < weight.abs().max() <= bound
    if weight.numel() > 1000:
        assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_attention_begins_xavier_uniform_with_biases_of_zero() -> None:
    attention = make_head().encoder.layers[0].self_attention
    assert_uniform(attention.in_proj_weight, (6 / (64 + 3 * 64)) ** 0.5)
    assert not attention.in_proj_bias.any()
    assert not attention.out_proj.bias.any()


def test_norms_begin_neutral_and_nothing_is_counted() -> None:
    head = make_head()
    for norm in (head.encoder.layers[0].self_norm, head.encoder.layers[0].feed_norm):
        assert (norm.weight == 1).all()
        assert not norm.bias.any()
        assert norm.eps == 1e-5
    assert not head.cooccurrence.counts.any()


def test_random_label_embeddings_begin_normal_and_as_wide_as_the_backbone() -> None:
    embeddings = make_head().label_embeddings
    assert embeddings.shape == (40, 64)
    assert abs(float(embeddings.mean())) < 0.05
    assert embeddings.std() == pytest.approx(1, rel=0.05)
    assert embeddings.abs().max() > 2.5


def test_training_drops_a_tenth_in_the_encoder_and_nothing_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_dropout(monkeypatch)
    head = make_head(num_labels=3)
    head(torch.randn(4, 9, 64), torch.ones(4, 3))
    assert [probability for _, probability in seen] == [0.1] * 4
    assert [shape for shape, _ in seen[1:]] == [(4, 9, 64), (4, 9, 48), (4, 9, 64)]
    seen.clear()
    head.eval()(torch.randn(4, 9, 64))
    assert not seen
