"""HIN's weights ⇄ the published program's: names, shapes, and what is refused."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from hlcli.errors import CheckpointError
from hlcli.methods.hin.convert import from_upstream, to_upstream
from hlcli.methods.hin.model import Hin

from .hin_parts import draw_captions, draw_features, make

MHA = [f"attention.fc_{part}.{kind}" for part in "qkvo" for kind in ("weight", "bias")]
MHA += ["layer_norm.weight", "layer_norm.bias"]


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Some of the default configuration's entries, from the description of its checkpoints."""
    return {
        "encoder.grid_proj.0.weight": (512, 1024),
        "encoder.grid_proj.3.bias": (512,),
        "encoder.region_proj.0.weight": (512, 2048),
        "encoder.layers.2.cls_region": (1, 1, 512),
        "encoder.layers.0.gate_golbal_cls.weight": (2, 1024),
        "encoder.layers.1.middle_LN.weight": (512,),
        "encoder.layers.1.middle_fc.0.weight": (512, 512),
        "encoder.layers.2.pwff_region.fc1.weight": (2048, 512),
        "encoder.quer2att_grid.1.attention.fc_o.weight": (512, 512),
        "decoder.layers.2.self_cross_enc_cross.layer_norm.bias": (512,),
        "decoder.layers.0.gate.0.bias": (512,),
        "decoder.layers.0.pwff.fc2.weight": (512, 2048),
        "decoder.word_emb.weight": (10201, 512),
        "decoder.pos_emb.weight": (55, 512),
        "decoder.fc.weight": (10201, 512),
        "decoder.running_mask_self_attention": (1, 1, 0),
        "decoder.running_seq": (1,),
        "decoder.layers.1.self_att.running_keys": (0, 512),
    }


def test_full_size_has_the_published_names_shapes_and_numbers() -> None:
    with torch.device("meta"):
        model = Hin(vocabulary_size=10201, grid_width=1024, region_width=2048)
    assert sum(p.numel() for p in model.parameters()) == 79_344_646
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 79_316_486
    assert sum(p.numel() for p in model.encoder.parameters()) == 38_116_870
    state = to_upstream(model.state_dict())
    assert len(state) == 551
    assert published_shapes().items() <= {name: tuple(value.shape) for name, value in state.items()}.items()
    attentions = [
        f"encoder.layers.{n}.{s}_{k}" for n in range(3) for s in ("self", "global") for k in ("grid", "region")
    ]
    attentions += [f"encoder.quer2att_{kind}.{n}" for n in range(2) for kind in ("grid", "region")]
    attentions += [f"encoder.layers.{n}.golbal_cls_{kind}" for n in range(3) for kind in ("grid", "region")]
    parts = ("self_att", "grid_att", "region_att", "grid_cross_region", "region_cross_grid", "self_cross_enc")
    attentions += [f"decoder.layers.{n}.{part}" for n in range(3) for part in (*parts, "self_cross_enc_cross")]
    assert {f"{name}.{part}" for name in attentions for part in MHA} <= set(state)
    assert state["decoder.running_mask_self_attention"].dtype == torch.uint8
    assert state["decoder.running_seq"].dtype == torch.int64


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_survive_the_way_to_the_published_names_and_back(prefix: str) -> None:
    model, fresh = make(), make(seed=1)
    theirs = {prefix + name: value.clone() for name, value in to_upstream(model.state_dict()).items()}
    fresh.load_state_dict(from_upstream(theirs))
    assert torch.equal(model(*draw_features(), draw_captions()), fresh(*draw_features(), draw_captions()))


