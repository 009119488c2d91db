"""HSPNet written down plainly from its description: a second opinion that shares no code with `hlcli`.

It works on published names, runs every token of the context and every query of the attention pool, and computes the
parents anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def below(state: State, prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def norm(x: Tensor, w: State, name: str, training: bool) -> Tensor:
    statistics = (w[f"{name}.running_mean"], w[f"{name}.running_var"])
    return F.batch_norm(x, *statistics, w[f"{name}.weight"], w[f"{name}.bias"], training, 0.1, 1e-5)


def bottleneck(x: Tensor, w: State, stride: int, training: bool) -> Tensor:
    y = norm(F.conv2d(x, w["conv1.weight"]), w, "bn1", training).relu()
    y = norm(F.conv2d(y, w["conv2.weight"], padding=1), w, "bn2", training).relu()
    y = F.avg_pool2d(y, stride) if stride > 1 else y
    y = norm(F.conv2d(y, w["conv3.weight"]), w, "bn3", training)
    if "downsample.0.weight" in w:
        x = F.avg_pool2d(x, stride) if stride > 1 else x
        x = norm(F.conv2d(x, w["downsample.0.weight"]), w, "downsample.1", training)
    return (x + y).relu()


def image_features(images: Tensor, w: State, heads: int, training: bool) -> Tensor:
    x = images
    for number, stride in ((1, 2), (2, 1), (3, 1)):
        x = norm(F.conv2d(x, w[f"conv{number}.weight"], stride=stride, padding=1), w, f"bn{number}", training).relu()
    x = F.avg_pool2d(x, 2)
    for stage in (1, 2, 3, 4):
        for block in sorted({int(name.split(".")[1]) for name in w if name.startswith(f"layer{stage}.")}):
            stride = 2 if stage > 1 and block == 0 else 1
            x = bottleneck(x, below(w, f"layer{stage}.{block}."), stride, training)
    tokens = x.flatten(2).transpose(1, 2)  # [B, N, width]
    tokens = torch.cat((tokens.mean(1, keepdim=True), tokens), 1) + w["attnpool.positional_embedding"]
    q, k, v = (F.linear(tokens, w[f"attnpool.{n}_proj.weight"], w[f"attnpool.{n}_proj.bias"]) for n in "qkv")
    return F.linear(attend(q, k, v, heads), w["attnpool.c_proj.weight"], w["attnpool.c_proj.bias"])[:, 0]


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))  # [B, heads, N, width / heads]
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    scores = scores if mask is None else scores + mask
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def layer_norm(x: Tensor, w: State, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def text_features(prompts: Tensor, ends: Sequence[int], w: State, heads: int) -> Tensor:
    x = prompts + w["positional_embedding"]
    length = x.shape[1]
    mask = torch.full((length, length), -math.inf, dtype=x.dtype).triu(1)
    for block in sorted({int(name.split(".")[2]) for name in w if name.startswith("transformer.")}):
        b = below(w, f"transformer.resblocks.{block}.")
        q, k, v = F.linear(layer_norm(x, b, "ln_1"), b["attn.in_proj_weight"], b["attn.in_proj_bias"]).chunk(3, -1)
        x = x + F.linear(attend(q, k, v, heads, mask), b["attn.out_proj.weight"], b["attn.out_proj.bias"])
        hidden = F.linear(layer_norm(x, b, "ln_2"), b["mlp.c_fc.weight"], b["mlp.c_fc.bias"])
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        x = x + F.linear(hidden, b["mlp.c_proj.weight"], b["mlp.c_proj.bias"])
    x = layer_norm(x, w, "ln_final")
    return torch.stack([row[end] for row, end in zip(x, ends, strict=True)]) @ w["text_projection"]


def graph(x: Tensor, adjacency: Tensor, w: State) -> Tensor:
    y = x
    for number in (1, 2, 3):
        y = adjacency @ (y @ w[f"gc{number}.weight"])
        y = torch.where(y > 0, y, 0.2 * y) if number < 3 else y
    return w["gamma"] * y + (1 - w["gamma"]) * x


def split(relation: Tensor, p: float) -> Tensor:
    """Row by row, with plain loops."""
    count = len(relation)
    rows = []
    for index, row in enumerate(relation.tolist()):
        kept = sorted(range(count), key=lambda other: -row[other])[: 3 * count // 4]
        values = [row[other] if other in kept and other != index else 0.0 for other in range(count)]
        total = sum(values)
        shares = [p * value / total if total > 0 else 0.0 for value in values]
        shares[index] = 1 - p if total > 0 else 1.0
        rows.append(shares)
    return torch.tensor(rows, dtype=relation.dtype)


def plain_logits(
    state: State,
    images: Tensor,
    relation: Tensor,
    parent_index: Sequence[int],
    ends: tuple[Sequence[int], Sequence[int]],
    *,
    heads: tuple[int, int],
    training: bool,
    factor: float = 10.0,
    p: float = 0.2,
) -> Tensor:
    """Logits [B, L]; in training mode the running statistics in `state` move.

    Args:
        state: published names; parents' prompts under `embedding`.
        images: [B, 3, H, W].
        relation: of children, then parents.
        parent_index: parent of every child.
        ends: where the texts of children and of parents end.
        heads: of the attention pool and of the text tower.
        training: batch statistics.
        factor: of the cosines.
        p: share of the neighbours.
    """
    count = len(parent_index)
    children, parents = split(relation[:count, :count], p), split(relation[count:, count:], p)
    text, gcn, learner = below(state, "text_encoder."), below(state, "gcn."), below(state, "child_prompt_learner.")
    above = text_features(state["parent_prompt_learner.embedding"], ends[1], text, heads[1])
    meta = below(learner, "meta_net.")
    hidden = F.linear(graph(above, parents, gcn), meta["linear1.weight"], meta["linear1.bias"]).relu()
    words = F.linear(hidden, meta["linear2.weight"], meta["linear2.bias"])  # [P, n · W]
    prompts = []
    for child, parent in enumerate(parent_index):
        context = words[parent].reshape(-1, learner["token_prefix"].shape[-1])
        prompts.append(torch.cat((learner["token_prefix"][child], context, learner["token_suffix"][child])))
    labels = graph(text_features(torch.stack(prompts), ends[0], text, heads[1]), children, gcn)
    found = image_features(images, below(state, "image_encoder."), heads[0], training)
    found, labels = (x / x.square().sum(-1, keepdim=True).sqrt() for x in (found, labels))
    return factor * found @ labels.T


def plain_splc(logits: Tensor, targets: Tensor, epoch: int, tau: float = 0.6, change_epoch: int = 1) -> Tensor:
    """Self-paced loss correction, summed."""
    total = logits.new_zeros(())
    for row, wanted in zip(logits, targets, strict=True):
        for z, y in zip(row, wanted, strict=True):
            shifted = z - 1 if y == 1 else z
            score = torch.sigmoid(shifted)
            if y == 1 or (epoch >= change_epoch and score > tau):
                total = total - (1 - score) ** 2 * F.logsigmoid(shifted)
            else:
                total = total - score**2 * F.logsigmoid(-shifted)
    return total
