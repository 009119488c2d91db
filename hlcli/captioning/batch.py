"""What a captioner sees of images, and a batch of it with sentences."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class CaptionInputs(NamedTuple):
    """What a captioner sees of images; a part is None where the network makes it of another.

    Shapes: images [B, 3, H, W] uint8, later float; grid_features [B, N, D]; region_features [B, R, E];
    padding_mask [B, R] bool, True where there is no region.
    """

    images: Tensor | None = None
    grid_features: Tensor | None = None
    region_features: Tensor | None = None
    padding_mask: Tensor | None = None


class CaptionBatch(NamedTuple):
    """Images and sentences about them.

    Shapes: rows [B], the images' places in the split. token_ids, with begin and end marks, padded: either [B, K, T],
    all sentences of each image, those with fewer than K filled up with padding alone, and no image_index; or [P, T],
    with image_index [P] to say which of the B images each is about.
    """

    inputs: CaptionInputs
    rows: Tensor
    token_ids: Tensor
    image_index: Tensor | None
