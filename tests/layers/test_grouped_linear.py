"""The label-wise linear layer."""

from __future__ import annotations

import torch

from hlcli.layers.grouped_linear import GroupedLinear


def test_every_label_is_read_by_its_own_weights() -> None:
    layer = GroupedLinear(3, 5).double()
    features = torch.randn(2, 3, 5, dtype=torch.float64)
    logits = layer(features)
    for label in range(3):
        expected = features[:, label] @ layer.weight[label] + layer.offset[0, label]
        torch.testing.assert_close(logits[:, label], expected)


def test_first_weights_lie_within_the_published_bound() -> None:
    layer = GroupedLinear(50, 16)
    for parameter in layer.parameters():
        assert 0.2 < parameter.abs().max() <= 0.25
