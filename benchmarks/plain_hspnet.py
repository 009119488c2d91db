"""HSPNet without a shortcut, and a pair of networks with the same weights: for benchmarks/hspnet_step.py."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from open_clip import get_model_config
from open_clip.model import CLIP
from torch import Tensor, nn

from hlcli.clip import towers_of
from hlcli.data.labels import LabelSpace
from hlcli.methods.hspnet.config import Hspnet


class Labels(NamedTuple):
    """Sizes of a data set: labels, their parents, and how long their prompts are in tokens."""

    children: int
    parents: int
    shortest: int
    longest: int


SETS = {
    "coco": Labels(80, 12, 8, 10),
    "nuswide": Labels(81, 6, 8, 9),
    "voc": Labels(20, 4, 8, 10),
    "cub": Labels(312, 20, 9, 16),
}
PARENT_LENGTH = 8
SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2},
}


class Plain(nn.Module):
    """The same network without a shortcut; shares its numbers with ours, but no computation of text or images.

    In mixed precision all of it runs under autocast: graph, lengths and cosines too, which ours keeps in float32.
    """

    clip: Any
    parent_prompts: Tensor
    parent_ends: Tensor
    parent_index: Tensor
    parent_adjacency: Tensor
    child_prefix: Tensor
    child_suffix: Tensor
    child_ends: Tensor
    child_adjacency: Tensor

    def __init__(self, clip: nn.Module, ours: Any) -> None:
        super().__init__()
        self.clip, self.factor = clip, ours.logit_factor
        self.gcn, self.meta_net = copy.deepcopy(ours.gcn), copy.deepcopy(ours.meta_net)
        for name in ("parent_prompts", "child_prefix", "child_suffix", "child_adjacency", "parent_adjacency"):
            self.register_buffer(name, getattr(ours, name).detach().clone())
        for name in ("parent_ends", "child_ends", "parent_index"):
            self.register_buffer(name, getattr(ours, name).clone())
        for name, parameter in clip.named_parameters():
            parameter.requires_grad_(name.startswith("visual."))

    @property
    def backbone(self) -> nn.Module:
        """The image tower."""
        return self.clip.visual

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, L]."""
        image_features, labels = self.backbone(images), self.label_features()
        image_features = image_features / image_features.norm(dim=-1, keepdim=True)
        return (self.factor * image_features @ labels.T).float()

    def label_features(self) -> Tensor:
        """Labels as unit vectors [L, D]."""
        parents = self.gcn(self.read(self.parent_prompts, self.parent_ends), self.parent_adjacency)
        words = self.meta_net(parents)[self.parent_index].unflatten(-1, (-1, self.child_prefix.shape[-1]))
        prompts = torch.cat((self.child_prefix, words.to(self.child_prefix.dtype), self.child_suffix), dim=1)
        labels = self.gcn(self.read(prompts, self.child_ends), self.child_adjacency)
        return labels / labels.norm(dim=-1, keepdim=True)

    def read(self, prompts: Tensor, ends: Tensor) -> Tensor:
        """Features of prompts of the whole context length."""
        clip = self.clip
        features = clip.transformer(prompts + clip.positional_embedding, attn_mask=clip.attn_mask)
        rows = torch.arange(len(features), device=features.device)
        return clip.ln_final(features)[rows, ends] @ clip.text_projection


class Pair(NamedTuple):
    """Both networks with the same weights."""

    plain: Plain
    ours: Any
    section: Hspnet
    side: int  # of the images, in pixels


def make_pair(sizes: Labels, *, small: bool, device: str) -> Pair:
    """Both networks, with random weights of CLIP RN50 or of a tiny CLIP model."""
    config = copy.deepcopy(SMALL) if small else get_model_config("RN50")
    clip: Any = CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"], quick_gelu=True)
    vocab, context = config["text_cfg"]["vocab_size"], config["text_cfg"]["context_length"]
    towers = towers_of(copy.deepcopy(clip), tokenizer=tokenizer_of(sizes, vocab, context))
    names = [[f"p{i}" for i in range(sizes.parents)], [f"c{i}" for i in range(sizes.children)]]
    labels = LabelSpace.from_parents(names, [[i % sizes.parents for i in range(sizes.children)]])
    section = Hspnet(graph="clip")
    ours = section.build(towers, labels, data_folder=Path("unused"))
    return Pair(Plain(clip, ours).to(device), ours.to(device), section, config["vision_cfg"]["image_size"])


def tokenizer_of(sizes: Labels, vocab: int, context: int) -> Callable[[list[str]], Tensor]:
    """Random tokens; children's prompts have evenly spread lengths, parents' all the same."""

    def tokenize(texts: list[str]) -> Tensor:
        tokens = torch.zeros(len(texts), context, dtype=torch.long)
        spread = sizes.longest - sizes.shortest + 1
        for index, text in enumerate(texts):
            length = sizes.shortest + index % spread if text.startswith("X ") else PARENT_LENGTH
            tokens[index, 1 : length - 1] = torch.randint(1, vocab - 2, (length - 2,))
            tokens[index, 0], tokens[index, length - 1] = vocab - 2, vocab - 1
        return tokens

    return tokenize
