"""HIN's decoder: every word asks grid cells and regions, directly and through one another, and a gate fuses both.

Shapes: B images, K captions of each (captions of an image lie together), T tokens of a caption, N grid tokens,
R region slots, D width, H heads, V vocabulary. Numbers in parentheses are equations of docs/methods/hin.md; (1) to (11)
are the steps of one layer.

Two ways through the same layers: all words of finished captions at once, [B * K, T, D]; or one more word of each
unfinished caption, [B, K, D]. Either way the keys and values of an image are made once and shared by its captions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from hlcli.methods.hin.layers import Attention, FeedForward, KeyMask, KeysValues, Widths, key_mask


class LevelMemory(NamedTuple):
    """A level of the encoder as one decoder layer asks it."""

    grid_attention: KeysValues  # of grid tokens
    region_attention: KeysValues  # of regions
    region_to_grid: KeysValues  # of grid tokens
    grid_to_region: KeysValues  # of regions

    def select(self, index: Tensor) -> LevelMemory:
        """Of some images, [P]."""
        return LevelMemory(*(asked.select(index) for asked in self))


class Memory(NamedTuple):
    """All that captions are made from: projected once per image, whatever is asked later."""

    levels: tuple[LevelMemory, ...]  # one per decoder layer
    padding_mask: Tensor | None  # bool, [B, R], true = padding
    region_keys: KeyMask | None  # the same for the kernels

    @property
    def batch_size(self) -> int:
        """B."""
        return self.levels[0].grid_attention.keys.shape[0]

    def select(self, index: Tensor) -> Memory:
        """Of some images, [P], in any order and as often as they are named."""
        levels = tuple(level.select(index) for level in self.levels)
        return memory_of(levels, None if self.padding_mask is None else self.padding_mask[index])


def memory_of(levels: tuple[LevelMemory, ...], padding_mask: Tensor | None) -> Memory:
    """Levels and which of their regions are padding."""
    return Memory(levels, padding_mask, None if padding_mask is None else key_mask(padding_mask[:, None, None]))


class DecoderState(NamedTuple):
    """Captions in the making. Words of all captions of an image lie in one row, and each sees its own forerunners:
    so captions change places without a feature being moved."""

    memory: Memory
    past: tuple[KeysValues, ...]  # per layer, [B, H, S, ·] of all S words so far
    visible: Tensor  # bool, [B, K, S]: the words that a caption consists of, without padding
    position: int | Tensor  # words per caption so far; in exported graphs a tensor


class DecoderLayer(nn.Module):
    """Self-attention, four questions to the image, two choices between their answers, one gate.

    Args:
        widths: of the network.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        dim, dropout = widths.dim, widths.dropout

        def attention() -> Attention:
            return Attention(widths)

        self.self_attention = attention()
        self.grid_attention, self.region_attention = attention(), attention()
        self.grid_to_region, self.region_to_grid = attention(), attention()
        self.direct_choice, self.crossed_choice = attention(), attention()
        self.gate = nn.Linear(dim, dim)
        self.direct_projection, self.crossed_projection = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.fusion_dropout = nn.Dropout(dropout)
        self.fusion_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(widths)

    def remember(self, grid: Tensor, regions: Tensor) -> LevelMemory:
        """Keys and values of grid tokens [B, N, D] and regions [B, R, D]."""
        return LevelMemory(
            self.grid_attention.project(grid),
            self.region_attention.project(regions),
            self.region_to_grid.project(grid),
            self.grid_to_region.project(regions),
        )

    def forward(
        self,
        words: Tensor,
        own: KeysValues,
        own_keys: KeyMask,
        is_real: Tensor,
        level: LevelMemory,
        region_keys: KeyMask | None,
    ) -> Tensor:
        """The words after this layer; those of padding are 0.

        Args:
            words: [B * K, T, D], or [B, K, D].
            own: what the self-attention asks.
            own_keys: which of it each word sees.
            is_real: [B * K, T, 1] or [B, K, 1], 0 for padding and 1 for words, of the words' dtype.
            level: the image.
            region_keys: which regions may be asked.
        """
        found = self.self_attention(words, own, own_keys) * is_real  # (1)
        num_images = level.grid_attention.keys.shape[0]
        asking = found.reshape(num_images, -1, words.shape[-1])  # [B, K * T, D]: captions are further queries
        fused = self._fuse(asking, is_real.reshape(num_images, -1, 1), level, region_keys)
        return fused.view(words.shape)

    def _fuse(self, words: Tensor, is_real: Tensor, level: LevelMemory, region_keys: KeyMask | None) -> Tensor:
        """Steps (2) to (11) on words [B, Q, D]."""
        grid = self.grid_attention(words, level.grid_attention) * is_real  # (2)
        regions = self.region_attention(words, level.region_attention, region_keys) * is_real  # (3)
        grid_crossed = self.grid_to_region(grid, level.grid_to_region, region_keys) * is_real  # (4)
        regions_crossed = self.region_to_grid(regions, level.region_to_grid) * is_real  # (5)
        direct = self.direct_choice.between(words, grid, regions) * is_real  # (6)
        crossed = self.crossed_choice.between(words, grid_crossed, regions_crossed) * is_real  # (7)
        share = self.gate(words + direct + crossed).sigmoid()  # (8)
        fused = self.direct_projection(direct) * share + self.crossed_projection(crossed) * (1 - share)  # (9)
        fused = self.fusion_norm(words + self.fusion_dropout(fused)) * is_real  # (10)
        return self.feed_forward(fused) * is_real  # (11)


