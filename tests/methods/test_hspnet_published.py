"""HSPNet's constants, first weights and prompts are those that were published."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hlcli.clip import ClipTowers, build_clip
from hlcli.data.labels import LabelSpace
from hlcli.methods.hspnet.config import Hspnet
from hlcli.methods.hspnet.model import GraphConvolution, MetaNet
from hlcli.methods.hspnet.relation import label_adjacency
from hlcli.recipe import Recipe, read_section

from .hspnet_parts import make, make_clip


def test_defaults_are_the_published_numbers() -> None:
    expected: dict[str, Any] = {
        "n_ctx": 4, "gcn_hidden": None, "gamma": 0.9, "reweight_p": 0.2, "keep_share": 0.75, "logit_factor": 10.0,
        "gcn_lr_factor": 5.0, "meta_lr_factor": 1.0, "batch_norm_eval_epochs": 1, "reduction": "sum",
        "graph": "prepared", "label_texts": {},
    }  # fmt: skip
    section, model = Hspnet(), make(gcn_hidden=None)[1]
    assert section.model_dump(exclude={"method"}) == expected
    assert GraphConvolution(3, 4).gamma.item() == model.gcn.gamma.item() == pytest.approx(0.9)
    assert (model.n_ctx, model.logit_factor) == (4, 10)
    relation = torch.rand(8, 8)
    assert torch.equal(label_adjacency(relation), label_adjacency(relation, reweight_p=0.2, keep_share=0.75))


def test_hidden_widths_are_twice_the_common_space_and_all_context_words() -> None:
    model = make(towers=make_clip(embed_dim=12, text_width=8), gcn_hidden=None)[1]
    assert [tuple(weight.shape) for weight in model.gcn.weights] == [(12, 24), (24, 24), (24, 12)]
    assert tuple(model.meta_net.hidden.weight.shape) == (4 * 8, 12)
    assert tuple(model.meta_net.output.weight.shape) == (4 * 8, 4 * 8)


def test_first_weights_are_uniform_within_the_published_bounds() -> None:
    """Of the graph convolution: one over the root of the outputs; of the meta net: of the inputs."""
    torch.manual_seed(0)
    graph, net = GraphConvolution(64, 400), MetaNet(64, 400)
    bounds = [(weight, weight.shape[1] ** -0.5) for weight in graph.weights]
    for layer in (net.hidden, net.output):
        bounds += [(parameter, layer.in_features**-0.5) for parameter in layer.parameters()]
    for weight, bound in bounds:
        assert 0.95 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)  # of a uniform distribution


def test_negative_numbers_leak_a_fifth_through_both_hidden_layers() -> None:
    graph, one = GraphConvolution(1, 1, gamma=1.0).requires_grad_(False), torch.ones(1, 1)
    for weight, value in zip(graph.weights, (-1.0, 1.0, 1.0), strict=True):
        weight.fill_(value)
    torch.testing.assert_close(graph(one, one), -0.2 * 0.2 * one)
    torch.testing.assert_close(graph(-one, one), one)


@pytest.fixture(scope="module")
def towers() -> ClipTowers:
    """The published CLIP model, without weights."""
    with torch.device("meta"):
        return build_clip("clip:RN50-quickgelu", (224, 224))


def test_prompts_are_tokenised_as_published(towers: ClipTowers, monkeypatch: pytest.MonkeyPatch) -> None:
    read, rows = towers._tokenizer, []

    def listen(texts: list[str]) -> Tensor:
        rows.extend(read(texts).tolist())
        return read(texts)

    monkeypatch.setattr(towers, "_tokenizer", listen)
    Hspnet().build(towers, LabelSpace.from_parents([["person"], ["person", "very_large size"]], [[0, 0]]))
    size = towers.tokenize(["very large size"])[0, 1:4].tolist()
    texts = [
        [49406, 320, 1125, 539, 320, 2533, 269, 49407],  # a photo of a person.
        [49406, 343, 343, 343, 343, 2533, 269, 49407],  # X X X X person.
        [49406, 343, 343, 343, 343, *size, 269, 49407],
    ]
    assert [row[: row.index(49407) + 1] for row in rows[:3]] == texts


# data set: the longest prompts of children and of parents, in tokens with start and end, and the sum over the children
LENGTHS = {"coco": (10, 8, 657), "voc2012": (10, 8, 166), "nuswide": (9, 8, 649), "cub": (16, 9, 2997)}


@pytest.mark.parametrize("name", LENGTHS)
def test_prompts_are_as_long_as_published(name: str, towers: ClipTowers) -> None:
    labels = read_section("data", {"dataset": name, "hierarchy": True}).label_space()
    section: Any = Recipe.from_yaml(f"hspnet/{name}").model
    model = section.build(towers, labels)
    children, parents = (ends + 1 for ends in (model.child_ends, model.parent_ends))
    assert (children.max(), parents.max(), children.sum()) == LENGTHS[name]
    assert parents.min() == 8
    assert (model.child_length, model.parent_length) == LENGTHS[name][:2]
