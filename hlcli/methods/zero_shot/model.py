"""A CLIP model as a multi-label classifier: cosines between an image and the names of the labels.

Shapes: B batch, L labels, D width of the common space. Numbers in parentheses are equations of
docs/methods/zero_shot.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hlcli.clip import ClipTowers
from hlcli.layers.precision import without_autocast

_TEXTS_AT_ONCE = 256


class Output(NamedTuple):
    """Scores of an image batch before the sigmoid."""

    logits: Tensor  # [B, L]


class ZeroShot(nn.Module):
    """Image encoder and the features of the labels, which are computed once.

    Args:
        visual: images to features [B, D].
        label_features: of length one, [L, D].
        logit_scale: logarithm of the factor of the cosines.
        scores: `sigmoid` of every label alone, or its share among all labels.
        half_at: cosine that scores one half, for `sigmoid`.
    """

    label_features: Tensor

    def __init__(
        self,
        visual: nn.Module,
        label_features: Tensor,
        logit_scale: nn.Parameter,
        *,
        scores: Literal["sigmoid", "softmax"] = "sigmoid",
        half_at: float = 0.25,
    ) -> None:
        super().__init__()
        self.visual = visual
        self.logit_scale = logit_scale
        self.scores = scores
        self.half_at = half_at
        self.register_buffer("label_features", label_features)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Output:
        """Score images [B, 3, H, W]; cosines are computed in full precision, where half would make ties."""
        features = self.visual(images)  # [B, D]
        with without_autocast(features.device):
            features = F.normalize(features.to(self.label_features.dtype), dim=-1)
            cosines = features @ self.label_features.T  # (3): [B, L]
            if self.scores == "sigmoid":
                return Output(self.logit_scale.exp() * (cosines - self.half_at))  # (4)
            return Output(share_logits(self.logit_scale.exp() * cosines))


def share_logits(values: Tensor) -> Tensor:
    """Logits [B, L] whose sigmoid is the softmax over the labels of values [B, L], L at least 2.

    log(p / (1 - p)) is a value minus the log-sum-exp of the others. For the greatest value the others are summed up on
    their own; for all others p is at most one half, and 1 - p loses no digits.
    """
    greatest = values.argmax(dim=-1, keepdim=True)  # [B, 1]
    without_greatest = values.scatter(-1, greatest, float("-inf")).logsumexp(dim=-1, keepdim=True)
    others = values.logsumexp(dim=-1, keepdim=True) + torch.log1p(-values.softmax(dim=-1))
    # (5)
    return values - others.scatter(-1, greatest, without_greatest)


@torch.no_grad()
def label_features(towers: ClipTowers, texts: Sequence[Sequence[str]]) -> Tensor:
    """Features of length one [L, D], each the mean over templates of features of length one.

    Args:
        towers: the CLIP model.
        texts: for every template one text per label.
    """
    total = torch.stack([_text_features(towers, group) for group in texts]).mean(dim=0)
    return F.normalize(total, dim=-1)  # (2)


def no_features(towers: ClipTowers, num_labels: int) -> Tensor:
    """The place of label features [L, D] that are loaded later."""
    return towers.logit_scale.new_zeros(num_labels, towers.embed_dim)


def _text_features(towers: ClipTowers, texts: Sequence[str]) -> Tensor:
    tokens = towers.tokenize(texts)
    tokens = tokens[:, : int(tokens.argmax(dim=-1).max()) + 1]  # nothing looks behind the end of a text
    return torch.cat([F.normalize(towers.encode_text(part), dim=-1) for part in tokens.split(_TEXTS_AT_ONCE)])
