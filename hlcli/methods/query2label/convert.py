"""Weights of the published Query2Label code ⇄ ours; its names are on the left of the table."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hlcli.methods.reference_names import (
    COUNTER,
    decoder_table,
    encoder_table,
    inverted,
    position_rows,
    position_table,
    rename_all,
    without_wrapper,
)

POSITION = ("backbone.1.pe", "position")
NAMES = {
    "backbone.0.body": "backbone.model",
    POSITION[0]: POSITION[1],
    "input_proj": "input_projection",
    "query_embed.weight": "queries",
    "fc.W": "classifier.weight",
    "fc.b": "classifier.offset",
    "transformer.encoder.norm": "encoder.norm",
    "transformer.decoder.norm": "final_norm",
    **encoder_table("transformer.encoder", "encoder"),
    **decoder_table("transformer.decoder", "decoder"),
}


def from_reference(state: Mapping[str, Tensor], class_tokens: int = 0) -> dict[str, Tensor]:
    """The published weights under our names; what is not in `state` is not in the result.

    Args:
        state: weights by name, each with or without `module.` in front.
        class_tokens: tokens before the grid, which positions get a zero row for.

    Raises:
        CheckpointError: when names are unknown, or there twice (with and without `module.`).
    """
    ours = rename_all(without_wrapper(state), NAMES, "Query2Label")
    if "input_projection.weight" in ours:
        ours["input_projection.weight"] = ours["input_projection.weight"].flatten(1)  # [D, C, 1, 1] → [D, C]
    if "classifier.weight" in ours:
        ours["classifier.weight"] = ours["classifier.weight"].flatten(0, 1)  # [1, L, D] → [L, D]
    if "position" in ours:
        ours["position"] = position_rows(ours["position"], class_tokens)
    return ours


def to_reference(state: Mapping[str, Tensor], grid: tuple[int, int]) -> dict[str, Tensor]:
    """Our weights under the published names.

    Args:
        state: state dict of `Query2Label`.
        grid: height and width of the feature map.

    Raises:
        CheckpointError: when a name is not Query2Label's.
    """
    kept = {name: value for name, value in state.items() if not name.endswith(COUNTER)}  # its frozen norms have none
    theirs = rename_all(kept, inverted(NAMES), "Query2Label")
    theirs["fc.W"] = theirs["fc.W"][None]
    theirs[POSITION[0]] = position_table(theirs[POSITION[0]], grid)
    if "input_proj.weight" in theirs:
        theirs["input_proj.weight"] = theirs["input_proj.weight"][:, :, None, None]
    return theirs
