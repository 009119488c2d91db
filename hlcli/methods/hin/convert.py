"""Weights of the published HIN code ⇄ ours; its names are on the left of the tables."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hlcli.errors import CheckpointError
from hlcli.methods.reference_names import inverted, rename, rename_all, without_wrapper

_ATTENTION = {
    "attention.fc_q": "query",
    "attention.fc_k": "key",
    "attention.fc_v": "value",
    "attention.fc_o": "output",
    "layer_norm": "norm",
}
_FEED_FORWARD = {"fc1": "expand", "fc2": "contract", "layer_norm": "norm"}
_ATTENTIONS = {
    "encoder.layers.*.global_grid": "encoder.layers.*.grid_summary",
    "encoder.layers.*.global_region": "encoder.layers.*.region_summary",
    "encoder.layers.*.golbal_cls_grid": "encoder.layers.*.grid_exchange",  # spelt so
    "encoder.layers.*.golbal_cls_region": "encoder.layers.*.region_exchange",
    "encoder.layers.*.self_grid": "encoder.layers.*.grid_attention",
    "encoder.layers.*.self_region": "encoder.layers.*.region_attention",
    "encoder.quer2att_grid.*": "encoder.ask_grid.*",
    "encoder.quer2att_region.*": "encoder.ask_regions.*",
    "decoder.layers.*.self_att": "decoder.layers.*.self_attention",
    "decoder.layers.*.grid_att": "decoder.layers.*.grid_attention",
    "decoder.layers.*.region_att": "decoder.layers.*.region_attention",
    "decoder.layers.*.grid_cross_region": "decoder.layers.*.grid_to_region",
    "decoder.layers.*.region_cross_grid": "decoder.layers.*.region_to_grid",
    "decoder.layers.*.self_cross_enc": "decoder.layers.*.direct_choice",
    "decoder.layers.*.self_cross_enc_cross": "decoder.layers.*.crossed_choice",
}
_FEED_FORWARDS = {
    "encoder.layers.*.pwff_grid": "encoder.layers.*.grid_feed_forward",
    "encoder.layers.*.pwff_region": "encoder.layers.*.region_feed_forward",
    "decoder.layers.*.pwff": "decoder.layers.*.feed_forward",
}
NAMES = {
    "encoder.grid_proj.0": "encoder.grid_projection.linear",
    "encoder.grid_proj.3": "encoder.grid_projection.norm",
    "encoder.region_proj.0": "encoder.region_projection.linear",
    "encoder.region_proj.3": "encoder.region_projection.norm",
    "encoder.layers.*.cls_grid": "encoder.layers.*.grid_query",
    "encoder.layers.*.cls_region": "encoder.layers.*.region_query",
    "encoder.layers.*.gate_golbal_cls": "encoder.layers.*.exchange_gate",
    "encoder.layers.*.middle_LN": "encoder.layers.*.middle_norm",
    "encoder.layers.*.middle_fc.0": "encoder.layers.*.middle_linear",
    "decoder.layers.*.gate.0": "decoder.layers.*.gate",
    "decoder.layers.*.proj1": "decoder.layers.*.direct_projection",
    "decoder.layers.*.proj2": "decoder.layers.*.crossed_projection",
    "decoder.layers.*.lnorm2": "decoder.layers.*.fusion_norm",
    "decoder.word_emb": "decoder.word_embedding",
    "decoder.pos_emb": "decoder.position_embedding",
    "decoder.fc": "decoder.word_scores",
    **{f"{a}.{b}": f"{x}.{y}" for a, x in _ATTENTIONS.items() for b, y in _ATTENTION.items()},
    **{f"{a}.{b}": f"{x}.{y}" for a, x in _FEED_FORWARDS.items() for b, y in _FEED_FORWARD.items()},
}
_SEARCH_BUFFERS = (
    "decoder.running_mask_self_attention",
    "decoder.running_seq",
    "decoder.layers.*.self_att.running_keys",
    "decoder.layers.*.self_att.running_values",
)
"""What the published search keeps between words: empty in a checkpoint, and of no use to ours."""


def from_upstream(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reference's weights under our names, those of `Hin`; the empty buffers of its search are left out.

    Raises:
        CheckpointError: when names are unknown, or there twice (with and without `module.`).
    """
    weights = {
        name: value
        for name, value in without_wrapper(state).items()
        if rename(name, dict.fromkeys(_SEARCH_BUFFERS, name)) is None
    }
    return rename_all(weights, NAMES, "HIN")


def to_upstream(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of `Hin` under the reference's names, with the buffers that its search starts from.

    Raises:
        CheckpointError: when a name is not HIN's, or the words have no vectors.
    """
    theirs = rename_all(state, inverted(NAMES), "HIN")
    words = theirs.get("decoder.word_emb.weight")
    if words is None:
        raise CheckpointError("The state has no decoder.word_embedding.weight; is it a whole HIN?")
    layers = 1 + max(int(name.split(".")[2]) for name in theirs if name.startswith("decoder.layers."))
    theirs["decoder.running_mask_self_attention"] = torch.zeros(1, 1, 0, dtype=torch.uint8, device=words.device)
    theirs["decoder.running_seq"] = torch.zeros(1, dtype=torch.long, device=words.device)
    for layer in range(layers):
        for name in ("running_keys", "running_values"):
            theirs[f"decoder.layers.{layer}.self_att.{name}"] = words.new_zeros(0, words.shape[1])
    return theirs
