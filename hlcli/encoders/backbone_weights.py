"""Weights of backbones from local files: names of timm or of the published codes, positions of any size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from hlcli.encoders.backbone_names import from_reference_backbone
from hlcli.encoders.loading import is_cached, reach_hub
from hlcli.errors import RecipeError
from hlcli.fitting_weights import refuse_misfits
from hlcli.upstream import read_upstream

_FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm's weights are called on the hub."""
OTHER_MODEL = "Is backbone.name the model that these weights are of?"
_POSITIONS = "pos_embed"
_COUNTER = "num_batches_tracked"
"""How batch norms name their number of steps, which some files leave out."""


def reach_published_weights(name: str) -> None:
    """Ask the hub whether it is there, before timm does; not for weights that were fetched before.

    Raises:
        ConnectionError: when it does not answer.
    """
    published = timm.get_pretrained_cfg(name)
    if published is None or not published.hf_hub_id or is_cached(published.hf_hub_id, _FILES):
        return
    url = published.url or "none"
    former = url[1] if isinstance(url, tuple) else PurePosixPath(url).name
    if not Path(torch.hub.get_dir(), "checkpoints", former).is_file():  # timm takes what older versions of it fetched
        reach_hub()


def read_backbone_weights(path: Path, backbone_name: str) -> dict[str, Tensor]:
    """Weights of a file under our names.

    Raises:
        CheckpointError: when the file is missing, damaged or no state dict.
    """
    state, _ = read_upstream(path)
    return from_reference_backbone(state, backbone_name)


def load_backbone_weights(
    model: nn.Module, state: Mapping[str, Tensor], source: object, *, position_antialias: bool = True
) -> None:
    """Fill a backbone; a classifier in the state is left out, everything else must fit.

    Args:
        model: the backbone, without classifier.
        state: weights by name; a position table of another size is resized.
        source: where the weights are from, for the message.
        position_antialias: resize positions with timm's smoother kernel.

    Raises:
        CheckpointError: naming every missing, unexpected and mis-shaped weight.
    """
    own = model.state_dict()
    state = dict(state)
    if _POSITIONS in state and _POSITIONS in own:
        state[_POSITIONS] = fit_positions(state[_POSITIONS], model, antialias=position_antialias)
    classifier = {key for key in state if key.split(".")[0] in ("fc", "head", "classifier")} - set(own)
    state = {key: value for key, value in state.items() if key not in classifier}
    refuse_misfits(
        {key: value for key, value in own.items() if key in state or not key.endswith(_COUNTER)},
        state,
        f"{source} does not fit this backbone",
        OTHER_MODEL,
    )
    model.load_state_dict({**own, **state})


def fit_positions(table: Tensor, model: nn.Module, *, antialias: bool) -> Tensor:
    """A table of positions [1, prefix + n, D] resized to a transformer's grid: [1, prefix + N, D].

    The old grid is taken to be square. A table that fits, or that is none for this model, comes back unchanged.

    Args:
        table: learned positions; the prefix (class token) is kept as it is.
        model: a timm transformer, built for its image size.
        antialias: timm's default, which smooths even where it enlarges; False is plain bicubic, as published.
    """
    own: Tensor = model.state_dict()[_POSITIONS]
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if grid is None or table.shape == own.shape or table.ndim != 3 or table.shape[-1] != own.shape[-1]:
        return table
    prefix = own.shape[1] - grid[0] * grid[1]
    side = round(max(table.shape[1] - prefix, 0) ** 0.5)
    if prefix < 0 or side == 0 or side * side + prefix != table.shape[1]:
        return table
    with torch.no_grad():
        return resample_abs_pos_embed(
            table, new_size=list(grid), old_size=[side, side], num_prefix_tokens=prefix, antialias=antialias
        )


def freeze_parameters(model: nn.Module, name: str, prefixes: tuple[str, ...]) -> None:
    """Train no parameter whose name begins with one of the prefixes.

    Args:
        model: whose parameters.
        name: what the message calls it.
        prefixes: beginnings of names.

    Raises:
        RecipeError: for a prefix without parameters.
    """
    for prefix in prefixes:
        matching = [parameter for key, parameter in model.named_parameters() if key.startswith(prefix)]
        if not matching:
            known = ", ".join(dict.fromkeys(key.split(".")[0] for key, _ in model.named_parameters()))
            raise RecipeError(f"backbone.frozen: {name} has no parameter named {prefix}… (it has {known}).")
        for parameter in matching:
            parameter.requires_grad_(False)
