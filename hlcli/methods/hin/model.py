"""HIN: hierarchical interaction network for image captioning.

Grid cells and regions of an image are encoded together, layer by layer, into levels; the levels of both are chained by
attention, so that every decoder layer reads a memory that has seen all levels below it. Words ask both memories,
directly and one through the other.

Shapes: B images, N grid tokens, R region slots, P captions, T tokens of a caption, K captions of each image, V words,
H heads. The equations, line by line, and the differences from the reference: docs/methods/hin.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from hlcli.captioning.captioner import CaptionNetwork
from hlcli.captioning.vocabulary import BEGIN, END, PADDING
from hlcli.methods.hin.decoder import Decoder, DecoderState, Memory
from hlcli.methods.hin.encoder import Encoder, SummaryMaps
from hlcli.methods.hin.layers import Widths, with_zero_gradients
from hlcli.methods.hin.tensors import free_axes, state_of, state_tensors


class Marks(NamedTuple):
    """Tokens that are no words: what fills short captions, what stands before the first word, and after the last."""

    padding: int = PADDING
    begin: int = BEGIN
    end: int = END


class Hin(CaptionNetwork):
    """Grid and region features to captions; also a `captioning.search.Decoder`.

    Args:
        vocabulary_size: V.
        grid_width: channels of the grid features.
        region_width: channels of the region features.
        widths: of the network.
        encoder_layers: levels.
        decoder_layers: at most as many; they read the first levels.
        max_length: longest caption in tokens, begin and end counted.
        positional: fixed table of positions: random as the reference has it, or sines.
        marks: tokens that are no words.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        grid_width: int,
        region_width: int,
        widths: Widths = Widths(),  # noqa: B008 - a tuple never changes
        encoder_layers: int = 3,
        decoder_layers: int = 3,
        max_length: int = 54,
        positional: Literal["random", "sinusoid"] = "random",
        marks: Marks = Marks(),  # noqa: B008
    ) -> None:
        super().__init__()
        padding, begin, end = marks
        if not 1 <= decoder_layers <= encoder_layers:
            raise ValueError(
                f"Expected 1 to {encoder_layers} decoder layers, one per encoder layer at most, "
                f"but got {decoder_layers}."
            )
        if len({padding, begin, end}) < 3 or not all(0 <= word < vocabulary_size for word in (padding, begin, end)):
            raise ValueError(
                f"Expected three different words below {vocabulary_size} for padding, begin and end, "
                f"but got {padding}, {begin} and {end}."
            )
        self.vocabulary_size, self.padding, self.begin, self.end = vocabulary_size, padding, begin, end
        self.encoder = Encoder(
            grid_width=grid_width, region_width=region_width, num_layers=encoder_layers, widths=widths
        )
        self.decoder = Decoder(
            vocabulary_size=vocabulary_size,
            num_layers=decoder_layers,
            widths=widths,
            max_length=max_length,
            padding=padding,
        )
        self._initialise(positional)

    def forward(
        self,
        grid_features: Tensor,
        region_features: Tensor,
        padding_mask: Tensor | None,
        token_ids: Tensor,
        image_index: Tensor | None = None,
    ) -> Tensor:
        """Log-probabilities of what follows each token; arguments and shape as of `logits`."""
        logits = self.logits(grid_features, region_features, padding_mask, token_ids, image_index)
        return _log_probabilities(logits)

    def logits(
        self,
        grid_features: Tensor,
        region_features: Tensor,
        padding_mask: Tensor | None,
        token_ids: Tensor,
        image_index: Tensor | None = None,
    ) -> Tensor:
        """Scores of what follows each token, before the softmax: [P, T, V].

        Args:
            grid_features: [B, N, Dg].
            region_features: [B, R, Dr].
            padding_mask: bool [B, R], true where a slot holds no region; None: all hold one.
            token_ids: [P, T] captions, or [B, K, T] with as many for each image ([B, K, T, V] comes back).
            image_index: [P], the image of each caption; None: one caption each, in order.
        """
        memory = self.encode(grid_features, region_features, padding_mask)
        return self.decode(memory if image_index is None else memory.select(image_index), token_ids)

    def encode(self, grid_features: Tensor, region_features: Tensor, padding_mask: Tensor | None = None) -> Memory:
        """What captions are made from, computed once per image; arguments as of `logits`.

        Raises:
            ValueError: when the shapes do not fit each other, or there is no grid token or region slot.
        """
        _check_features(grid_features, region_features, padding_mask)
        grid, regions = self.encoder(grid_features, region_features, padding_mask)
        read = len(self.decoder.layers)
        grid = (with_zero_gradients(grid[0], *grid[read:], *regions[read:]), *grid[1:read])
        return self.decoder.remember(grid, regions[:read], padding_mask)

    def decode(self, memory: Memory, token_ids: Tensor) -> Tensor:
        """Logits of what follows each token of captions [B, T], or of K for each image [B, K, T].

        Raises:
            ValueError: when the captions are too long, or do not belong to the images.
        """
        if len(token_ids) != memory.batch_size:
            raise ValueError(
                f"Expected captions of {memory.batch_size} images, but got {len(token_ids)}; "
                "image_index says which image each is about."
            )
        logits = self.decoder(token_ids.flatten(0, -2), memory)
        return logits.view(*token_ids.shape, -1)

    def start(self, memory: Memory) -> tuple[Tensor, DecoderState]:
        """First tokens [B, 1] of one caption per image, and the state before them."""
        state = self.decoder.start(memory)
        first = torch.full((memory.batch_size, 1), self.begin, device=state.visible.device)
        return first, state

    def step(self, state: DecoderState, token_ids: Tensor) -> tuple[Tensor, DecoderState]:
        """Log-probabilities [B, K, V] of what follows when captions go on with token_ids [B, K]."""
        logits, state = self.decoder.step(token_ids, state)
        return _log_probabilities(logits), state

    def reorder(self, state: DecoderState, beams: Tensor) -> DecoderState:
        """The state of captions that continue those at `beams`, [B, K] places below the former K."""
        index = beams[..., None].expand(-1, -1, state.visible.shape[-1])
        return state._replace(visible=state.visible.gather(1, index))

    def state_tensors(self, state: DecoderState) -> dict[str, Tensor]:
        """The state as tensors by name; those named `memory_…` stay the same along a caption."""
        return state_tensors(state)

    def state_of(self, tensors: Mapping[str, Tensor]) -> DecoderState:
        """The state that `state_tensors` took apart."""
        return state_of(tensors, len(self.decoder.layers))

    def free_axes(self, name: str) -> dict[int, str]:
        """Axes of the state's tensor of that name that may have any length, beside that of images."""
        return free_axes(name)

    def word_attention(self, memory: Memory, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Where each next word of captions [B, T] comes from, mean over heads of the last layer.

        Returns:
            Weights of grid tokens [B, T, N] and of regions [B, T, R], rows sum to 1. Row t belongs to the word that
            follows token t.
        """
        grid, regions = self.decoder.word_attention_maps(token_ids, memory)
        return grid.mean(dim=1), regions.mean(dim=1)

    def summary_attention(
        self, grid_features: Tensor, region_features: Tensor, padding_mask: Tensor | None = None
    ) -> SummaryMaps:
        """Where the encoder's two whole-image tokens look, by layer and head."""
        _check_features(grid_features, region_features, padding_mask)
        return self.encoder.summary_maps(grid_features, region_features, padding_mask)

    def _initialise(self, positional: str) -> None:
        """As the reference: Xavier for all that has rows, positions and the row of padding not spared."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        if positional == "sinusoid":
            table = self.decoder.position_embedding.weight
            table.data.copy_(sinusoids(*table.shape))


def _log_probabilities(logits: Tensor) -> Tensor:
    """Logarithm of the softmax over the last dimension, in single precision at least."""
    return logits.log_softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def sinusoids(num_positions: int, dim: int) -> Tensor:
    """Sines in even columns and cosines in odd ones, of wavelengths that grow: [num_positions, dim]; row 0 is zero."""
    positions = torch.arange(num_positions, dtype=torch.float64)[:, None]
    rates = torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * (-math.log(10000.0) / dim))
    angles = positions * rates  # [num_positions, ceil(dim / 2)]
    table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :dim]
    table[0] = 0
    return table.float()


def _check_features(grid_features: Tensor, region_features: Tensor, padding_mask: Tensor | None) -> None:
    for name, features in (("grid_features", grid_features), ("region_features", region_features)):
        if features.ndim != 3 or features.shape[1] == 0:
            raise ValueError(
                f"Expected {name} of shape [images, at least 1, width], but got {list(features.shape)}; an image "
                "without regions has one slot that is padding."
            )
    if grid_features.shape[0] != region_features.shape[0]:
        raise ValueError(
            f"Expected features of the same images, but got {len(grid_features)} and {len(region_features)}."
        )
    if padding_mask is not None and (
        padding_mask.shape != region_features.shape[:2] or padding_mask.dtype != torch.bool
    ):
        raise ValueError(
            f"Expected a bool padding_mask of shape {list(region_features.shape[:2])}, but got {padding_mask.dtype} of "
            f"{list(padding_mask.shape)}."
        )
