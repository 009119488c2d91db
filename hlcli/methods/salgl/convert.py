"""Weights of the published SALGL code ⇄ ours; its names are on the left of the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from hlcli.methods.reference_names import (
    BACKBONE,
    LABEL_ATTENTION,
    backbone_to_ours,
    backbone_to_theirs,
    encoder_table,
    inverted,
    position_rows,
    position_table,
    rename_all,
    split_backbone,
    without_wrapper,
)

if TYPE_CHECKING:
    from hlcli.methods.salgl.model import Salgl

NAMES = {
    "embeddings": "head.label_embeddings",
    "comatrix": "head.cooccurrence.counts",
    "position_embedding.pe": "head.position",
    "scene_linear": "head.scene_classifier",
    "ggnn.fc1_w": "head.graph.update_message",
    "ggnn.fc1_u": "head.graph.update_state",
    "ggnn.fc2_w": "head.graph.reset_message",
    "ggnn.fc2_u": "head.graph.reset_state",
    "ggnn.fc3_w": "head.graph.candidate_message",
    "ggnn.fc3_u": "head.graph.candidate_state",
    "fc.0": "head.fusion",
    "classifier.weight": "head.classifier.weight",
    "classifier.bias": "head.classifier.offset",
    **encoder_table("tb"),
    **LABEL_ATTENTION,
}


def from_reference(state: Mapping[str, Tensor], model: Salgl) -> dict[str, Tensor]:
    """The reference's weights under our names; what is not in `state` is not in the result.

    Raises:
        CheckpointError: when names are unknown, or there twice (with and without `module.`).
    """
    backbone, head = split_backbone(without_wrapper(state), BACKBONE[0])
    ours = rename_all(head, NAMES, "SALGL")
    if "head.position" in ours:
        ours["head.position"] = position_rows(ours["head.position"], model.head.class_tokens)
    return backbone_to_ours(backbone, model.backbone) | ours


def to_reference(state: Mapping[str, Tensor], model: Salgl) -> dict[str, Tensor]:
    """Our weights under the reference's names, such that its strict loader takes them.

    Raises:
        CheckpointError: when a name is not SALGL's.
    """
    backbone, head = split_backbone(state, BACKBONE[1])
    theirs = rename_all(head, inverted(NAMES), "SALGL")
    if "position_embedding.pe" in theirs:
        theirs["position_embedding.pe"] = position_table(theirs["position_embedding.pe"], model.head.grid)
    return theirs | backbone_to_theirs(backbone, model.backbone)
