"""Weights of the published SGRE code ⇄ ours; its names are on the left of the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from hlcli.encoders.backbone_names import family
from hlcli.errors import CheckpointError
from hlcli.layers.position import sine_position
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
    from hlcli.backbones import GridBackbone
    from hlcli.methods.sgre.model import Sgre

_CONVOLUTIONS = {
    "net1": "head.token_query",
    "net2": "head.label_key",
    "net3": "head.label_value",
    "net4": "head.context_projection",
}
NAMES = {
    **LABEL_ATTENTION,
    **encoder_table("encoder"),
    **{f"{theirs}.0": f"{ours}.linear" for theirs, ours in _CONVOLUTIONS.items()},
    **{f"{theirs}.1": f"{ours}.norm" for theirs, ours in _CONVOLUTIONS.items()},
    "fc.weight": "head.label_classifier.weight",
    "fc.bias": "head.label_classifier.offset",
    "fc2.0": "head.classifier.from_token",  # its weight also holds the context's half
    "fc2.3": "head.classifier.output",
    "embeddings": "head.label_embeddings",
}
POSITION = ("position_embedding.pe", "head.position")
_CONTEXT = "head.classifier.from_context.weight"
JOINED = "head.classifier.from_token.weight"
_KERNELS = tuple(f"{name}.linear.weight" for name in _CONVOLUTIONS.values())  # [D, D, 1] there, [D, D] here


def from_reference(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The reference's weights under our names; positions only where the model uses them.

    Given label embeddings are not part of a published checkpoint: they are taken from `model`.

    Raises:
        CheckpointError: when names are unknown, there twice, or tell of label embeddings that the model is given.
    """
    network = cast("Sgre", model)
    backbone, rest = split_backbone(without_wrapper(state), BACKBONE[0])
    if "embeddings" in rest and not _trains_embeddings(network):
        raise CheckpointError(
            "The checkpoint has trained label embeddings of its own, but the recipe gives some.",
            "Set model.label_embeddings=random.",
        )
    table = rest.pop(POSITION[0], None)
    ours = rename_all(rest, NAMES, "SGRE")
    for name in _KERNELS:
        if name in ours:
            ours[name] = ours[name].flatten(1)
    if JOINED in ours:
        ours[JOINED], ours[_CONTEXT] = ours[JOINED].chunk(2, dim=1)
    if table is not None and network.head.position is not None and not _is_cvt(network):
        ours[POSITION[1]] = position_rows(table, int(cast("GridBackbone", network.backbone).class_tokens))
    if not _trains_embeddings(network):
        ours["head.label_embeddings"] = network.head.label_embeddings.detach()
    return backbone_to_ours(backbone, network.backbone) | ours


def to_reference(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Our weights under the reference's names; given label embeddings have none there.

    Raises:
        CheckpointError: when a name is not SGRE's.
    """
    network = cast("Sgre", model)
    backbone, rest = split_backbone(state, BACKBONE[1])
    rest[JOINED] = torch.cat((rest.pop(JOINED), rest.pop(_CONTEXT)), dim=1)
    for name in _KERNELS:
        rest[name] = rest[name][..., None]
    if not _trains_embeddings(network):
        del rest["head.label_embeddings"]
    positions = rest.pop(POSITION[1], None)
    theirs = rename_all(rest, inverted(NAMES), "SGRE")
    table = _published_table(positions, network, rest[JOINED].dtype)
    if table is not None:
        theirs[POSITION[0]] = table
    return backbone_to_theirs(backbone, network.backbone) | theirs


def _published_table(rows: Tensor | None, network: Sgre, dtype: torch.dtype) -> Tensor | None:
    """The reference's table of positions [1, D, h, w], which it keeps whether it uses them or not."""
    backbone = cast("GridBackbone", network.backbone)
    height, width = backbone.grid
    if rows is not None and not _is_cvt(network):
        return position_table(rows, (height, width))
    if backbone.num_features % 4:
        return None
    if _is_cvt(network):  # it takes a stride of 32 where CvT has 16, and cannot use the table
        height, width = height // 2, width // 2
    return position_table(sine_position(height, width, backbone.num_features).to(dtype), (height, width))


def _trains_embeddings(network: Sgre) -> bool:
    return isinstance(network.head.label_embeddings, nn.Parameter)


def _is_cvt(network: Sgre) -> bool:
    return family(str(getattr(network.backbone, "name", ""))) == "cvt"
