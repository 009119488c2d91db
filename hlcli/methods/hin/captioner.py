"""A captioner: images or stored features → HIN. What the training loop and search call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hlcli.captioning.search import Hypotheses, Search, beam_search, search_then_score
from hlcli.data.caption_loader import CaptionInputs
from hlcli.methods.hin.model import Hin
from hlcli.region_windows import WindowPool


class Captioner(nn.Module):
    """HIN behind an image encoder, or alone before stored features.

    Args:
        network: HIN.
        backbone: images to grid features; None where these are stored.
        windows: grid to region features; None where these are stored.
        train_backbone: whether the image encoder learns too.
    """

    def __init__(
        self, network: Hin, backbone: nn.Module | None, windows: WindowPool | None, *, train_backbone: bool = False
    ) -> None:
        super().__init__()
        self.network, self.backbone, self.windows = network, backbone, windows
        self.train_backbone = train_backbone
        if backbone is not None and not train_backbone:
            backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Captioner:
        """As usual, but an image encoder that does not learn stays in evaluation mode."""
        super().train(mode)
        if self.backbone is not None and not self.train_backbone:
            self.backbone.eval()
        return self

    def features(self, inputs: CaptionInputs) -> tuple[Tensor, Tensor, Tensor | None]:
        """Grid features [B, N, D], region features [B, R, E] and their padding [B, R]."""
        grid = inputs.grid_features
        if grid is None:
            assert self.backbone is not None
            with torch.set_grad_enabled(self.train_backbone and torch.is_grad_enabled()):
                grid = self.backbone(inputs.images)
        if inputs.region_features is not None:
            return grid, inputs.region_features, inputs.padding_mask
        assert self.windows is not None
        return grid, self.windows(grid), None

    def encode(self, inputs: CaptionInputs) -> Any:
        """The memory that captions of the images are made from."""
        return self.network.encode(*self.features(inputs))

    def forward(
        self,
        inputs: CaptionInputs,
        token_ids: Tensor | None = None,
        image_index: Tensor | None = None,
        *,
        search: Search | None = None,
    ) -> Tensor | Hypotheses:
        """Scores of every next word, or captions that are searched.

        Args:
            inputs: B images.
            token_ids: captions, [P, T], or [B, K, T] with K of each image; logits [..., T, V] come back.
            image_index: [P], which image each is about; None with [B, K, T].
            search: instead of token_ids; K captions per image come back, best first, with gradients.
        """
        grid, regions, padding_mask = self.features(inputs)
        if search is not None:
            memory = self.network.encode(grid, regions, padding_mask)
            beams, length = search.beam_size, search.max_length
            if not search.with_gradients:
                return search_then_score(self.network, memory, beam_size=beams, max_length=length)
            return beam_search(self.network, memory, beam_size=beams, max_length=length, num_results=beams)
        assert token_ids is not None, "captions are either given or searched"
        return self.network.logits(grid, regions, padding_mask, token_ids, image_index)
