"""Sine positions: the formula, any grid, single precision."""

from __future__ import annotations

import math

import pytest
import torch

from hlcli.layers.position import sine_position


@pytest.mark.parametrize(("height", "width", "dim"), [(7, 7, 32), (3, 5, 8), (1, 4, 12)])
def test_every_entry_follows_the_formula(height: int, width: int, dim: int) -> None:
    code = sine_position(height, width, dim)
    assert code.shape == (height * width, dim)
    assert code.dtype == torch.float32
    half = dim // 2
    for row in range(height):
        for column in range(width):
            for k in range(half):
                divisor = 10000 ** (2 * (k // 2) / half)
                function = math.cos if k % 2 else math.sin
                y = (row + 1) / (height + 1e-6) * 2 * math.pi
                x = (column + 1) / (width + 1e-6) * 2 * math.pi
                entry = code[row * width + column]
                assert entry[k].item() == pytest.approx(function(y / divisor), abs=2e-6)
                assert entry[half + k].item() == pytest.approx(function(x / divisor), abs=2e-6)


def test_width_must_be_a_multiple_of_four() -> None:
    with pytest.raises(ValueError, match="got 6"):
        sine_position(2, 2, 6)
