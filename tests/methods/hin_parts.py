"""Small HIN models and features for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hlcli.methods.hin.layers import Widths
from hlcli.methods.hin.model import Hin, Marks

WORDS = 11
HEADS = 2
PAD, BEGIN, END = 1, 2, 3


def make(*, seed: int = 0, sharpness: float = 3.0, **options: Any) -> Hin:
    """A small network in double precision, in eval mode, none of whose weights is 0 or 1."""
    options = {"vocabulary_size": WORDS, "grid_width": 7, "region_width": 9, "max_length": 12, **options}
    widths = Widths(dim=8, num_heads=HEADS, key_width=3, value_width=5, feed_forward=13, dropout=0.0)
    widths = widths._replace(**{name: options.pop(name) for name in Widths._fields if name in options})
    marks = Marks(**{name: options.pop(name) for name in Marks._fields if name in options})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Hin(widths=widths, marks=marks, **options).double()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.3)
            model.decoder.word_scores.weight.mul_(sharpness)
    return model.eval()


def draw_features(
    valid: tuple[int, ...] = (5, 3, 0), *, tokens: int = 5, slots: int = 5, seed: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Grid features, region features with zeros behind the valid ones of each image, and the padding mask."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randn(len(valid), tokens, 7, generator=generator, dtype=torch.float64)
    regions = torch.randn(len(valid), slots, 9, generator=generator, dtype=torch.float64)
    padding_mask = torch.arange(slots) >= torch.tensor(valid)[:, None]
    return grid, regions.masked_fill(padding_mask[..., None], 0), padding_mask


def draw_captions(lengths: tuple[int, ...] = (3, 1, 5), *, seed: int = 2) -> Tensor:
    """Captions of so many words with begin and end, filled to the longest and one place beyond."""
    generator = torch.Generator().manual_seed(seed)
    token_ids = torch.full((len(lengths), max(lengths) + 3), PAD)
    for row, length in zip(token_ids, lengths, strict=True):
        row[: length + 2] = torch.tensor([BEGIN, *torch.randint(4, WORDS, (length,), generator=generator), END])
    return token_ids
