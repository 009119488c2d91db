from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from hlcli.layers.attention_pool import AttentionPool, resize_positions

pytest.importorskip("open_clip")
from open_clip.modified_resnet import AttentionPool2d


def pools(*, side: int = 3, width: int = 32, heads: int = 4, out: int = 5) -> tuple[AttentionPool, AttentionPool2d]:
    torch.manual_seed(0)
    published = AttentionPool2d(side, width, heads, out).double()
    own = AttentionPool((side, side), width, heads, out).double()
    own.load_state_dict(published.state_dict())
    return own, published


def test_one_query_gives_the_published_output_and_gradients():
    own, published = pools()
    images = torch.randn(4, 32, 3, 3, dtype=torch.float64)
    grids = [images.clone().requires_grad_() for _ in range(2)]
    outputs = [pool(grid) for pool, grid in zip((own, published), grids, strict=True)]
    assert_close(outputs[0], outputs[1], rtol=1e-12, atol=1e-12)
    for output in outputs:
        (output**2).sum().backward()
    assert_close(grids[0].grad, grids[1].grad, rtol=1e-12, atol=1e-12)
    expected = dict(published.named_parameters())
    for name, parameter in own.named_parameters():
        assert_close(parameter.grad, expected[name].grad, rtol=1e-12, atol=1e-12, msg=name)


def test_the_bias_of_the_keys_has_a_gradient_of_zero_but_has_one():
    own, _ = pools()
    own(torch.randn(2, 32, 3, 3, dtype=torch.float64)).sum().backward()
    assert own.k_proj.bias.grad is not None
    assert own.k_proj.bias.grad.abs().max() < 1e-14


def test_half_precision_stays_near():
    own, _ = pools()
    own.float()
    images = torch.randn(2, 32, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = own(images)
    assert_close(half.float(), own(images), rtol=0.05, atol=0.05)


def test_positions_of_another_grid_keep_that_of_the_mean():
    positions = torch.arange(10.0)[:, None].expand(10, 4)
    assert resize_positions(positions, (3, 3)) is positions
    resized = resize_positions(positions, (6, 2))
    assert resized.shape == (13, 4)
    assert (resized[0] == positions[0]).all()
    assert_close(resized[1:].mean(), positions[1:].mean(), rtol=0.01, atol=0.0)
    rows = resized[1:].reshape(6, 2, 4).mean(dim=(1, 2))
    assert (rows.diff() > 0).all()  # row by row, as the old grid was
