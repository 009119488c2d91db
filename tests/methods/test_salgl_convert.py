"""Weights of SALGL's published code ⇄ ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hlcli.backbones import build_backbone
from hlcli.errors import CheckpointError
from hlcli.methods.reference_names import encoder_table, inverted, rename
from hlcli.models.folder import load_weights
from hlcli.upstream import read_upstream

from .salgl_parts import SMALL, Salgl, Tokens, flat, make


def published_shapes(
    *, L: int, E: int, S: int, D: int, K: int, F: int, two_way: bool, steps: int, grid: tuple[int, int] | None
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published checkpoint without its backbone, as the specification lists them."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings": (L, E),
        "comatrix": (S, L, L),
        "tb.layers.0.self_attn.in_proj_weight": (3 * D, D),
        "tb.layers.0.self_attn.in_proj_bias": (3 * D,),
        "scene_linear.weight": (S, D),
        "attention.linear1.weight": (K, D),
        "attention.linear2.weight": (K, E),
        "classifier.weight": (L, D),
        "classifier.bias": (L,),
    }
    linears = {
        "tb.layers.0.self_attn.out_proj": (D, D),
        "tb.layers.0.linear1": (F, D),
        "tb.layers.0.linear2": (D, F),
        "attention.hidden_linear": (K, K),
        "attention.target_linear": (1, K),
        "fc.0": (D, 2 * D if steps else D),
    }
    for gate in (1, 2, 3):
        linears |= {f"ggnn.fc{gate}_w": (D, 2 * D if two_way else D), f"ggnn.fc{gate}_u": (D, D)}
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for norm in (1, 2):
        shapes |= {f"tb.layers.0.norm{norm}.{part}": (D,) for part in ("weight", "bias")}
    if grid is not None:
        shapes["position_embedding.pe"] = (1, D, *grid)
    return shapes


def made_up(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


CASES: list[dict[str, Any]] = [
    {},
    {"two_way_messages": True, "positions": True},
    {"graph_steps": 0, "num_scenes": 5},
    {"label_embeddings": "prepared", "positions": True},
]


def case(fields: dict[str, Any], class_tokens: int = 0) -> tuple[Salgl, nn.Module, dict[str, tuple[int, ...]]]:
    """Section, network, and what its published checkpoint looks like."""
    section, model = make(Tokens(class_tokens=class_tokens), **fields)
    shapes = published_shapes(
        L=7, E=section.embedding_dim(16), S=section.num_scenes, D=16, K=20, F=24, two_way=section.two_way_messages,
        steps=section.graph_steps, grid=(2, 3) if section.positions else None,
    )  # fmt: skip
    return section, model, shapes


@pytest.mark.parametrize("fields", CASES, ids=str)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_weights_load_by_name_and_shape_and_come_back_bit_for_bit(
    fields: dict[str, Any], prefix: str
) -> None:
    section, model, shapes = case(fields)
    published = made_up(shapes)
    wrapped = {prefix + name: value for name, value in published.items()}
    load_weights(model, section.from_upstream(wrapped, model), "the file")
    exported = section.to_upstream(model.state_dict(), model)
    assert {name: tuple(value.shape) for name, value in exported.items()} == shapes
    for name, value in published.items():
        torch.testing.assert_close(exported[name], value, rtol=0, atol=0, msg=name)
    again = section.from_upstream(exported, model)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=0, msg=name)


def test_every_gate_and_linear_goes_to_its_place() -> None:
    section, model, shapes = case({})
    published = made_up(shapes)
    load_weights(model, section.from_upstream(published, model), "the file")
    head = model.head
    for theirs, ours in {
        "ggnn.fc1_w.weight": head.graph.update_message.weight,
        "ggnn.fc2_u.bias": head.graph.reset_state.bias,
        "ggnn.fc3_w.weight": head.graph.candidate_message.weight,
        "attention.linear2.weight": head.attention.label_projection.weight,
        "tb.layers.0.linear2.weight": head.encoder.layers[0].feed_forward.contract.weight,
        "tb.layers.0.norm1.weight": head.encoder.layers[0].self_norm.weight,
        "comatrix": head.cooccurrence.counts,
    }.items():
        torch.testing.assert_close(ours.detach(), published[theirs], rtol=0, atol=0, msg=theirs)


def test_the_class_token_gets_no_position() -> None:
    section, model, shapes = case({"positions": True}, class_tokens=1)
    published = made_up(shapes)
    load_weights(model, section.from_upstream(published, model), "the file")
    assert not model.head.position[0].any()
    torch.testing.assert_close(model.head.position[1 + 5], published["position_embedding.pe"][0, :, 1, 2])
    exported = section.to_upstream(model.state_dict(), model)
    torch.testing.assert_close(exported["position_embedding.pe"], published["position_embedding.pe"], rtol=0, atol=0)


def test_the_published_size_fits_to_the_last_parameter() -> None:
    shapes = published_shapes(L=80, E=768, S=4, D=2048, K=1024, F=2048, two_way=False, steps=3, grid=(14, 14))
    with torch.device("meta"):
        section = Salgl(label_embeddings="prepared", positions=True)
        model = section.build(build_backbone("resnet101.tv_in1k", (448, 448)), flat(80))
        reference_backbone = {f"backbone.{k}": v for k, v in model.backbone.model.state_dict().items()}
        published = {name: torch.empty(shape) for name, shape in shapes.items()} | reference_backbone
    load_weights(model, section.from_upstream(published, model), "the file")
    exported = section.to_upstream(model.state_dict(), model)
    assert {name: value.shape for name, value in exported.items()} == {k: v.shape for k, v in published.items()}
    assert "backbone.layer4.2.bn3.running_var" in exported
    assert sum(parameter.numel() for parameter in model.parameters()) == 105_361_553
    assert sum(parameter.numel() for parameter in model.head.parameters()) == 62_861_393


def test_a_whole_checkpoint_file_gives_the_same_scores(tmp_path: Path) -> None:
    def build() -> tuple[Salgl, nn.Module]:
        section = Salgl(**{**SMALL, "positions": True})
        return section, section.build(build_backbone("test_resnet.r160_in1k", (64, 64)), flat())

    section, model = build()
    model.head.cooccurrence.counts.add_(torch.rand(3, 7, 7))
    path = tmp_path / "ema_best_model.pth"
    exported = section.to_upstream(model.state_dict(), model)
    torch.save({f"module.{name}": value for name, value in exported.items()}, path)
    _, other = build()
    load_weights(other, section.from_upstream(read_upstream(path).state, other), "the file")
    images = torch.randn(2, 3, 64, 64)
    for ours, theirs in zip(other.eval()(images), model.eval()(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_counters_of_batch_norms_come_and_go_with_frozen_norms() -> None:
    def build(frozen: bool) -> tuple[Salgl, nn.Module]:
        section = Salgl(**SMALL)
        backbone = build_backbone("test_resnet.r160_in1k", (64, 64), freeze_batch_norm=frozen)
        return section, section.build(backbone, flat())

    section, free = build(False)
    _, frozen = build(True)
    published = section.to_upstream(free.state_dict(), free)
    load_weights(frozen, section.from_upstream(published, frozen), "the file")
    assert set(section.to_upstream(frozen.state_dict(), frozen)) == set(published)
    old = {name: value for name, value in published.items() if not name.endswith("num_batches_tracked")}
    assert set(old) != set(published)
    load_weights(free, section.from_upstream(old, free), "the file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"gate": torch.ones(1), "fc.1.weight": torch.ones(1)},
            r"2 names do not belong to a checkpoint of SALGL: fc\.1.*, gate",
        ),
        ({"module.comatrix": torch.ones(1)}, "with and without the prefix"),
        ({"position_embedding.pe": torch.ones(16, 6)}, r"positions have shape \[16, 6\]"),
    ],
)
def test_strange_checkpoints_are_refused(change: dict[str, Tensor], message: str) -> None:
    section, model, shapes = case({"positions": True})
    with pytest.raises(CheckpointError, match=message):
        section.from_upstream(made_up(shapes) | change, model)


@pytest.mark.parametrize(
    ("of_file", "of_recipe", "message"),
    [
        ({"positions": True}, {}, r"1 unexpected \(head\.position\)|1 key unexpected \(head\.position\)"),
        ({}, {"positions": True}, r"1 key missing \(head\.position\)"),
        (
            {},
            {"num_scenes": 4},
            r"2 keys of another shape \(head\.cooccurrence\.counts \[3, 7, 7\] instead of \[4, 7, 7\]",
        ),
        ({}, {"encoder_layers": 2}, r"keys missing \(head\.encoder\.layers\.1"),
    ],
)
def test_checkpoints_of_other_recipes_do_not_fit(
    of_file: dict[str, Any], of_recipe: dict[str, Any], message: str
) -> None:
    shapes = case(of_file)[2]
    section, model = make(Tokens(), **of_recipe)
    with pytest.raises(CheckpointError, match=message):
        load_weights(model, section.from_upstream(made_up(shapes), model), "the file")


def test_names_are_exchanged_up_to_a_dot() -> None:
    table = {"fc.0": "head.fusion", **encoder_table("tb")}
    assert rename("fc.0.weight", table) == "head.fusion.weight"
    assert rename("fc.0", table) == "head.fusion"
    assert rename("fc.01", table) is None
    assert rename("tb.layers.12.norm2.bias", table) == "head.encoder.layers.12.feed_norm.bias"
    assert rename("tb.layers.x.norm2.bias", table) is None
    for name in ("fc.0.weight", "tb.layers.3.self_attn.in_proj_weight"):
        there = rename(name, table)
        assert there is not None
        assert rename(there, inverted(table)) == name
