"""Small CLIP models, HSPNets and batches for the tests."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor

from hlcli.clip import ClipTowers, towers_of
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.methods.hspnet.config import Hspnet

NO_FILES = Path("holds no file")
"""A data folder for models whose graph comes from CLIP itself."""

TEXT_HEADS = 2


def word_tokenizer(vocab: int, context: int) -> Callable[[list[str]], Tensor]:
    """One token per word, made of its letters; start and end have the two largest ids, padding is 0."""

    def tokenize(texts: list[str]) -> Tensor:
        rows = [[vocab - 2, *(_id(word, vocab) for word in _words(text)), vocab - 1] for text in texts]
        width = max(context, *map(len, rows))
        return torch.tensor([row + [0] * (width - len(row)) for row in rows])

    return tokenize


def _words(text: str) -> list[str]:
    return text.replace(".", " .").split()


def _id(word: str, vocab: int) -> int:
    return 1 + zlib.crc32(word.encode()) % (vocab - 3)


def make_clip(
    *,
    embed_dim: int = 12,
    vision: dict[str, Any] | None = None,
    context: int = 16,
    vocab: int = 60,
    text_width: int = 8,
    text_layers: int = 2,
    seed: int = 0,
) -> ClipTowers:
    """A small CLIP model whose weights are all random, in double precision."""
    torch.manual_seed(seed)
    image_tower = {"layers": (1, 1, 1, 1), "width": 2, "head_width": 32, "image_size": 64, **(vision or {})}
    text_tower = {
        "context_length": context, "vocab_size": vocab, "width": text_width, "heads": TEXT_HEADS, "layers": text_layers,
    }  # fmt: skip
    model: Any = CLIP(embed_dim, image_tower, text_tower, quick_gelu=True).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=max(parameter[0].numel(), 1) ** -0.5 if parameter.ndim > 1 else 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return towers_of(model, tokenizer=word_tokenizer(vocab, context))


def tree(parent_index: tuple[int, ...] = (0, 0, 1, 2, 1, 2)) -> LabelSpace:
    """Labels named by different numbers of words, below groups."""
    children = [f"kind{i}" + "_of_thing" * (i % 3) for i in range(len(parent_index))]
    parents = [f"group{i}" + " big" * (i % 2) for i in range(max(parent_index) + 1)]
    return LabelSpace.from_parents([parents, children], [parent_index])


def make(labels: LabelSpace | None = None, towers: ClipTowers | None = None, **fields: Any) -> tuple[Hspnet, Any]:
    """Section and network, in double precision; its graph comes from the text tower."""
    towers = towers or make_clip()
    section = Hspnet(**{"graph": "clip", "gcn_hidden": 10, **fields})
    return section, section.build(towers, labels or tree(), data_folder=NO_FILES).double()


def batch_of(size: int = 3, num_labels: int = 6, seed: int = 0, image_size: int = 64) -> LabelBatch:
    """Random images, each with one observed label."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, image_size, image_size, generator=generator, dtype=torch.float64)
    targets = torch.zeros(size, num_labels, dtype=torch.float64)
    targets[torch.arange(size), torch.randint(num_labels, (size,), generator=generator)] = 1
    return LabelBatch(images, targets, None, torch.arange(size), None)
