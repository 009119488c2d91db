"""SALGL: scene-aware label graph learning.

"Scene-Aware Label Graph Learning for Multi-Label Image Classification", ICCV 2023. What one label means for another
depends on the scene: a cup means a table in a kitchen, not in a stadium. Scenes are found without being named; the
co-occurrence of labels is counted for each of them, and an image's labels exchange messages over the graph of its own
scene.

Shapes: B batch, N tokens (class token included), D backbone width, E label-embedding width, L labels, S scenes.
Numbers in parentheses are equations of docs/methods/salgl.md, which also lists the differences from the reference.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hlcli.layers.graph import GatedGraph
from hlcli.layers.grouped_linear import GroupedLinear
from hlcli.layers.precision import without_autocast
from hlcli.methods.label_head import HeadParts, LabelAttentionHead
from hlcli.methods.salgl.cooccurrence import Cooccurrence

_ENTROPY_EPS = 1e-7
_BATCH_ENTROPY_FACTOR = 100.0


class Output(NamedTuple):
    """Scores of an image batch before the sigmoid, and how they came about."""

    logits: Tensor  # [B, L]
    scene_probs: Tensor  # [B, S], rows sum to 1
    attention_maps: Tensor  # [B, L, N], rows sum to 1
    adjacency: Tensor  # [B, L, L], the graph of each image
    sample_entropy: Tensor  # scalar; small when each image is sure of its scene
    batch_entropy: Tensor  # scalar; small when all scenes are used alike


class SalglHead(LabelAttentionHead):
    """Everything after the backbone.

    Args:
        parts: embeddings, positions, encoder and label attention.
        graph: messages between labels.
        cooccurrence: counts of label pairs, and the graphs they make.
        dim: D.
        count_before_reading: count training images before their own graph is read.
    """

    def __init__(
        self,
        parts: HeadParts,
        graph: GatedGraph,
        cooccurrence: Cooccurrence,
        *,
        dim: int,
        count_before_reading: bool = True,
    ) -> None:
        super().__init__(parts)
        num_scenes, num_labels, _ = cooccurrence.counts.shape
        self.count_before_reading = count_before_reading
        self.scene_classifier = nn.Linear(dim, num_scenes, bias=False)
        self.cooccurrence = cooccurrence
        self.graph = graph
        self.fusion = nn.Linear(2 * dim if graph.num_steps else dim, dim)
        self.classifier = GroupedLinear(num_labels, dim, offset_is_vector=True)

    def forward(self, grid_features: Tensor, targets: Tensor | None = None) -> Output:
        """Score every label from grid_features [B, N, D].

        In training mode, targets [B, L] are counted: the co-occurrence is part of the state and changes here.
        """
        self.check_size(grid_features)
        tokens = self.encoder(grid_features, self.position)  # (1): [B, N, D]
        scene_probs = self._scene_probs(tokens)  # [B, S]
        adjacency = self._adjacency(scene_probs, targets if self.training else None)  # [B, L, L]
        label_features, attention_maps = self.attention(tokens, self.label_embeddings)  # (6): [B, L, D], [B, L, N]
        told = self.graph(label_features, adjacency)  # (7), (8): [B, L, D]
        joined = torch.cat((label_features, told), dim=-1) if self.graph.num_steps else told  # [B, L, 2 D or D]
        logits = self.classifier(torch.tanh(self.fusion(joined)))  # (9): [B, L]
        return Output(logits, scene_probs, attention_maps, adjacency, *scene_entropies(scene_probs))

    def _scene_probs(self, tokens: Tensor) -> Tensor:
        """Probability of every scene, [B, S], from the mean of the tokens [B, N, D]; never in half precision."""
        with without_autocast(tokens.device):
            context = tokens.mean(dim=1, dtype=self.scene_classifier.weight.dtype)  # [B, D]
            return self.scene_classifier(context).softmax(dim=-1)  # (2)

    def _adjacency(self, scene_probs: Tensor, targets: Tensor | None) -> Tensor:
        """The graph of every image, [B, L, L]; targets are counted before or after it is read."""
        if targets is None:
            return self.cooccurrence.adjacency(scene_probs)
        if self.count_before_reading:
            return self.cooccurrence.adjacency(scene_probs, self.cooccurrence.update(scene_probs, targets))
        adjacency = self.cooccurrence.adjacency(scene_probs)
        self.cooccurrence.update(scene_probs, targets)
        return adjacency


class Salgl(nn.Module):
    """Backbone and head.

    Args:
        backbone: images to grid features.
        head: grid features to logits.
    """

    def __init__(self, backbone: nn.Module, head: SalglHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor, targets: Tensor | None = None, ignore: Tensor | None = None) -> Output:
        """Score images [B, 3, H, W]; in training mode, also count their targets.

        Args:
            images: [B, 3, H, W].
            targets: [B, L], whose pairs are counted in training mode; None counts nothing.
            ignore: [B, L] bool, labels that do not count.
        """
        if targets is not None and ignore is not None:
            targets = targets.masked_fill(ignore, 0)
        return self.head(self.backbone(images), targets)


def scene_entropies(scene_probs: Tensor) -> tuple[Tensor, Tensor]:
    """Two scalars of scene_probs [B, S] that training makes small.

    The first is the mean entropy of an image's scenes; the second, 100 times what the entropy of the batch's mean
    lacks from that of even scenes. Entropy is -sum p ln(p + 1e-7), in nats.
    """
    share = 1 / scene_probs.shape[1]
    highest = -math.log(share + _ENTROPY_EPS)
    # (10) and (11)
    return _entropy(scene_probs).mean(), _BATCH_ENTROPY_FACTOR * (highest - _entropy(scene_probs.mean(dim=0)))


def _entropy(probs: Tensor) -> Tensor:
    """Entropy over the last dimension."""
    return -(probs * (probs + _ENTROPY_EPS).log()).sum(dim=-1)
