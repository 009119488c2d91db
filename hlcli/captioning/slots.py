"""Region slots of fixed number: the regions of an image, and padding behind them."""

from __future__ import annotations

import torch
from torch import Tensor


def fill_slots(regions: Tensor, num_slots: int, *, zeros_are_padding: bool = False) -> tuple[Tensor, Tensor]:
    """Put the regions of one image into slots.

    What is padding follows from the number of regions. The published files hold rows of zeros in place of regions
    that were not found, and those are padding by their value. An image without any region has only padding, on which
    attention falls evenly, as in the reference.

    Args:
        regions: [N, E], the ones to be kept first.
        num_slots: R; regions beyond it are left out.
        zeros_are_padding: whether rows of zeros are padding too: for published files alone, which do not say what
            made them.

    Returns:
        Slots [R, E], zero where there is no region; padding mask [R] bool, True there.
    """
    kept = regions[:num_slots]
    slots = regions.new_zeros(num_slots, regions.shape[1])
    slots[: len(kept)] = kept
    if zeros_are_padding:
        return slots, ~slots.any(dim=-1)
    return slots, torch.arange(num_slots, device=regions.device) >= len(kept)
