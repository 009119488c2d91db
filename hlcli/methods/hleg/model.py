"""HLEG: hierarchical label embedding and grouping.

"Learning Hierarchical Label Embedding and Grouping for Visual Intention Understanding", IEEE Transactions on
Affective Computing, 2023. Every level of the label tree has one transformer decoder layer. The fine level asks the
image with a learned query per label; each level above asks with the mean of what its children have found.

Shapes: B batch, N = h * w grid tokens, C backbone width, D hidden width, L fine labels, K labels of a level,
A labels of all levels together. Inside, levels run fine → coarse, as the computation does; results are coarse → fine.
Numbers in parentheses are equations of docs/methods/hleg.md, which also lists the differences from the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hlcli.data.labels import LabelSpace
from hlcli.layers.grouped_linear import GroupedLinear
from hlcli.layers.hierarchy import LabelHierarchy
from hlcli.layers.position import check_num_tokens, sine_position
from hlcli.layers.transformer import DecoderLayer, Encoder
from hlcli.losses.localisation import grad_cam, normalise_maps, score_gradients


class _HeadOutput(NamedTuple):
    """What the head finds in a feature map; levels coarse → fine."""

    level_logits: tuple[Tensor, ...]  # [B, K] each
    attention_maps: tuple[Tensor, ...]  # [B, K, N] each, rows sum to 1; empty unless asked for


class Output(NamedTuple):
    """Scores of an image batch before the sigmoid."""

    logits: Tensor  # [B, L], the fine level
    level_logits: tuple[Tensor, ...]  # [B, K] each, coarse → fine
    label_maps: Tensor | None = None  # [B, object + context labels, h, w], Grad-CAM in [0, 1); only when asked for


class HlegHead(nn.Module):
    """Everything after the feature map, for any label tree and any grid.

    Args:
        labels: the label space.
        encoder: transformer over grid tokens.
        decoder: one layer per level, fine → coarse.
        num_features: C.
        hidden_dim: D.
        grid: height and width of the feature map.
        input_projection: whether a linear layer leads from C to D.
    """

    position: Tensor

    def __init__(
        self,
        labels: LabelSpace,
        encoder: Encoder,
        decoder: Sequence[DecoderLayer],
        *,
        num_features: int,
        hidden_dim: int,
        grid: tuple[int, int],
        input_projection: bool,
    ) -> None:
        super().__init__()
        if len(decoder) != len(labels.levels):
            raise ValueError(f"Expected {len(labels.levels)} decoder layers, one per level, but got {len(decoder)}.")
        self.grid = grid
        self.sizes = tuple(reversed(labels.level_sizes))  # fine → coarse
        num_tokens = grid[0] * grid[1]
        self.input_projection = nn.Linear(num_features, hidden_dim) if input_projection else nn.Identity()
        self.register_buffer("position", sine_position(*grid, hidden_dim))  # (1): [N, D]
        self.encoder = encoder
        self.token_projection = nn.Linear(num_tokens, sum(self.sizes))  # all levels' matrices, one below the other
        self.fine_queries = nn.Parameter(torch.randn(labels.num_labels, hidden_dim))
        self.decoder = nn.ModuleList(decoder)
        self.hierarchy = LabelHierarchy(labels)
        self.final_norm = nn.LayerNorm(hidden_dim)  # shared by the levels
        self.classifier = GroupedLinear(sum(self.sizes), hidden_dim)  # rows fine → coarse
        for upper_level in self.token_projection.weight.split(self.sizes)[1:]:  # the fine one keeps its default
            nn.init.xavier_uniform_(upper_level)

    def forward(self, grid_features: Tensor, *, need_maps: bool = False) -> _HeadOutput:
        """Score the labels of every level from grid_features [B, N, C]."""
        check_num_tokens(grid_features.shape[1], self.grid)
        memory = self.encoder(self.input_projection(grid_features), self.position)  # (2): [B, N, D]
        keys = memory + self.position
        found: list[Tensor] = []  # raw outputs [B, K, D], fine → coarse
        maps: list[Tensor] = []
        for depth, (label_features, layer) in enumerate(zip(self._first_features(memory), self.decoder, strict=True)):
            # (4), grouping: a level's query is the mean of its children's outputs, not yet normalised.
            queries = self.hierarchy.average(found[-1], len(self.sizes) - 1 - depth) if depth else self.fine_queries
            # (5): [B, K, D]
            label_features, level_maps = layer(label_features, queries, keys, memory, need_weights=need_maps)
            found.append(label_features)
            if level_maps is not None:
                maps.append(level_maps)
        logits = self.classifier(self.final_norm(torch.cat(found, dim=1)))  # (6): [B, A]
        return _HeadOutput(logits.split(self.sizes, dim=1)[::-1], tuple(reversed(maps)))

    def _first_features(self, memory: Tensor) -> tuple[Tensor, ...]:
        """Start of every level, [B, K, D] fine → coarse: sigmoid of token mixtures, channel by channel."""
        mixed = self.token_projection.weight @ memory + self.token_projection.bias[:, None]  # [B, A, D]
        return mixed.sigmoid().split(self.sizes, dim=1)  # (3)


class Hleg(nn.Module):
    """Backbone and head.

    Args:
        backbone: images to grid features; has `num_features` and `grid`.
        head: grid features to logits.
        object_labels: fine labels whose Grad-CAM the localisation loss pulls onto objects.
        context_labels: fine labels whose Grad-CAM it pushes off objects.
        differentiable_cam: whether a loss on the Grad-CAM maps can be trained.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: HlegHead,
        *,
        object_labels: Sequence[int] = (),
        context_labels: Sequence[int] = (),
        differentiable_cam: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.object_labels, self.context_labels = tuple(object_labels), tuple(context_labels)
        self.differentiable_cam = differentiable_cam

    def forward(self, images: Tensor, *, need_label_maps: bool = False) -> Output:
        """Score images [B, 3, H, W]; on demand also draw the Grad-CAM maps of object and context labels."""
        grid_features = self.backbone(images)  # [B, N, C]
        if need_label_maps:
            return self._with_label_maps(grid_features)
        level_logits = self.head(grid_features).level_logits
        return Output(level_logits[-1], level_logits)

    def attention_maps(self, images: Tensor) -> tuple[Output, tuple[Tensor, ...]]:
        """The scores, and per level (coarse → fine) where its labels look: [B, K, N], rows sum to 1 in eval mode."""
        found = self.head(self.backbone(images), need_maps=True)
        return Output(found.level_logits[-1], found.level_logits), found.attention_maps

    def _with_label_maps(self, grid_features: Tensor) -> Output:
        """Score, and differentiate the scores, inside one forward pass: wrappers may copy what leaves it."""
        if not grid_features.requires_grad:  # a frozen backbone
            grid_features = grid_features.detach().requires_grad_()
        # Only the plain attention kernel can be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH) if self.differentiable_cam else nullcontext():
            level_logits = self.head(grid_features).level_logits
            gradients = score_gradients(
                level_logits[-1],
                grid_features,
                self.object_labels + self.context_labels,
                differentiable=self.differentiable_cam,
            )
        feature_map = grid_features.transpose(1, 2).unflatten(-1, self.head.grid)  # [B, C, h, w]
        gradients = gradients.transpose(-1, -2).unflatten(-1, self.head.grid)  # [B, K, C, h, w]
        maps = grad_cam(feature_map, gradients)  # (12)
        maps = normalise_maps(maps.to(torch.promote_types(maps.dtype, torch.float32)))
        return Output(level_logits[-1], level_logits, maps if self.differentiable_cam else maps.detach())
