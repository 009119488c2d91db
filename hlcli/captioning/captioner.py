"""A captioner: images or stored features → a network that makes captions. What the loop and search call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hlcli.captioning.batch import CaptionInputs
from hlcli.captioning.search import Hypotheses, Search, beam_search, search_then_score
from hlcli.features.windows import WindowPool


class CaptionNetwork(nn.Module):
    """What makes captions of features; also a decoder for `search_then_score`. Arguments as of `methods.hin.model.Hin`.

    Attributes:
        begin: token before the first word.
        end: token after the last word.
        vocabulary_size: V.
    """

    begin: int
    end: int
    vocabulary_size: int

    def logits(
        self,
        grid_features: Tensor,
        region_features: Tensor,
        padding_mask: Tensor | None,
        token_ids: Tensor,
        image_index: Tensor | None = None,
    ) -> Tensor:
        """Scores of what follows each token, before the softmax."""
        raise NotImplementedError

    def encode(self, grid_features: Tensor, region_features: Tensor, padding_mask: Tensor | None = None) -> Any:
        """What captions are made from, computed once per image."""
        raise NotImplementedError

    def decode(self, memory: Any, token_ids: Tensor) -> Tensor:
        """Logits [B, K, T, V] of what follows each token of captions [B, K, T]."""
        raise NotImplementedError

    def start(self, memory: Any) -> tuple[Tensor, Any]:
        """First tokens [B, 1], and the state before they are read."""
        raise NotImplementedError

    def step(self, state: Any, token_ids: Tensor) -> tuple[Tensor, Any]:
        """Log-probabilities [B, K, V] of what follows tokens [B, K], and the new state."""
        raise NotImplementedError

    def reorder(self, state: Any, beams: Tensor) -> Any:
        """The state of captions that continue those at beams [B, K']."""
        raise NotImplementedError

    def state_tensors(self, state: Any) -> dict[str, Tensor]:
        """A state as tensors by name, for exported graphs; those named `memory_…` stay the same along a caption."""
        raise NotImplementedError

    def state_of(self, tensors: Mapping[str, Tensor]) -> Any:
        """The state that `state_tensors` took apart."""
        raise NotImplementedError

    def free_axes(self, name: str) -> dict[int, str]:
        """Axes of the state's tensor of that name that may have any length, beside that of images."""
        raise NotImplementedError

    def word_attention(self, memory: Any, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Where each next word of captions [B, T] comes from: weights of the grid [B, T, N], of regions [B, T, R]."""
        raise NotImplementedError


class Captioner(nn.Module):
    """A network behind an image encoder, or alone before stored features.

    Args:
        network: makes captions of features.
        backbone: images to grid features; None where these are stored.
        windows: grid to region features; None where these are stored.
        train_backbone: whether the image encoder learns too.
    """

    def __init__(
        self,
        network: CaptionNetwork,
        backbone: nn.Module | None,
        windows: WindowPool | None,
        *,
        train_backbone: bool = False,
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
        grid_features = inputs.grid_features
        if grid_features is None:
            assert self.backbone is not None
            with torch.set_grad_enabled(self.train_backbone and torch.is_grad_enabled()):
                grid_features = self.backbone(inputs.images)
        if inputs.region_features is not None:
            return grid_features, inputs.region_features, inputs.padding_mask
        assert self.windows is not None
        return grid_features, self.windows(grid_features), None

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
        if search is not None:
            memory = self.encode(inputs)
            beams, length = search.beam_size, search.max_length
            if not search.with_gradients:
                return search_then_score(self.network, memory, beam_size=beams, max_length=length)
            return beam_search(self.network, memory, beam_size=beams, max_length=length, num_results=beams)
        assert token_ids is not None, "captions are either given or searched"
        return self.network.logits(*self.features(inputs), token_ids, image_index)
