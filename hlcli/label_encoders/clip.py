"""The text side of CLIP models, by the names that open_clip gives them."""

from __future__ import annotations

import difflib
import logging
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from hlcli.errors import CheckpointError, DownloadError, InputError
from hlcli.label_encoders.loading import Encoder, optional_package

DEFAULT_WEIGHTS = "openai"

UNFIT = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError,
    pickle.UnpicklingError, SafetensorError,
)  # fmt: skip
"""What open_clip may raise for a file of something else."""


def clip_encoder(name: str) -> Encoder:
    """A CLIP model.

    Args:
        name: `RN50`, `ViT-B-32`, … with OpenAI's weights; `MODEL/WEIGHTS` with another published set of weights, or
            with a file of them.

    Raises:
        InputError: when the model or its weights are not known.
        CheckpointError: when a file of weights does not fit.
        DownloadError: when published weights cannot be fetched.
    """
    library = optional_package("open_clip", "open_clip_torch")
    name = re.sub(r"^(ViT-\w+)/(\d+)", r"\1-\2", name)  # OpenAI writes ViT-B/32
    architecture, _, weights = name.partition("/")
    weights = weights or DEFAULT_WEIGHTS
    path = Path(weights).expanduser()
    _check_names(library, architecture, weights, is_file=path.is_file())
    with _quiet_root_logger():
        if path.is_file():
            model, quick_gelu = _from_file(library, architecture, path), None
        else:
            quick_gelu = bool(library.get_pretrained_cfg(architecture, weights).get("quick_gelu"))
            model = _from_hub(library, architecture, weights, quick_gelu=quick_gelu)
        tokenizer = library.get_tokenizer(architecture)
    model.float().eval()

    @torch.no_grad()
    def encode(text: str) -> Tensor:
        return model.encode_text(tokenizer([text]))[0]  # [E]

    settings: dict[str, Any] = {"architecture": architecture, "weights": weights}
    return Encoder(encode, settings if quick_gelu is None else {**settings, "quick_gelu": quick_gelu})


def _check_names(library: Any, architecture: str, weights: str, *, is_file: bool) -> None:
    known = library.list_models()
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "open_clip.list_models() lists them."
        raise InputError(f"clip:{architecture}: open_clip has no model of this name.", hint)
    tags = library.list_pretrained_tags_by_model(architecture)
    if not is_file and not library.is_pretrained_cfg(architecture, weights):
        raise InputError(
            f"clip:{architecture}/{weights} is neither a file nor a published set of weights.",
            f"Published for {architecture}: {', '.join(tags) or 'none'}.",
        )


def _from_file(library: Any, architecture: str, path: Path) -> Any:
    try:
        return library.create_model(architecture, pretrained=str(path))
    except UNFIT as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise CheckpointError(f"{path} does not hold the weights of {architecture}: {reason}") from error


def _from_hub(library: Any, architecture: str, weights: str, *, quick_gelu: bool) -> Any:
    """Published weights, with the activation that they were trained with: open_clip would only warn."""
    try:
        return library.create_model(architecture, pretrained=weights, force_quick_gelu=quick_gelu)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise DownloadError(
            f"clip:{architecture}/{weights} cannot be fetched: {reason}",
            f"Without a network give a file of its weights: clip:{architecture}/FILE.",
        ) from error


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """open_clip logs through the root logger, which would otherwise set itself up and repeat our own messages."""
    handler, root = logging.NullHandler(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
