"""HSPNet's weights ⇄ the published program's: names, shapes, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from hlcli.clip import build_clip
from hlcli.data.labels import LabelSpace
from hlcli.errors import CheckpointError
from hlcli.methods.hspnet.config import Hspnet
from hlcli.models.folder import load_weights

from .hspnet_parts import batch_of, make, make_clip, tree


def published(model: Any, section: Hspnet) -> dict[str, Tensor]:
    """The model's weights as the published program would save them."""
    return {name: value.clone() for name, value in section.to_upstream(model.state_dict(), model).items()}


def pair(**fields: Any) -> tuple[Hspnet, Any, Any]:
    """Section that reads its graph from a file, a trained model, and a fresh one with the same graph."""
    section, model = make(**fields)
    section = section.model_copy(update={"graph": "prepared"})
    fresh = make(towers=make_clip(seed=1), **fields)[1]
    for name in ("child_adjacency", "parent_adjacency"):
        fresh.get_parameter(name).data.copy_(model.get_parameter(name))
    return section, model, fresh


@pytest.mark.parametrize("n_ctx", [4, 2, 5])
def test_weights_survive_the_way_to_the_published_names_and_back(n_ctx: int) -> None:
    section, model, fresh = pair(n_ctx=n_ctx)
    state = published(model, section)
    # The parents' phrase has four words, whatever the number of those that children learn.
    assert state["parent_prompt_learner.ctx"].shape == (4, 8)
    assert state["parent_prompt_learner.token_middle"].shape == (3, 4, 8)
    for prefix in ("", "module."):
        theirs = {prefix + name: value for name, value in state.items()}
        load_weights(fresh, section.from_upstream(theirs, fresh), "test")
        for name, value in model.state_dict().items():
            assert torch.equal(value, fresh.state_dict()[name]), name
    images = batch_of().images
    assert torch.equal(model.eval()(images).logits, fresh.eval()(images).logits)


def test_the_published_context_of_the_parents_is_kept_as_it_is() -> None:
    section, model, fresh = pair()
    name = "parent_prompt_learner.ctx"
    theirs = published(model, section) | {name: torch.randn(4, 8)}
    load_weights(fresh, section.from_upstream(theirs, fresh), "test")
    assert torch.equal(published(fresh, section)[name], theirs[name])


@pytest.mark.parametrize("n_ctx", [4, 2])
def test_a_context_of_another_size_is_refused(n_ctx: int) -> None:
    section, model, fresh = pair(n_ctx=n_ctx)
    theirs = published(model, section) | {"parent_prompt_learner.ctx": torch.zeros(3, 8)}
    with pytest.raises(CheckpointError, match="parent_context"):
        load_weights(fresh, section.from_upstream(theirs, fresh), "test")


def test_full_size_has_the_published_names_shapes_and_numbers() -> None:
    """On the meta device: 80 labels below 12 parents, CLIP RN50."""
    names = [[f"parent{i}" for i in range(12)], [f"child{i}" for i in range(80)]]
    labels = LabelSpace.from_parents(names, [[i % 12 for i in range(80)]])
    with torch.device("meta"):
        model: Any = Hspnet().build(build_clip("clip:RN50-quickgelu", (224, 224)), labels)
    state = Hspnet().to_upstream(model.state_dict(), model)
    assert len(state) == 503
    assert sum(value.numel() for value in state.values() if value.is_floating_point()) == pytest.approx(
        95.4e6, rel=1e-3
    )
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert (
        shapes.items()
        >= {
            "logit_scale": (),
            "parent_prompt_learner.ctx": (4, 512),
            "parent_prompt_learner.token_prefix": (12, 1, 512),
            "parent_prompt_learner.token_suffix": (12, 72, 512),
            "parent_prompt_learner.token_middle": (12, 4, 512),
            "parent_prompt_learner.embedding": (12, 77, 512),
            "child_prompt_learner.token_prefix": (80, 1, 512),
            "child_prompt_learner.token_suffix": (80, 72, 512),
            "child_prompt_learner.meta_net.linear1.weight": (2048, 1024),
            "child_prompt_learner.meta_net.linear2.bias": (2048,),
            "image_encoder.conv1.weight": (32, 3, 3, 3),
            "image_encoder.bn1.num_batches_tracked": (),
            "image_encoder.layer4.2.conv3.weight": (2048, 512, 1, 1),
            "image_encoder.layer1.0.downsample.0.weight": (256, 64, 1, 1),
            "image_encoder.attnpool.positional_embedding": (50, 2048),
            "image_encoder.attnpool.q_proj.weight": (2048, 2048),
            "image_encoder.attnpool.c_proj.weight": (1024, 2048),
            "text_encoder.positional_embedding": (77, 512),
            "text_encoder.text_projection": (512, 1024),
            "text_encoder.transformer.resblocks.11.attn.in_proj_weight": (1536, 512),
            "text_encoder.transformer.resblocks.0.mlp.c_fc.weight": (2048, 512),
            "text_encoder.ln_final.weight": (512,),
            "gcn.gamma": (1,),
            "gcn.gc1.weight": (1024, 2048),
            "gcn.gc2.weight": (2048, 2048),
            "gcn.gc3.weight": (2048, 1024),
        }.items()
    )
    trained: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = name.split(".")[0]
        trained[part] = trained.get(part, 0) + parameter.numel() * parameter.requires_grad
    assert {part: count for part, count in trained.items() if count} == {
        "backbone": 38_316_896,
        "meta_net": 6_295_552,
        "gcn": 8_388_609,
    }
    assert sum(p.numel() for p in model.text_encoder.parameters()) == 38_393_344


def test_a_checkpoint_without_counters_is_complete() -> None:
    section, model, fresh = pair()
    state = {name: value for name, value in published(model, section).items() if not name.endswith("batches_tracked")}
    load_weights(fresh, section.from_upstream(state, fresh), "test")


def test_unknown_names_are_listed() -> None:
    section, model, fresh = pair()
    state = published(model, section) | {"gcn.gc4.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"1 name does not belong to a checkpoint of HSPNet: gcn\.gc4\.weight"):
        section.from_upstream(state, fresh)


def test_a_part_of_the_wrong_size_is_named_when_it_is_loaded() -> None:
    section, model, _ = pair()
    state = published(model, section)
    other = make(tree((0, 0, 1)))[1]
    with pytest.raises(CheckpointError, match=r"child_suffix \[6, 11, 8\] instead of \[3, 11, 8\]"):
        load_weights(other, section.from_upstream(state, other), "test")


def test_prompts_that_contradict_each_other_are_refused() -> None:
    section, model, fresh = pair()
    state = published(model, section)
    state["parent_prompt_learner.token_middle"] += 1
    with pytest.raises(CheckpointError, match=r"token_middle .* are not its parent_prompt_learner\.embedding"):
        section.from_upstream(state, fresh)


def test_labels_of_other_words_are_refused() -> None:
    """Nothing but the places of the ends shows it."""
    section, model, _ = pair()
    state = published(model, section)
    other = make(label_texts={"kind1_of_thing": "kind1"})[1]
    with pytest.raises(CheckpointError, match="1 of 9 texts end elsewhere") as caught:
        section.from_upstream(state, other)
    assert "label_texts" in str(caught.value.hint)


def test_a_published_checkpoint_needs_a_graph() -> None:
    section, model = make()
    with pytest.raises(CheckpointError, match=re.escape("model.graph=clip")):
        section.from_upstream(published(model, section), model)
