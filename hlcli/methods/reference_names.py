"""What checkpoints of the published programs have in common, and how it becomes ours: wrappers, names, layouts.

A table maps the beginnings of their names, up to a dot, to ours; `*` in it stands for a number.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from hlcli.encoders.backbone_names import from_reference_backbone, to_reference_backbone
from hlcli.errors import CheckpointError, named
from hlcli.plain_text import counted

LABEL_ATTENTION = {
    "attention.linear1": "head.attention.token_projection",
    "attention.linear2": "head.attention.label_projection",
    "attention.hidden_linear": "head.attention.hidden_linear",
    "attention.target_linear": "head.attention.target_linear",
}
"""The attention of labels over tokens, the same in SALGL and SGRE."""

BACKBONE = ("backbone.", "backbone.model.")
COUNTER = ".num_batches_tracked"


def encoder_table(theirs: str, ours: str = "head.encoder") -> dict[str, str]:
    """Names of the layers of a transformer encoder, `theirs` and `ours` being the names of the whole encoders."""
    parts = {
        "self_attn": "self_attention",
        "linear1": "feed_forward.expand",
        "linear2": "feed_forward.contract",
        "norm1": "self_norm",
        "norm2": "feed_norm",
    }
    return {f"{theirs}.layers.*.{part}": f"{ours}.layers.*.{name}" for part, name in parts.items()}


def decoder_table(theirs: str, ours: str = "head.decoder") -> dict[str, str]:
    """Names of the layers in which labels look at tokens; `theirs` is the whole decoder, `ours` the list of layers."""
    parts = {
        "self_attn": "self_attention",
        "norm1": "self_norm",
        "multihead_attn": "cross_attention",
        "norm2": "cross_norm",
        "linear1": "feed_forward.expand",
        "linear2": "feed_forward.contract",
        "norm3": "feed_norm",
    }
    return {f"{theirs}.layers.*.{part}": f"{ours}.*.{name}" for part, name in parts.items()}


def inverted(table: Mapping[str, str]) -> dict[str, str]:
    """The table for the way back."""
    return {ours: theirs for theirs, ours in table.items()}


def rename(name: str, table: Mapping[str, str]) -> str | None:
    """The name with its beginning exchanged by the first entry that fits; None where none does.

    An entry fits the whole name, or its beginning up to a dot: `fc.0` fits `fc.0` and `fc.0.weight`, not `fc.01`.
    """
    for old, new in table.items():
        match = re.fullmatch(re.escape(old).replace(r"\*", r"(\d+)") + r"(\..+)?", name)
        if match:
            *numbers, rest = match.groups(default="")
            for number in numbers:
                new = new.replace("*", number, 1)
            return new + rest
    return None


def rename_all(state: Mapping[str, Tensor], table: Mapping[str, str], method: str) -> dict[str, Tensor]:
    """All weights under new names.

    Args:
        state: weights by name.
        table: see `rename`.
        method: whose checkpoint it is to be, for the message.

    Raises:
        CheckpointError: listing the names that no entry fits.
    """
    names = {name: rename(name, table) for name in state}
    refuse_unknown([name for name, new in names.items() if new is None], method)
    return {new: state[name] for name, new in names.items() if new is not None}


def refuse_unknown(names: Collection[str], method: str) -> None:
    """Say which names do not belong to a checkpoint, if there are any.

    Raises:
        CheckpointError: naming up to ten of them.
    """
    if names:
        raise CheckpointError(
            f"{counted(len(names), 'name does', 'names do')} not belong to a checkpoint of {method}: "
            f"{named(sorted(names), 10)}.",
            "Is it from the published code, and of the method that the recipe says? Models that hlcli trained are "
            "opened as they are, by their folder.",
        )


def without_wrapper(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights without one leading `module.`, which wrappers for averages and several devices put there.

    Raises:
        CheckpointError: when a weight is there with and without it.
    """
    stripped = {key.removeprefix("module."): value for key, value in state.items()}
    if len(stripped) != len(state):
        raise CheckpointError("The checkpoint holds some weights twice, with and without the prefix `module.`.")
    return stripped


def complete(converted: Mapping[str, Tensor], model: nn.Module, computed: Sequence[str] = ()) -> dict[str, Tensor]:
    """Add from `model` what a published checkpoint may lack, and leave out counters that the model has not.

    Args:
        converted: weights under our names.
        model: the network that is to take them.
        computed: names of buffers that the model computes by itself, such as positions. Counters of batch norms
            are always added where they are missing, and dropped where the model's norms are frozen.
    """
    own = model.state_dict()
    optional = {name: value for name, value in own.items() if name in computed or name.endswith(COUNTER)}
    known = {name: value for name, value in converted.items() if name in own or not name.endswith(COUNTER)}
    return {**optional, **known}


def split_backbone(state: Mapping[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights below the prefix, by the rest of their names, and all others as they are."""
    backbone = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return backbone, {name: value for name, value in state.items() if not name.startswith(prefix)}


def backbone_to_ours(state: Mapping[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Weights of a published backbone (names without `backbone.`) under our whole names.

    Args:
        state: as they are named below `backbone.`.
        backbone: the built backbone; its `name` decides what the names mean.
    """
    ours = from_reference_backbone(state, getattr(backbone, "name", ""))
    return {BACKBONE[1] + name: value for name, value in ours.items()}


def backbone_to_theirs(state: Mapping[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """The way back: weights by their names below `backbone.model.` → the published program's whole names.

    Every batch norm gets a counter, as strict loaders expect; frozen ones have none with us.
    """
    counters = {
        name.removesuffix(".running_var") + COUNTER: torch.zeros((), dtype=torch.long, device=value.device)
        for name, value in state.items()
        if name.endswith(".running_var")
    }
    theirs = to_reference_backbone({**counters, **state}, getattr(backbone, "name", ""))
    return {BACKBONE[0] + name: value for name, value in theirs.items()}


def position_rows(table: Tensor, class_tokens: int = 0) -> Tensor:
    """Published positions [1, D, h, w] as one row per token: [class_tokens + N, D], class tokens being zero.

    Raises:
        CheckpointError: when the table has another shape.
    """
    if table.ndim != 4 or len(table) != 1:
        raise CheckpointError(
            f"The checkpoint's positions have shape {list(table.shape)}, not [1, width, rows, columns]."
        )
    rows = table.flatten(2).squeeze(0).T  # [N, D]
    return torch.cat((rows.new_zeros(class_tokens, rows.shape[1]), rows)) if class_tokens else rows


def position_table(rows: Tensor, grid: tuple[int, int]) -> Tensor:
    """The way back: [class_tokens + N, D] → [1, D, h, w]."""
    return rows[len(rows) - grid[0] * grid[1] :].T.unflatten(-1, grid)[None]
