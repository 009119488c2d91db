"""Sine and cosine position codes for a two-dimensional grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TEMPERATURE = 10_000.0


def sine_position(height: int, width: int, dim: int, *, class_tokens: int = 0) -> Tensor:
    """Position code of every grid cell, row by row: [class_tokens + height * width, dim], float32.

    Class tokens stand before the grid and have no place: their rows are zero.

    The first half of the channels codes the row, the second half the column. With F = dim / 2 channels each and
    v the 1-based coordinate as a share of the side times 2 pi, channel k is sin(v / D_k) for even k and
    cos(v / D_k) for odd k, where D_k = 10000^(2 floor(k / 2) / F).

    Raises:
        ValueError: when dim is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"Expected dim to be a multiple of 4, but got {dim}.")
    channels = torch.arange(dim // 2, dtype=torch.float32)
    divisors = _TEMPERATURE ** (2 * torch.div(channels, 2, rounding_mode="floor") / (dim // 2))
    rows = _side_code(height, divisors)[:, None].expand(-1, width, -1)  # [h, w, F]
    columns = _side_code(width, divisors)[None].expand(height, -1, -1)  # [h, w, F]
    grid = torch.cat((rows, columns), dim=-1).flatten(0, 1)  # [N, D]
    return torch.cat((torch.zeros(class_tokens, dim), grid)) if class_tokens else grid


def check_num_tokens(num_tokens: int, grid: tuple[int, int], class_tokens: int = 0) -> None:
    """Refuse the tokens of images of another size than a network with positions was made for.

    Args:
        num_tokens: of an image.
        grid: height and width of the feature map that is expected.
        class_tokens: tokens before the grid.

    Raises:
        ValueError: when there are more or fewer of them.
    """
    expected = class_tokens + grid[0] * grid[1]
    if num_tokens != expected:
        raise ValueError(
            f"Expected {expected} tokens ({class_tokens} + {grid[0]} x {grid[1]}), but got {num_tokens}; "
            "the model was built for another image size."
        )


def _side_code(length: int, divisors: Tensor) -> Tensor:
    """Code of the coordinates 1..length along one side: [length, F]."""
    angle = torch.arange(1, length + 1, dtype=torch.float32) / (length + 1e-6) * (2 * math.pi)
    phase = angle[:, None] / divisors  # [length, F]
    return torch.stack((phase[:, 0::2].sin(), phase[:, 1::2].cos()), dim=-1).flatten(1)
