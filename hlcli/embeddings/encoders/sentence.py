"""Models of the sentence-transformers library: trained so that close vectors mean alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hlcli.encoders.loading import Encoder, load_pretrained, optional_package, refuse_foreign_code


def is_sentence_model(name: str) -> bool:
    """Whether a name or folder says by itself that it is a sentence-transformers model."""
    return name.startswith("sentence-transformers/") or (Path(name).expanduser() / "modules.json").is_file()


def sentence_encoder(name: str) -> Encoder:
    """A sentence-transformers model by name or folder, with the pooling that it was trained with."""
    library = optional_package("sentence_transformers", "sentence-transformers")
    folder = Path(name).expanduser()
    if folder.is_dir():
        refuse_foreign_code(folder)
    where = str(folder) if folder.is_dir() else name

    def load(offline: bool) -> Any:
        return library.SentenceTransformer(where, device="cpu", local_files_only=offline, trust_remote_code=False)

    model = load_pretrained(name, load).float().eval()

    @torch.no_grad()
    def encode(text: str) -> Tensor:
        return model.encode(text, convert_to_tensor=True, show_progress_bar=False)  # [E]

    return Encoder(encode, {})
