"""Tiny random text models as files, in the forms that the real ones have; nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

BERT_WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "horse", "cow", "person", "din", "##ing", "table",
    "potted", "plant", "tv", "monitor", "a", "photo", "of",
]  # fmt: skip

GLOVE = {
    "cat": [1.0, 0.0, 0.5],
    "dog": [0.75, 0.25, 0.5],
    "potted": [0.0, 2.0, -1.0],
    "plant": [0.125, 1.0, 0.0],
    "horse": [-1.0, 0.0, 0.25],
}


def write_bert(folder: Path) -> Path:
    """A BERT of width 16 with the words above."""
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(BERT_WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    model = BertModel(config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.5)  # far enough from zero that every option shows
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(BERT_WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    return folder


def write_sentence_model(folder: Path, *, code: str = "sentence_transformers.models") -> Path:
    """A sentence-transformers folder: that BERT, then the mean of its tokens."""
    write_bert(folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{code}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{code}.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def write_clip(folder: Path, name: str = "tiny-clip", *, width: int = 16) -> Path:
    """Make a tiny CLIP known to open_clip by that name; returns a file of its weights."""
    import open_clip

    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": width, "heads": 2, "layers": 1}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model(name).state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


def write_glove(path: Path, *, header: str = "", extra: str = "") -> Path:
    """Five words of three numbers."""
    lines = [" ".join([word, *map(str, numbers)]) for word, numbers in GLOVE.items()]
    path.write_text(header + "\n".join(lines) + "\n" + extra)
    return path


def write_spacy(folder: Path, vectors: dict[str, list[float]] | None = None) -> Path:
    """A blank English model with those word vectors; with none it has no vectors."""
    import spacy

    model = spacy.blank("en")
    for word, numbers in (vectors or {}).items():
        model.vocab.set_vector(word, np.array(numbers, dtype=np.float32))
    model.to_disk(folder)
    return folder
