"""HIN's encoder: grid cells and regions tell each other what the whole image shows, then climb each other's levels.

Shapes: B batch, N grid tokens, R region slots, D width, H heads. Letters in parentheses are equations of
docs/methods/hin.md; (a) to (h) are the steps of one layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hlcli.methods.hin.layers import Attention, FeedForward, KeyMask, Widths, key_mask


class Levels(NamedTuple):
    """What the encoder hands on, one tensor per level."""

    grid: tuple[Tensor, ...]  # [B, N, D] each
    regions: tuple[Tensor, ...]  # [B, R, D] each


class SummaryMaps(NamedTuple):
    """How much each layer's whole-image tokens take of grid cells and regions."""

    grid: Tensor  # [B, layers, H, N], rows sum to 1
    regions: Tensor  # [B, layers, H, R], rows sum to 1


class _RegionMasks(NamedTuple):
    """One padding mask in the three forms that the encoder needs."""

    hidden: Tensor  # bool, [B, R]
    regions: KeyMask  # over regions
    with_summaries: KeyMask  # over regions behind two tokens that all may see


class _FeatureProjection(nn.Module):
    """Features of any width to tokens of width D."""

    def __init__(self, num_features: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(num_features, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor) -> Tensor:
        """[B, N, C] → [B, N, D]."""
        return self.norm(self.dropout(F.relu(self.linear(features))))  # (P)


class EncoderLayer(nn.Module):
    """Summaries of both kinds of features, mixed, and read again by each kind's self-attention.

    Args:
        widths: of the network.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        dim = widths.dim

        def attention(*, shortcut: bool) -> Attention:
            return Attention(widths, shortcut=shortcut)

        self.grid_query = nn.Parameter(torch.empty(1, 1, dim))
        self.region_query = nn.Parameter(torch.empty(1, 1, dim))
        self.grid_summary, self.region_summary = attention(shortcut=False), attention(shortcut=False)
        self.grid_exchange, self.region_exchange = attention(shortcut=False), attention(shortcut=False)
        self.exchange_gate = nn.Linear(2 * dim, 2)
        self.middle_norm = nn.LayerNorm(dim)
        self.middle_linear = nn.Linear(dim, dim)
        self.grid_attention, self.region_attention = attention(shortcut=True), attention(shortcut=True)
        self.grid_feed_forward, self.region_feed_forward = FeedForward(widths), FeedForward(widths)

    def forward(self, grid: Tensor, regions: Tensor, masks: _RegionMasks | None) -> tuple[Tensor, Tensor]:
        """Grid [B, N, D] and regions [B, R, D] of the next level."""
        hidden, mask = (None, None) if masks is None else (masks.hidden, masks.with_summaries)
        grid_summary = self.grid_summary.summarise(self.grid_query, grid)  # (a): [B, 1, D]
        region_summary = self.region_summary.summarise(self.region_query, regions, hidden)  # (b): [B, 1, D]
        middle = self._middle(grid_summary, region_summary)
        grid = torch.cat((middle, grid_summary, grid), dim=1)  # (e): [B, 2 + N, D]
        regions = torch.cat((middle, region_summary, regions), dim=1)
        grid = self.grid_feed_forward(self.grid_attention(grid, self.grid_attention.project(grid)))  # (g)
        projected = self.region_attention.project(regions)
        regions = self.region_feed_forward(self.region_attention(regions, projected, mask))
        return grid[:, 2:], regions[:, 2:]  # (h)

    def _middle(self, grid_summary: Tensor, region_summary: Tensor) -> Tensor:
        """A token between both summaries, [B, 1, D]."""
        from_grid = self.grid_exchange.pass_on(grid_summary)  # (c)
        from_regions = self.region_exchange.pass_on(region_summary)
        shares = self.exchange_gate(torch.cat((from_grid, from_regions), dim=-1)).softmax(dim=-1)  # (d): [B, 1, 2]
        mixed = shares[..., :1] * from_grid + shares[..., 1:] * from_regions
        return F.relu(self.middle_linear(self.middle_norm(mixed)))


class Encoder(nn.Module):
    """Layers, and two chains of attention that climb their outputs, changing sides at every level.

    One chain starts from the first grid tokens and asks regions, grid, regions… of the levels above; the other starts
    from the regions. The tokens that ask decide how many a chain has, so one always has N and one R.

    Args:
        grid_width: channels of the grid features.
        region_width: channels of the region features.
        num_layers: levels.
        widths: of the network.
    """

    def __init__(self, *, grid_width: int, region_width: int, num_layers: int, widths: Widths) -> None:
        super().__init__()
        self.grid_projection = _FeatureProjection(grid_width, widths.dim, widths.dropout)
        self.region_projection = _FeatureProjection(region_width, widths.dim, widths.dropout)
        self.layers = nn.ModuleList(EncoderLayer(widths) for _ in range(num_layers))
        self.ask_grid = nn.ModuleList(Attention(widths) for _ in range(num_layers - 1))
        self.ask_regions = nn.ModuleList(Attention(widths) for _ in range(num_layers - 1))

    def forward(self, grid_features: Tensor, region_features: Tensor, padding_mask: Tensor | None) -> Levels:
        """Levels of grid_features [B, N, Cg] and region_features [B, R, Cr]; padding_mask [B, R], true = padding."""
        grid, regions = self.grid_projection(grid_features), self.region_projection(region_features)
        masks = _region_masks(padding_mask)
        outputs = []
        for layer in self.layers:
            grid, regions = layer(grid, regions, masks)
            outputs.append((grid, regions))
        return self._climb(outputs, None if masks is None else masks.regions)

    def _climb(self, outputs: list[tuple[Tensor, Tensor]], mask: KeyMask | None) -> Levels:
        """The two chains; the first has N tokens, the second R."""
        grid_chain, region_chain = [outputs[0][0]], [outputs[0][1]]
        for step, (grid, regions) in enumerate(outputs[1:]):
            ask_grid, ask_regions = cast("Attention", self.ask_grid[step]), cast("Attention", self.ask_regions[step])
            about_grid, about_regions = ask_grid.project(grid), ask_regions.project(regions)
            if step % 2:  # (i): each chain asks its own kind of features again
                grid_chain.append(ask_grid(grid_chain[-1], about_grid))
                region_chain.append(ask_regions(region_chain[-1], about_regions, mask))
            else:
                grid_chain.append(ask_regions(grid_chain[-1], about_regions, mask))
                region_chain.append(ask_grid(region_chain[-1], about_grid))
        return Levels(tuple(grid_chain), tuple(region_chain))

    def summary_maps(self, grid_features: Tensor, region_features: Tensor, padding_mask: Tensor | None) -> SummaryMaps:
        """Where the summaries of every layer look."""
        grid, regions = self.grid_projection(grid_features), self.region_projection(region_features)
        masks = _region_masks(padding_mask)
        found = []
        for layer in cast("Iterable[EncoderLayer]", self.layers):
            of_grid = layer.grid_summary.summary_maps(layer.grid_query, grid)
            of_regions = layer.region_summary.summary_maps(layer.region_query, regions, padding_mask)
            found.append((of_grid, of_regions))
            grid, regions = layer(grid, regions, masks)
        return SummaryMaps(*(torch.stack(maps, dim=1) for maps in zip(*found, strict=True)))


def _region_masks(padding_mask: Tensor | None) -> _RegionMasks | None:
    if padding_mask is None:
        return None
    hidden = padding_mask[:, None, None]  # [B, 1, 1, R]
    return _RegionMasks(padding_mask, key_mask(hidden), key_mask(F.pad(hidden, (2, 0))))  # (f)
