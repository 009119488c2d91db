"""Weights of CLIP models, published and local; no program inside a file is run."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from hlcli.encoders.backbone_weights import OTHER_MODEL
from hlcli.encoders.loading import ask_hub, cached_file, first_line
from hlcli.errors import CheckpointError, DownloadError
from hlcli.fitting_weights import refuse_misfits
from hlcli.upstream import read_upstream

PREFIX = "clip:"
_OPENAI_FACTS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's files hold beside the weights."""


def uses_quick_gelu(library: ModuleType, architecture: str, tag: str) -> bool:
    """Whether published weights were trained with x·σ(1.702 x) instead of GELU."""
    return bool(library.get_pretrained_cfg(architecture, tag).get("quick_gelu"))


def fetch_clip_model(
    library: ModuleType, architecture: str, tag: str, *, hint: str, image_size: tuple[int, int] | None = None
) -> Any:
    """A model with published weights and the activation that they were trained with: open_clip would only warn.

    Raises:
        DownloadError: when they cannot be fetched.
    """
    size: dict[str, Any] = {} if image_size is None else {"force_image_size": image_size}
    name, quick_gelu = f"{PREFIX}{architecture}/{tag}", uses_quick_gelu(library, architecture, tag)
    cached = _cached(library.get_pretrained_cfg(architecture, tag).get("hf_hub", ""))
    if cached is None:
        ask_hub(name, hint)
    try:
        with quiet_root_logger():
            return library.create_model(architecture, pretrained=cached or tag, force_quick_gelu=quick_gelu, **size)
    except (OSError, RuntimeError) as error:
        raise DownloadError(f"{name} cannot be fetched: {first_line(error)}", hint) from error


def _cached(place: str) -> str | None:
    """The file of a place on the hub, `OWNER/MODEL/FILE`, if it was fetched before: open_clip would ask the hub."""
    repository, _, file = place.rpartition("/")
    stem, dot, ending = (file or "open_clip_pytorch_model.bin").rpartition(".")
    safe = "open_clip_model.safetensors" if not file else f"{stem}.safetensors"
    return cached_file(repository, (safe, f"{stem}{dot}{ending}")) if repository else None


def load_clip_weights(model: Any, path: Path) -> None:
    """Fill an open_clip model from a file of its own or OpenAI's names; tables of positions are resized.

    Raises:
        CheckpointError: when the file cannot be read safely, or does not fit.
    """
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    _refuse_program(path)
    state = {key.removeprefix("module."): value for key, value in read_upstream(path).state.items()}
    state = {key: value for key, value in state.items() if key not in _OPENAI_FACTS}
    if hasattr(model, "text") and "positional_embedding" in state:
        state = convert_to_custom_text_state_dict(state)
    own = model.state_dict()
    if "logit_scale" in state and "logit_scale" in own:
        state["logit_scale"] = state["logit_scale"].reshape(own["logit_scale"].shape)
    with quiet_root_logger():
        resize_pos_embed(state, model)
        resize_text_pos_embed(state, model)
    refuse_misfits(own, state, f"{path} does not fit this CLIP model", OTHER_MODEL)
    model.load_state_dict(state)


def _refuse_program(path: Path) -> None:
    """OpenAI's own files are TorchScript archives: loading one compiles and runs what is in it."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise CheckpointError(
                f"{path} is a TorchScript archive, as OpenAI gives its weights out: a program, which is not run.",
                "The same weights are on the Hugging Face hub as open_clip_model.safetensors (for RN50: "
                "timm/resnet50_clip.openai). Give that file, or set backbone.pretrained.",
            )


@contextmanager
def quiet_root_logger() -> Iterator[None]:
    """open_clip logs through the root logger, which would otherwise set itself up and repeat our own messages."""
    handler, root = logging.NullHandler(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
