"""From how much labels have to do with each other to the weights with which they exchange features.

Shapes: n labels of one level.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDING = 1e-9  # so that 0.7 of 10 labels are 7
_LEAST_SHARE = 0.05  # of the sum of absolute values: below it, shares of the sum say little


def label_adjacency(relation: Tensor, *, reweight_p: float = 0.2, keep_share: float = 0.75) -> Tensor:
    """Weights [n, n] whose rows sum to 1, made of a relation [n, n] such as cosines of label texts.

    Every row keeps its largest entries (the diagonal competes), of which those off the diagonal share `reweight_p`
    in proportion; a label keeps the rest for itself. One without neighbours keeps everything, and so does one whose
    neighbours' entries sum to nothing or less; see `cancelling_rows`.

    Args:
        relation: [n, n]; its precision is kept.
        reweight_p: what goes to the neighbours.
        keep_share: share of the entries of a row that are kept, rounded down.

    Raises:
        ValueError: when it is not square.
    """
    if relation.ndim != 2 or relation.shape[0] != relation.shape[1]:
        raise ValueError(f"Expected a square relation, but got shape {list(relation.shape)}.")
    neighbours = _kept_neighbours(relation, keep_share)  # (2)
    total = neighbours.sum(dim=1, keepdim=True)  # [n, 1]
    has_neighbours = total > 0
    weights = torch.where(has_neighbours, neighbours / total * reweight_p, 0.0)
    own = torch.ones_like(total).masked_fill(has_neighbours, 1 - reweight_p)
    return weights + own.flatten().diag()


def cancelling_rows(relation: Tensor, *, keep_share: float = 0.75) -> list[int]:
    """Rows of a relation [n, n] whose kept neighbours have entries of both signs that nearly cancel, or negative ones.

    Shares of a sum near zero are huge and of both signs; of cosines of CLIP's texts, all positive, there are none.
    """
    neighbours = _kept_neighbours(relation, keep_share)
    weak = neighbours.sum(dim=1) < _LEAST_SHARE * neighbours.abs().sum(dim=1)
    return weak.nonzero().flatten().tolist()


def _kept_neighbours(relation: Tensor, keep_share: float) -> Tensor:
    """The largest entries of every row of [n, n], without the diagonal; zero elsewhere."""
    kept = relation.topk(int(keep_share * len(relation) + _ROUNDING), dim=1)
    return torch.zeros_like(relation).scatter_(1, kept.indices, kept.values).fill_diagonal_(0)
