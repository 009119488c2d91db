"""HIN written down plainly from its description: a second opinion that shares no code with `hlcli`.

It works on published names, one image at a time, computes every attention head by head with all its projections, and
remembers nothing between words: each step of a search reads the image and the caption so far anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def linear(x: Tensor, w: State, name: str) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(x: Tensor, w: State, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(
    queries: Tensor,
    tokens: Tensor,
    w: State,
    name: str,
    heads: int,
    hidden: Tensor | None = None,
    shortcut: bool = True,
) -> Tensor:
    """Queries [Q, D] on tokens [N, D]; hidden [Q or 1, N]."""
    q, k, v = (linear(x, w, f"{name}.attention.fc_{n}") for x, n in ((queries, "q"), (tokens, "k"), (tokens, "v")))
    found = []
    for q_head, k_head, v_head in zip(q.chunk(heads, 1), k.chunk(heads, 1), v.chunk(heads, 1), strict=True):
        scores = q_head @ k_head.T / math.sqrt(q_head.shape[1])
        if hidden is not None:
            scores = torch.where(hidden, torch.tensor(-1e9, dtype=scores.dtype), scores)
        found.append(scores.softmax(-1) @ v_head)
    out = linear(torch.cat(found, 1), w, f"{name}.attention.fc_o")
    return norm(queries + out if shortcut else out, w, f"{name}.layer_norm")


def feed_forward(x: Tensor, w: State, name: str) -> Tensor:
    return norm(x + linear(linear(x, w, f"{name}.fc1").relu(), w, f"{name}.fc2"), w, f"{name}.layer_norm")


def count(w: State, prefix: str) -> int:
    return len({name.split(".")[2] for name in w if name.startswith(prefix)})


def encode(grid: Tensor, regions: Tensor, padding: Tensor, w: State, heads: int) -> tuple[list[Tensor], list[Tensor]]:
    """Levels of one image: grid [N, C], regions [R, C'], padding [R]."""
    g = norm(linear(grid, w, "encoder.grid_proj.0").relu(), w, "encoder.grid_proj.3")
    r = norm(linear(regions, w, "encoder.region_proj.0").relu(), w, "encoder.region_proj.3")
    mask = padding[None]
    wide = torch.cat((torch.zeros(1, 2, dtype=torch.bool), mask), 1)
    seen_g, seen_r = [], []
    for layer in range(count(w, "encoder.layers.")):
        p = f"encoder.layers.{layer}."
        of_g = attention(w[p + "cls_grid"][0], g, w, p + "global_grid", heads, shortcut=False)
        of_r = attention(w[p + "cls_region"][0], r, w, p + "global_region", heads, mask, shortcut=False)
        x_g = attention(of_r, of_g, w, p + "golbal_cls_grid", heads, shortcut=False)
        x_r = attention(of_g, of_r, w, p + "golbal_cls_region", heads, shortcut=False)
        share = linear(torch.cat((x_g, x_r), 1), w, p + "gate_golbal_cls").softmax(-1)
        middle = norm(share[0, 0] * x_g + share[0, 1] * x_r, w, p + "middle_LN")
        middle = linear(middle, w, p + "middle_fc.0").relu()
        g, r = torch.cat((middle, of_g, g)), torch.cat((middle, of_r, r))
        g = feed_forward(attention(g, g, w, p + "self_grid", heads), w, p + "pwff_grid")[2:]
        r = feed_forward(attention(r, r, w, p + "self_region", heads, wide), w, p + "pwff_region")[2:]
        seen_g.append(g)
        seen_r.append(r)
    a, b = seen_g[0], seen_r[0]
    levels_g, levels_r = [a], [b]
    for j in range(len(seen_g) - 1):
        a, b = (
            attention(b, seen_g[j + 1], w, f"encoder.quer2att_grid.{j}", heads),
            attention(a, seen_r[j + 1], w, f"encoder.quer2att_region.{j}", heads, mask),
        )
        levels_g.append(b if j % 2 == 0 else a)
        levels_r.append(a if j % 2 == 0 else b)
    return levels_g, levels_r


def choose(s: Tensor, first: Tensor, second: Tensor, w: State, name: str, heads: int) -> Tensor:
    """Every word on its own two tokens."""
    rows = [attention(s[t : t + 1], torch.stack((first[t], second[t])), w, name, heads) for t in range(len(s))]
    return torch.cat(rows)


def caption_log_probs(
    token_ids: Tensor, levels: tuple[list[Tensor], list[Tensor]], padding: Tensor, w: State, heads: int, pad: int = 1
) -> Tensor:
    """[T, V] of what follows each token [T] of one caption."""
    length = len(token_ids)
    is_pad = token_ids == pad
    p = (~is_pad)[:, None].to(levels[0][0].dtype)
    positions = torch.where(is_pad, 0, torch.arange(1, length + 1))
    x = w["decoder.word_emb.weight"][token_ids] + w["decoder.pos_emb.weight"][positions]
    rows, columns = torch.arange(length)[:, None], torch.arange(length)
    causal = (columns > rows) | is_pad
    mask = padding[None]
    for layer in range(count(w, "decoder.layers.")):
        n = f"decoder.layers.{layer}."
        grid, regions = levels[0][layer], levels[1][layer]
        s = attention(x, x, w, n + "self_att", heads, causal) * p
        g = attention(s, grid, w, n + "grid_att", heads) * p
        r = attention(s, regions, w, n + "region_att", heads, mask) * p
        gx = attention(g, regions, w, n + "grid_cross_region", heads, mask) * p
        rx = attention(r, grid, w, n + "region_cross_grid", heads) * p
        e = choose(s, g, r, w, n + "self_cross_enc", heads) * p
        ex = choose(s, gx, rx, w, n + "self_cross_enc_cross", heads) * p
        z = torch.sigmoid(linear(s + e + ex, w, n + "gate.0"))
        f = linear(e, w, n + "proj1") * z + linear(ex, w, n + "proj2") * (1 - z)
        x = feed_forward(norm(s + f, w, n + "lnorm2") * p, w, n + "pwff") * p
    return F.log_softmax(x @ w["decoder.fc.weight"].T, -1)


def plain_beam_search(
    grid: Tensor,
    regions: Tensor,
    padding: Tensor,
    w: State,
    heads: int,
    beams: int,
    length: int,
    special: tuple[int, int, int] = (1, 2, 3),
) -> list[tuple[float, list[int], list[float]]]:
    """Score, words and log-probabilities of the captions of one image, best first, with lists and sorting.

    Padding is never said.
    """
    pad, begin, end = special
    kept: list[tuple[float, list[int], list[float]]] = [(0.0, [], [])]
    for _ in range(length):
        levels = encode(grid, regions, padding, w, heads)
        candidates = []
        for score, words, steps in kept:
            if end in words:
                candidates.append((score, [*words, 0], [*steps, 0.0]))
                continue
            log_probs = caption_log_probs(torch.tensor([begin, *words]), levels, padding, w, heads, pad)[-1].tolist()
            candidates += [
                (score + value, [*words, word], [*steps, value]) for word, value in enumerate(log_probs) if word != pad
            ]
        kept = sorted(candidates, key=lambda candidate: -candidate[0])[:beams]
    return kept


def plain_cross_entropy(log_probs: Sequence[Tensor], captions: Sequence[Tensor], pad: int = 1) -> Tensor:
    """Word by word; log_probs and captions per caption."""
    losses = [
        -rows[t, ids[t + 1]]
        for rows, ids in zip(log_probs, captions, strict=True)
        for t in range(len(ids) - 1)
        if ids[t + 1] != pad
    ]
    return torch.stack(losses).mean()
