"""HSPNet: hierarchical prompts for CLIP, learnt from one observed label per image.

"Hierarchical Prompt Learning Using CLIP for Multi-label Classification with Single Positive Labels", ACM MM 2023. What
CLIP's frozen text encoder says of a parent of labels (a fixed sentence) becomes the context words in front of each of
its labels; labels of a level exchange what their texts mean along a graph. An image is compared with the labels' texts.

Shapes: B batch, L labels (children), P parents, D CLIP's width, W text width, T context length, n context tokens.
Numbers in parentheses are equations of docs/methods/hspnet.md, which also lists the differences from the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hlcli.layers.attention_pool import AttentionPool
from hlcli.layers.precision import without_autocast
from hlcli.methods.hspnet.prompts import Prompts
from hlcli.methods.hspnet.remembering import Remembered, autocast_dtype

if TYPE_CHECKING:
    from hlcli.clip import ClipTowers

_LEAKINESS = 0.2


class Output(NamedTuple):
    """Scores of an image batch before the sigmoid."""

    logits: Tensor  # [B, L]


class GraphConvolution(nn.Module):
    """X ← gamma · A(σ(A(σ(A X W1)) W2)) W3 + (1 − gamma) · X, with σ a leaky ReLU and no biases.

    Args:
        dim: D.
        hidden_dim: width between the first and the last product.
        gamma: first value of the learnt share of what comes from the graph.
    """

    def __init__(self, dim: int, hidden_dim: int, *, gamma: float = 0.9) -> None:
        super().__init__()
        sizes = ((dim, hidden_dim), (hidden_dim, hidden_dim), (hidden_dim, dim))
        self.gamma = nn.Parameter(torch.full((1,), gamma))
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(size).uniform_(-(size[1] ** -0.5), size[1] ** -0.5)) for size in sizes
        )

    def forward(self, features: Tensor, adjacency: Tensor) -> Tensor:
        """features [n, D] of the labels of a level, adjacency [n, n] (row: who listens) → [n, D]."""
        first, second, third = self.weights
        hidden = F.leaky_relu(adjacency @ (features @ first), _LEAKINESS)
        hidden = F.leaky_relu(adjacency @ (hidden @ second), _LEAKINESS)
        return self.gamma * (adjacency @ (hidden @ third)) + (1 - self.gamma) * features  # (4)


class MetaNet(nn.Module):
    """What a parent says → the context words of its children.

    Args:
        dim: D.
        context_dim: n · W, the numbers of all context words.
    """

    def __init__(self, dim: int, context_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, context_dim)
        self.output = nn.Linear(context_dim, context_dim)

    def forward(self, parents: Tensor) -> Tensor:
        """parents [P, D] → [P, n · W], word after word."""
        return self.output(F.relu(self.hidden(parents)))  # (5)


class Hspnet(nn.Module):
    """CLIP's image encoder, trained, against its frozen text encoder with learnt prompts.

    What never changes (prompts, graph, the text encoder) is held in frozen parameters and not in buffers: buffers are
    averaged and sent to other processes with every step.

    Args:
        towers: a CLIP model; its token table has done its work in `prompts`.
        prompts: of all labels.
        adjacency: weights of the graphs of children [L, L] and of parents [P, P].
        gcn_hidden: hidden width of the graph convolution.
        gamma: see `GraphConvolution`.
        logit_factor: largest logit; cosines are multiplied by it.
    """

    child_ends: Tensor
    parent_ends: Tensor
    parent_index: Tensor

    def __init__(
        self,
        towers: ClipTowers,
        prompts: Prompts,
        *,
        adjacency: tuple[Tensor, Tensor],
        gcn_hidden: int,
        gamma: float = 0.9,
        logit_factor: float = 10.0,
    ) -> None:
        super().__init__()
        self.n_ctx, self.logit_factor = prompts.num_context_tokens, logit_factor
        self.backbone = towers.visual
        self.text_encoder = towers.text.requires_grad_(False)
        self.gcn = GraphConvolution(towers.embed_dim, gcn_hidden, gamma=gamma)
        self.meta_net = MetaNet(towers.embed_dim, prompts.num_context_tokens * towers.text_width)
        self.parent_prompts = _fixed(prompts.parents)  # [P, T, W]
        self.child_prefix = _fixed(prompts.children[:, :1])  # [L, 1, W]
        self.child_suffix = _fixed(prompts.children[:, 1 + self.n_ctx :])  # [L, T - 1 - n, W]
        self.child_adjacency, self.parent_adjacency = (_fixed(weights) for weights in adjacency)
        self.parent_context = _fixed(prompts.parents[0, 1 : 1 + self.n_ctx])  # as published; nothing reads it
        self.logit_scale = _fixed(towers.logit_scale)  # likewise
        # Nothing behind the end of a text can reach it, so prompts are cut to the longest.
        self.child_length, self.parent_length = 1 + max(prompts.child_ends), 1 + max(prompts.parent_ends)
        for name in ("child_ends", "parent_ends", "parent_index"):
            self.register_buffer(name, torch.tensor(getattr(prompts, name)), persistent=False)
        self._parent_memory, self._label_memory = Remembered(), Remembered()

    def forward(self, images: Tensor) -> Output:
        """Score images [B, 3, H, W]: `logit_factor` times the cosine of image and label."""
        return compare(self.backbone(images), self.label_features(), self.logit_factor)

    @property
    def needs_several_images(self) -> bool:
        """Whether a batch of one image cannot be trained: batch norms would see one value per channel."""
        pool = getattr(self.backbone, "attnpool", None)  # of CLIP's ResNets: a place per cell, and one for their mean
        return isinstance(pool, AttentionPool) and len(pool.positional_embedding) == 2

    def train(self, mode: bool = True) -> Hspnet:
        """Switch between training and evaluation; the latter begins with fresh label features."""
        self._label_memory.forget()
        return super().train(mode)

    def label_features(self) -> Tensor:
        """Labels as unit vectors [L, D]; in evaluation under inference mode they are computed once.

        Nowhere else: fused optimisers change weights without a trace, and a step needs a pass with gradients before it.
        """
        if self.training or not torch.is_inference_mode_enabled():
            self._label_memory.forget()
            return self._compute_label_features()
        sources = [*self.gcn.parameters(), *self.meta_net.parameters(), *self.text_encoder.parameters()]
        sources += [self.child_prefix, self.child_suffix, self.child_adjacency]
        sources += [self.parent_prompts, self.parent_adjacency]
        return self._label_memory.get(sources, self._compute_label_features, autocast_dtype(self.gcn.gamma.device))

    def _compute_label_features(self) -> Tensor:
        parent_features = self.parent_features()  # [P, D]
        device = parent_features.device
        with without_autocast(device):  # little work, and what overflowed in half precision
            context = self.meta_net(self.gcn(parent_features, self.parent_adjacency))  # [P, n · W]
        label_features = self.text_encoder(self.child_prompts(context), self.child_ends)  # (7): [L, D]
        with without_autocast(device):
            return unit_length(self.gcn(label_features.to(parent_features.dtype), self.child_adjacency))  # (7)

    def parent_features(self) -> Tensor:
        """What the text encoder says of the parents, [P, D], before the graph; computed once: nothing in it trains."""
        sources = [*self.text_encoder.parameters(), self.parent_prompts]
        return self._parent_memory.get(sources, self._compute_parent_features)

    def _compute_parent_features(self) -> Tensor:
        with torch.inference_mode(False), torch.no_grad(), without_autocast(self.parent_prompts.device):
            return self.text_encoder(self.parent_prompts[:, : self.parent_length], self.parent_ends)  # (3)

    def child_prompts(self, context: Tensor) -> Tensor:
        """Start, context of the parent [P, n · W], name and end, as long as the longest: [L, T', W]."""
        words = context.unflatten(-1, (self.n_ctx, -1)).index_select(0, self.parent_index)  # [L, n, W]
        suffix = self.child_suffix[:, : self.child_length - 1 - self.n_ctx]
        return torch.cat((self.child_prefix, words, suffix), dim=1)  # (6)


class FixedLabels(nn.Module):
    """The network after its training without its text side, whose label features are kept.

    Args:
        model: the whole network.
    """

    label_features: Tensor

    def __init__(self, model: Hspnet) -> None:
        super().__init__()
        self.backbone, self.logit_factor = model.backbone, model.logit_factor
        with torch.no_grad():
            self.register_buffer("label_features", model.label_features())  # [L, D]

    def forward(self, images: Tensor) -> Output:
        """Score images [B, 3, H, W] as the whole network does."""
        return compare(self.backbone(images), self.label_features, self.logit_factor)


def compare(image_features: Tensor, label_features: Tensor, logit_factor: float) -> Output:
    """`logit_factor` times the cosines of images [B, D] and labels of length one [L, D]."""
    with without_autocast(image_features.device):
        image_features = unit_length(image_features.to(label_features.dtype))
        return Output(logit_factor * image_features @ label_features.T)  # (8)


def unit_length(features: Tensor) -> Tensor:
    """Features [..., D] divided by their length."""
    return features / features.norm(dim=-1, keepdim=True)


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), requires_grad=False)
