"""Which labels occur together, scene by scene: counted while training, read as weights of a label graph.

Shapes: B batch, S scenes, L labels.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from hlcli.layers.precision import without_autocast

_EPS = 1e-8


class Cooccurrence(nn.Module):
    """Counts of label pairs per scene, and the graph that each image's scenes make of them.

    An image adds its pairs of labels y y^T to its most probable scene (hard), or to every scene by its probability
    (soft). Several processes add up what they see, so all hold the counts of the whole batch. Counts are kept in the
    precision of the weights, also under autocast: in float32 hard counts are exact up to 2^24.

    Args:
        num_scenes: S.
        num_labels: L.
        is_soft: soft instead of hard, in counting and in reading.
        ignore_self: no weight from a label to itself.
        normalize: let the weights of a row sum to 1.
        decay: share of the counts that is kept with each batch.
        is_detached: no gradient through the counting; several processes never have one.
    """

    counts: Tensor  # [S, L, L], symmetric; the diagonal says how often a label was there
    fixed: Tensor | None  # [S, L, L], what they come to when nothing is counted any more

    def __init__(
        self,
        num_scenes: int,
        num_labels: int,
        *,
        is_soft: bool = False,
        ignore_self: bool = False,
        normalize: bool = False,
        decay: float = 1.0,
        is_detached: bool = True,
    ) -> None:
        super().__init__()
        self.is_soft, self.ignore_self, self.normalize = is_soft, ignore_self, normalize
        self.decay, self.is_detached = decay, is_detached
        self.register_buffer("counts", torch.zeros(num_scenes, num_labels, num_labels))
        self.register_buffer("fixed", None, persistent=False)

    def update(self, scene_probs: Tensor, targets: Tensor) -> Tensor:
        """Count a batch: scene_probs [B, S], targets [B, L] in {0, 1} → the new counts [S, L, L].

        Only the returned counts may carry a gradient to scene_probs; the kept ones have no history.
        """
        has_others = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        with without_autocast(scene_probs.device):
            shares = self._shares(scene_probs).to(self.counts.dtype)  # [B, S]
            if self.is_detached or has_others:
                shares = shares.detach()
            targets = targets.to(self.counts.dtype)
            weighted = shares[:, :, None] * targets[:, None]  # [B, S, L]
            seen = torch.einsum("bsi,bj->sij", weighted, targets)  # (3): sum of p_s y y^T over images
            if has_others:
                distributed.all_reduce(seen)
            counts = self.decay * self.counts + seen
        self.counts.copy_(counts.detach())
        return counts

    def adjacency(self, scene_probs: Tensor, counts: Tensor | None = None) -> Tensor:
        """The graph of every image, [B, L, L]: row i weighs the labels that i listens to.

        Args:
            scene_probs: [B, S].
            counts: what `update` has returned; default what is kept.
        """
        with without_autocast(scene_probs.device):
            adjacency = self.probabilities(counts) if self.fixed is None else self.fixed  # [S, L, L]
            if not self.is_soft:
                return adjacency[scene_probs.argmax(dim=1)]  # (5)
            mixed = scene_probs.to(adjacency.dtype) @ adjacency.flatten(1)  # (5): [B, L · L]
            return mixed.unflatten(1, adjacency.shape[1:])

    def fix(self) -> None:
        """Compute the graphs of all scenes once and for all."""
        self.fixed = self.probabilities()

    def probabilities(self, counts: Tensor | None = None) -> Tensor:
        """P(j | i) = count(i, j) / count(i) in every scene, [S, L, L]; the row of a label never seen is 0."""
        counts = self.counts if counts is None else counts
        adjacency = counts / (counts.diagonal(dim1=1, dim2=2)[:, :, None] + _EPS)  # (4)
        if self.ignore_self:
            itself = torch.eye(adjacency.shape[1], dtype=torch.bool, device=adjacency.device)
            adjacency = adjacency.masked_fill(itself, 0)
        if self.normalize:
            adjacency = adjacency / (adjacency.sum(dim=2, keepdim=True) + _EPS)
        return adjacency

    def _shares(self, scene_probs: Tensor) -> Tensor:
        """How much of an image each scene gets, [B, S]: the probabilities, or all for the (first) largest."""
        if self.is_soft:
            return scene_probs
        return torch.zeros_like(scene_probs).scatter(1, scene_probs.argmax(dim=1, keepdim=True), 1.0)