def test_every_attention_and_linear_goes_to_its_place() -> None:
    theirs = to_upstream(make().state_dict())
    generator = torch.Generator().manual_seed(0)
    theirs = {name: torch.rand(value.shape, generator=generator) for name, value in theirs.items()}
    ours = from_upstream(theirs)
    for name, place in {
        "encoder.layers.1.global_grid": "encoder.layers.1.grid_summary",
        "encoder.layers.1.global_region": "encoder.layers.1.region_summary",
        "encoder.layers.1.golbal_cls_grid": "encoder.layers.1.grid_exchange",
        "encoder.layers.1.golbal_cls_region": "encoder.layers.1.region_exchange",
        "encoder.layers.1.self_grid": "encoder.layers.1.grid_attention",
        "encoder.layers.1.self_region": "encoder.layers.1.region_attention",
        "encoder.quer2att_grid.1": "encoder.ask_grid.1",
        "encoder.quer2att_region.1": "encoder.ask_regions.1",
        "decoder.layers.1.self_att": "decoder.layers.1.self_attention",
        "decoder.layers.1.grid_att": "decoder.layers.1.grid_attention",
        "decoder.layers.1.region_att": "decoder.layers.1.region_attention",
        "decoder.layers.1.grid_cross_region": "decoder.layers.1.grid_to_region",
        "decoder.layers.1.region_cross_grid": "decoder.layers.1.region_to_grid",
        "decoder.layers.1.self_cross_enc": "decoder.layers.1.direct_choice",
        "decoder.layers.1.self_cross_enc_cross": "decoder.layers.1.crossed_choice",
    }.items():
        for part, own in zip("qkvo", ("query", "key", "value", "output"), strict=True):
            assert torch.equal(ours[f"{place}.{own}.weight"], theirs[f"{name}.attention.fc_{part}.weight"]), name
        assert torch.equal(ours[f"{place}.norm.bias"], theirs[f"{name}.layer_norm.bias"]), name
    for name, place in {
        "encoder.grid_proj.0.weight": "encoder.grid_projection.linear.weight",
        "encoder.region_proj.3.bias": "encoder.region_projection.norm.bias",
        "encoder.layers.1.cls_grid": "encoder.layers.1.grid_query",
        "encoder.layers.1.cls_region": "encoder.layers.1.region_query",
        "encoder.layers.1.gate_golbal_cls.weight": "encoder.layers.1.exchange_gate.weight",
        "encoder.layers.1.middle_LN.weight": "encoder.layers.1.middle_norm.weight",
        "encoder.layers.1.middle_fc.0.weight": "encoder.layers.1.middle_linear.weight",
        "encoder.layers.1.pwff_grid.fc1.weight": "encoder.layers.1.grid_feed_forward.expand.weight",
        "encoder.layers.1.pwff_region.fc2.weight": "encoder.layers.1.region_feed_forward.contract.weight",
        "decoder.layers.1.pwff.layer_norm.bias": "decoder.layers.1.feed_forward.norm.bias",
        "decoder.layers.1.gate.0.weight": "decoder.layers.1.gate.weight",
        "decoder.layers.1.proj1.weight": "decoder.layers.1.direct_projection.weight",
        "decoder.layers.1.proj2.weight": "decoder.layers.1.crossed_projection.weight",
        "decoder.layers.1.lnorm2.bias": "decoder.layers.1.fusion_norm.bias",
        "decoder.word_emb.weight": "decoder.word_embedding.weight",
        "decoder.pos_emb.weight": "decoder.position_embedding.weight",
        "decoder.fc.weight": "decoder.word_scores.weight",
    }.items():
        assert torch.equal(ours[place], theirs[name]), name


def test_what_a_search_left_in_the_buffers_is_not_read() -> None:
    state = to_upstream(make().state_dict())
    state["decoder.layers.0.self_att.running_keys"] = torch.randn(4, 8)
    state["decoder.running_seq"] = torch.full((1,), 7)
    assert set(from_upstream(state)) == set(make().state_dict())


def renamed(state: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {name.replace(old, new): value for name, value in state.items()}


def test_foreign_names_are_refused() -> None:
    state = to_upstream(make().state_dict())
    with pytest.raises(CheckpointError, match=re.escape("20 names do not belong to a checkpoint of HIN: encoder.new")):
        from_upstream(renamed(state, "encoder.quer2att_grid", "encoder.new"))
    with pytest.raises(CheckpointError, match="twice, with and without"):
        from_upstream({**state, "module.decoder.fc.weight": state["decoder.fc.weight"]})
    with pytest.raises(CheckpointError, match=r"does not belong to a checkpoint of HIN: backbone\.weight"):
        to_upstream({**make().state_dict(), "backbone.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="whole HIN"):
        to_upstream({})


def test_a_checkpoint_that_lacks_weights_is_not_loaded() -> None:
    state = to_upstream(make().state_dict())
    del state["decoder.fc.weight"]
    with pytest.raises(RuntimeError, match=r"decoder\.word_scores\.weight"):
        make().load_state_dict(from_upstream(state))
