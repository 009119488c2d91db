"""HIN's search as the paper's program does it: nothing of an image is kept projected, nothing is shared by beams.

A second decoder on the weights of `hlcli.methods.hin.model.Hin`. Every word projects all grid tokens and regions again,
in every layer, for every beam; self-attention keeps the layers' inputs and projects the whole history again; memories
and histories are copied whenever beams change places; all words of all beams are sorted; the full length is always run.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hlcli.methods.hin.layers import Widths
from hlcli.methods.hin.model import Hin

FINISHED = -999.0


def attend(attention: Any, queries: Tensor, tokens: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Queries [B, Q, D] on tokens [B, N, D], with all projections; hidden [B, 1, 1, N]."""

    def heads(features: Tensor) -> Tensor:
        return features.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)

    query, key, value = heads(attention.query(queries)), heads(attention.key(tokens)), heads(attention.value(tokens))
    scores = query @ key.transpose(-1, -2) / math.sqrt(attention.key_width)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -1e9)
    found = attention.output((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))
    return attention.norm(queries + found)


def choose(attention: Any, words: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Every word [B, 1, D] on its own two tokens."""
    return attend(attention, words, torch.cat((first, second), dim=1))


class PlainDecoder:
    """One word more of every beam, as the paper's program computes it.

    Args:
        model: whose weights are used.
        grid: levels of the encoder, [B, N, D] each.
        regions: levels of the encoder, [B, R, D] each.
        hidden: [B, 1, 1, R], true = padding.
    """

    def __init__(self, model: Hin, grid: list[Tensor], regions: list[Tensor], hidden: Tensor) -> None:
        self.model, self.grid, self.regions, self.hidden = model, grid, regions, hidden
        empty = grid[0][:, :0]
        self.inputs = [empty for _ in grid]  # of every layer, [rows, t, D]
        self.padded = torch.zeros(len(empty), 0, dtype=torch.bool, device=empty.device)  # [rows, t]

    def step(self, token_ids: Tensor) -> Tensor:
        """Log-probabilities [rows, V] behind one more token [rows, 1]."""
        decoder: Any = self.model.decoder
        self.padded = torch.cat((self.padded, token_ids == self.model.padding), dim=1)
        is_real = (token_ids != self.model.padding)[..., None].float()
        position = decoder.position_embedding.weight[self.padded.shape[1]]
        words = decoder.word_embedding(token_ids) + position
        for index, layer in enumerate(decoder.layers):
            self.inputs[index] = torch.cat((self.inputs[index], words), dim=1)
            own = attend(layer.self_attention, words, self.inputs[index], self.padded[:, None, None]) * is_real
            grid, regions = self.grid[index], self.regions[index]
            of_grid = attend(layer.grid_attention, own, grid) * is_real
            of_regions = attend(layer.region_attention, own, regions, self.hidden) * is_real
            grid_crossed = attend(layer.grid_to_region, of_grid, regions, self.hidden) * is_real
            regions_crossed = attend(layer.region_to_grid, of_regions, grid) * is_real
            direct = choose(layer.direct_choice, own, of_grid, of_regions) * is_real
            crossed = choose(layer.crossed_choice, own, grid_crossed, regions_crossed) * is_real
            share = layer.gate(own + direct + crossed).sigmoid()
            fused = layer.direct_projection(direct) * share + layer.crossed_projection(crossed) * (1 - share)
            words = layer.feed_forward(layer.fusion_norm(own + fused) * is_real) * is_real
        return decoder.word_scores(words)[:, 0].log_softmax(dim=-1)

    def gather(self, rows: Tensor) -> None:
        """Go on with these rows."""
        self.grid = [level[rows] for level in self.grid]
        self.regions = [level[rows] for level in self.regions]
        self.inputs = [level[rows] for level in self.inputs]
        self.hidden, self.padded = self.hidden[rows], self.padded[rows]


def encode(model: Hin, grid: Tensor, regions: Tensor, padding: Tensor) -> PlainDecoder:
    """A search's start; the encoder is ours."""
    levels = model.encoder(grid, regions, padding)
    return PlainDecoder(model, list(levels.grid), list(levels.regions), padding[:, None, None])


def plain_search(decoder: PlainDecoder, beams: int, length: int) -> tuple[Tensor, Tensor]:
    """Words [B, K, L] and their log-probabilities, best first."""
    model, num_images = decoder.model, len(decoder.grid[0])
    device, words_known = decoder.hidden.device, model.vocabulary_size
    last = torch.full((num_images, 1), model.begin, device=device)
    scores = torch.zeros(num_images, 1, device=device)
    alive = torch.ones(num_images, 1, device=device)
    words, log_probs = last[..., None][..., :0], scores[..., None][..., :0]
    for step in range(length):
        found = decoder.step(last.flatten()[:, None]).unflatten(0, (num_images, -1))  # [B, K, V]
        candidates = scores[..., None] + found
        if step:
            alive = alive * (last != model.end)
            found = found * alive[..., None]
            finished = torch.full_like(candidates, FINISHED)
            finished[..., 0] = scores
            candidates = torch.where(alive[..., None] > 0, candidates, finished)
        ordered, order = candidates.flatten(1).sort(dim=1, descending=True)
        scores, places = ordered[:, :beams], order[:, :beams]
        parents, last = places // words_known, places % words_known
        rows = (torch.arange(num_images, device=device)[:, None] * found.shape[1] + parents).flatten()
        decoder.gather(rows)
        alive = alive.gather(1, parents)
        chosen = found.flatten(1).gather(1, places)
        index = parents[..., None].expand(-1, -1, words.shape[-1])
        words = torch.cat((words.gather(1, index), last[..., None]), dim=-1)
        log_probs = torch.cat((log_probs.gather(1, index), chosen[..., None]), dim=-1)
    return words, log_probs


def make_model(*, small: bool, device: str) -> Hin:
    """Random weights of the published sizes, which no caption ends with but by chance."""
    torch.manual_seed(0)
    words, widths = (200, Widths(32, 2, 16, 16, 64)) if small else (10201, Widths())
    model = Hin(vocabulary_size=words, grid_width=1024, region_width=2048, widths=widths)
    with torch.no_grad():
        model.decoder.word_scores.weight.mul_(4)  # as sharp as a trained network's scores
    return model.to(device).eval().requires_grad_(False)
