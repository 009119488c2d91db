"""The text side of CLIP models, by the names that open_clip gives them."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from hlcli.encoders.clip_models import (
    DEFAULT_WEIGHTS,
    check_architecture,
    is_untrained_clip,
    open_clip,
    short_clip_name,
    split_clip_name,
)
from hlcli.encoders.clip_weights import PREFIX, fetch_clip_model, quiet_root_logger, uses_quick_gelu
from hlcli.encoders.loading import Encoder, first_line
from hlcli.errors import CheckpointError, InputError

_UNFIT = (
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
        InputError: when the model or its weights are not known, or it is untrained.
        CheckpointError: when a file of weights does not fit.
        DownloadError: when published weights cannot be fetched.
        MissingDependencyError: without open_clip.
    """
    shown = short_clip_name(PREFIX + name)
    if is_untrained_clip(name):
        raise InputError(
            f"--encoder: {shown} has no trained weights: its texts would mean nothing.",
            f"Take a published model such as {PREFIX}RN50-quickgelu. HSPNet needs no graph of a model of your own: "
            "model.graph=clip asks the model's own text encoder.",
        )
    library = open_clip(f"--encoder: {shown}")
    architecture, weights = split_clip_name(name)
    weights = weights or DEFAULT_WEIGHTS
    path = Path(weights).expanduser()
    check_architecture(library, architecture)
    settings: dict[str, Any] = {"architecture": architecture, "weights": weights}
    if path.is_file():
        model = _from_file(library, architecture, path)
    else:
        model = _from_hub(library, architecture, weights)
        settings["quick_gelu"] = uses_quick_gelu(library, architecture, weights)
    with quiet_root_logger():
        tokenizer = library.get_tokenizer(architecture)
    model.float().eval()

    @torch.no_grad()
    def encode(text: str) -> Tensor:
        return model.encode_text(tokenizer([text]))[0]  # [E]

    return Encoder(encode, settings)


def _from_file(library: ModuleType, architecture: str, path: Path) -> Any:
    try:
        with quiet_root_logger():
            return library.create_model(architecture, pretrained=str(path))
    except _UNFIT as error:
        raise CheckpointError(f"{path} does not hold the weights of {architecture}: {first_line(error)}") from error


def _from_hub(library: ModuleType, architecture: str, weights: str) -> Any:
    if not library.is_pretrained_cfg(architecture, weights):
        tags = library.list_pretrained_tags_by_model(architecture)
        raise InputError(
            f"clip:{architecture}/{weights} is neither a file nor a published set of weights.",
            f"Published for {architecture}: {', '.join(tags) or 'none'}.",
        )
    hint = f"Without a network give a file of its weights: clip:{architecture}/FILE."
    return fetch_clip_model(library, architecture, weights, hint=hint)
