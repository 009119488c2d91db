"""The gated graph network against its equations, node by node."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hlcli.layers.graph import GatedGraph


def make(num_steps: int, *, two_way: bool = False, dim: int = 5) -> GatedGraph:
    torch.manual_seed(0)
    return GatedGraph(dim, num_steps, two_way=two_way).double()


def inputs(dim: int = 5) -> tuple[Tensor, Tensor]:
    """Features of four labels in two images, and a graph that is not symmetric, with a label that hears nobody."""
    torch.manual_seed(1)
    features = torch.randn(2, 4, dim, dtype=torch.float64, requires_grad=True)
    adjacency = torch.rand(2, 4, 4, dtype=torch.float64)
    adjacency[0, 2] = 0
    return features, adjacency.requires_grad_()


def node_by_node(graph: GatedGraph, features: Tensor, adjacency: Tensor) -> Tensor:
    """The equations, for one label of one image at a time."""

    def affine(layer: nn.Linear, vector: Tensor) -> Tensor:
        return layer.weight @ vector + layer.bias

    images = []
    for states, edges in zip(features.unbind(), adjacency.unbind(), strict=True):
        for _ in range(graph.num_steps):
            new = []
            for node in range(len(states)):
                message = sum(edges[node, other] * states[other] for other in range(len(states)))
                if graph.two_way:
                    back = sum(edges[other, node] * states[other] for other in range(len(states)))
                    message = torch.cat((message, back))
                state = states[node]
                update = torch.sigmoid(affine(graph.update_message, message) + affine(graph.update_state, state))
                reset = torch.sigmoid(affine(graph.reset_message, message) + affine(graph.reset_state, state))
                told = affine(graph.candidate_message, message) + affine(graph.candidate_state, reset * state)
                new.append((1 - update) * state + update * torch.tanh(told))
            states = torch.stack(new)
        images.append(states)
    return torch.stack(images)


@pytest.mark.parametrize("two_way", [False, True])
@pytest.mark.parametrize("num_steps", [1, 3])
def test_results_and_gradients_follow_the_equations(num_steps: int, two_way: bool) -> None:
    graph = make(num_steps, two_way=two_way)
    everything = []
    for run in (graph, lambda *given: node_by_node(graph, *given)):
        features, adjacency = inputs()
        graph.zero_grad(set_to_none=True)
        told = run(features, adjacency)
        told.square().sum().backward()
        gradients = [parameter.grad for parameter in graph.parameters()]
        everything.append([told, features.grad, adjacency.grad, *gradients])
    for ours, expected in zip(*everything, strict=True):
        assert ours is not None
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("two_way", [False, True])
def test_no_steps_change_nothing_and_train_nothing(two_way: bool) -> None:
    graph = make(0, two_way=two_way)
    features, adjacency = inputs()
    assert graph(features, adjacency) is features
    assert len(list(graph.parameters())) == 12  # checkpoints have them all the same
    assert not any(parameter.requires_grad for parameter in graph.parameters())


def test_messages_travel_one_edge_a_step_from_the_column_to_the_row() -> None:
    chain = torch.zeros(1, 3, 3, dtype=torch.float64)
    chain[0, 0, 1] = chain[0, 1, 2] = 1  # 2 speaks to 1, 1 speaks to 0
    features = torch.randn(1, 3, 5, dtype=torch.float64)
    changed = features.clone()
    changed[0, 2] += 1
    for num_steps, hearers in ((1, [1, 2]), (2, [0, 1, 2])):
        graph = make(num_steps)
        difference = (graph(features, chain) - graph(changed, chain)).abs().amax(dim=-1)[0]
        assert difference.nonzero().flatten().tolist() == hearers


def test_two_way_messages_also_travel_back() -> None:
    edge = torch.zeros(1, 2, 2, dtype=torch.float64)
    edge[0, 0, 1] = 1
    features = torch.randn(1, 2, 5, dtype=torch.float64)
    changed = features.clone()
    changed[0, 0] += 1
    for two_way in (False, True):
        graph = make(1, two_way=two_way)
        difference = (graph(features, edge) - graph(changed, edge)).abs().amax(dim=-1)[0]
        assert (difference[1] > 0) == two_way