class Decoder(nn.Module):
    """Word and position vectors, layers, scores of the next word.

    Args:
        vocabulary_size: V.
        num_layers: at most the levels of the encoder.
        widths: of the network.
        max_length: longest caption in tokens.
        padding: the token that stands for nothing.
    """

    def __init__(self, *, vocabulary_size: int, num_layers: int, widths: Widths, max_length: int, padding: int) -> None:
        super().__init__()
        dim = widths.dim
        self.max_length, self.padding = max_length, padding
        self.word_embedding = nn.Embedding(vocabulary_size, dim, padding_idx=padding)
        self.position_embedding = nn.Embedding(max_length + 1, dim)  # row 0 belongs to padding
        self.position_embedding.requires_grad_(False)
        self.layers = nn.ModuleList(DecoderLayer(widths) for _ in range(num_layers))
        self.word_scores = nn.Linear(dim, vocabulary_size, bias=False)

    def remember(self, grid: Iterable[Tensor], regions: Iterable[Tensor], padding_mask: Tensor | None) -> Memory:
        """The memory of as many levels as there are layers, [B, N, D] and [B, R, D] each; padding_mask [B, R]."""
        levels = zip(cast("Iterable[DecoderLayer]", self.layers), grid, regions, strict=True)
        return memory_of(tuple(layer.remember(*level) for layer, *level in levels), padding_mask)

    def forward(self, token_ids: Tensor, memory: Memory) -> Tensor:
        """Logits [B * K, T, V] of what follows each token of captions [B * K, T]."""
        words, is_real, own_keys = self._embed(token_ids)
        for layer, level in self._layers_of(memory):
            words = layer(words, layer.self_attention.project(words), own_keys, is_real, level, memory.region_keys)
        return self.word_scores(words)  # (12)

    def start(self, memory: Memory) -> DecoderState:
        """One caption per image, still without words."""
        past = []
        for level in memory.levels:
            keys, values = (tensor[:, :, :0] for tensor in level.grid_attention)
            past.append(KeysValues(keys, values))
        visible = torch.zeros(memory.batch_size, 1, 0, dtype=torch.bool, device=keys.device)
        return DecoderState(memory, tuple(past), visible, position=0)

    def step(self, token_ids: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Logits [B, K, V] of what follows one more token of each caption, [B, K].

        Raises:
            ValueError: when captions would become longer than the table of positions.
        """
        position = state.position + 1
        is_word = token_ids != self.padding  # [B, K]
        words = self.word_embedding(token_ids) + self._place(position)  # [B, K, D]
        itself = torch.eye(token_ids.shape[1], dtype=torch.bool, device=token_ids.device)
        visible = torch.cat((state.visible, itself & is_word[:, None]), dim=-1)  # [B, K, S + K]
        is_real = is_word[..., None].to(words.dtype)
        own_keys, memory = key_mask(~visible[:, None]), state.memory
        past = []
        for (layer, level), before in zip(self._layers_of(memory), state.past, strict=True):
            past.append(before.joined(layer.self_attention.project(words)))
            words = layer(words, past[-1], own_keys, is_real, level, memory.region_keys)
        return self.word_scores(words), DecoderState(memory, tuple(past), visible, position)

    def word_attention_maps(self, token_ids: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Where the last layer looks for what follows each token [B, T]: [B, H, T, N] and [B, H, T, R]."""
        words, is_real, own_keys = self._embed(token_ids)
        *lower, last = self._layers_of(memory)
        for layer, level in lower:
            words = layer(words, layer.self_attention.project(words), own_keys, is_real, level, memory.region_keys)
        layer, level = last
        words = layer.self_attention(words, layer.self_attention.project(words), own_keys) * is_real
        hidden = None if memory.padding_mask is None else memory.padding_mask[:, None, None]
        return (
            layer.grid_attention.attention_maps(words, level.grid_attention),
            layer.region_attention.attention_maps(words, level.region_attention, hidden),
        )

    def _place(self, position: int | Tensor) -> Tensor:
        """Vector [D] of a position; a graph that is exported cannot look at it."""
        if isinstance(position, Tensor):
            return self.position_embedding(position)
        if position > self.max_length:
            raise ValueError(f"Expected at most {self.max_length} tokens, but got one more; raise max_length.")
        return self.position_embedding.weight[position]

    def _layers_of(self, memory: Memory) -> Iterator[tuple[DecoderLayer, LevelMemory]]:
        """Every layer and what it asks."""
        return zip(cast("Iterable[DecoderLayer]", self.layers), memory.levels, strict=True)

    def _embed(self, token_ids: Tensor) -> tuple[Tensor, Tensor, KeyMask]:
        """Vectors [P, T, D] of whole captions, which of them are real [P, T, 1], and what each may see."""
        length = token_ids.shape[-1]
        if length > self.max_length:
            raise ValueError(f"Expected captions of at most {self.max_length} tokens, but got {length}; cut them.")
        is_padding = token_ids == self.padding  # [P, T]
        positions = torch.arange(1, length + 1, device=token_ids.device).expand_as(token_ids)
        # (0): [P, T, D]
        words = self.word_embedding(token_ids) + self.position_embedding(positions.masked_fill(is_padding, 0))
        future = torch.ones(length, length, dtype=torch.bool, device=token_ids.device).triu(1)
        own_keys = key_mask((future | is_padding[:, None])[:, None])  # [P, 1, T, T]
        return words, (~is_padding)[..., None].to(words.dtype), own_keys
