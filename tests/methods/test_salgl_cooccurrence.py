"""Counting of label pairs per scene, and the graphs that are read from the counts."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hlcli.methods.salgl.cooccurrence import Cooccurrence

from .salgl_parts import batch_of, make

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(0, 10_000))


def draw(images: int, scenes: int, labels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Probabilities [B, S] and targets [B, L], doubles."""
    generator = torch.Generator().manual_seed(seed)
    probs = torch.randn(images, scenes, generator=generator, dtype=torch.float64).softmax(dim=1)
    return probs, (torch.rand(images, labels, generator=generator) < 0.5).double()


@pytest.mark.parametrize("is_soft", [True, False])
@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_counts_are_symmetric_and_add_up_to_all_pairs(is_soft: bool, sizes: tuple[int, int, int, int]) -> None:
    probs, targets = draw(*sizes)
    graph = Cooccurrence(sizes[1], sizes[2], is_soft=is_soft).double()
    for _ in range(2):
        graph.update(probs, targets)
    torch.testing.assert_close(graph.counts, graph.counts.transpose(1, 2), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(graph.counts.sum(dim=0), 2 * targets.T @ targets, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_soft_counts_of_sure_images_are_hard_counts(sizes: tuple[int, int, int, int]) -> None:
    probs, targets = draw(*sizes)
    sure = torch.nn.functional.one_hot(probs.argmax(dim=1), sizes[1]).double()
    soft, hard = Cooccurrence(*sizes[1:3], is_soft=True).double(), Cooccurrence(*sizes[1:3]).double()
    soft.update(sure, targets)
    hard.update(probs, targets)
    torch.testing.assert_close(soft.counts, hard.counts, rtol=0, atol=0)
    torch.testing.assert_close(soft.adjacency(sure), hard.adjacency(probs), rtol=0, atol=1e-15)


@pytest.mark.parametrize("is_soft", [True, False])
def test_two_halves_of_a_batch_count_as_the_whole(is_soft: bool) -> None:
    probs, targets = draw(6, 3, 5, 0)
    whole, halves = (Cooccurrence(3, 5, is_soft=is_soft).double() for _ in range(2))
    whole.update(probs, targets)
    halves.update(probs[:2], targets[:2])
    halves.update(probs[2:], targets[2:])
    torch.testing.assert_close(halves.counts, whole.counts, rtol=1e-14, atol=1e-15)


def test_of_equal_scenes_the_first_gets_the_image() -> None:
    graph = Cooccurrence(3, 2)
    graph.update(torch.tensor([[0.2, 0.4, 0.4]]), torch.ones(1, 2))
    assert graph.counts.sum(dim=(1, 2)).tolist() == [0, 4, 0]


def test_rows_hold_the_probability_of_a_label_given_another() -> None:
    graph = Cooccurrence(1, 3)
    graph.update(torch.ones(4, 1), torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]]))
    expected = torch.tensor([[1.0, 0.5, 0], [1, 1, 0], [0, 0, 0]])
    torch.testing.assert_close(graph.probabilities()[0], expected)
    assert not graph.probabilities()[0, 2].any()  # a label never seen tells nothing


@pytest.mark.parametrize(("ignore_self", "normalize"), [(True, False), (False, True), (True, True)])
def test_variants_of_the_graph(ignore_self: bool, normalize: bool) -> None:
    graph = Cooccurrence(2, 5, is_soft=True, ignore_self=ignore_self, normalize=normalize)
    probs, targets = draw(20, 2, 5, 1)
    graph.update(probs.float(), targets.float())
    adjacency = graph.adjacency(probs.float())
    assert adjacency.diagonal(dim1=1, dim2=2).eq(0).all() == ignore_self
    if normalize:
        torch.testing.assert_close(adjacency.sum(dim=2), torch.ones(20, 5))


def test_decay_forgets_old_batches() -> None:
    graph = Cooccurrence(1, 2, decay=0.5)
    for targets in ([[1.0, 0]], [[0, 1.0]], [[0, 1.0]]):
        graph.update(torch.ones(1, 1), torch.tensor(targets))
    assert graph.counts[0].tolist() == [[0.25, 0], [0, 1.5]]


@pytest.mark.parametrize(("is_soft", "is_detached"), [(True, False), (True, True), (False, False), (False, True)])
def test_gradient_flows_through_attached_soft_counts_alone_and_leaves_no_history(
    is_soft: bool, is_detached: bool
) -> None:
    graph = Cooccurrence(3, 5, is_soft=is_soft, is_detached=is_detached).double()
    probs, targets = draw(6, 3, 5, 2)
    probs.requires_grad_()
    counts = graph.update(probs, targets)
    assert counts.requires_grad == (is_soft and not is_detached)
    assert not graph.counts.requires_grad
    copy.deepcopy(graph)  # what an average does


def test_hard_counts_stay_whole_numbers_for_long() -> None:
    graph = Cooccurrence(1, 1)
    graph.counts.fill_(2.0**24 - 4)
    graph.update(torch.ones(4, 1), torch.ones(4, 1))
    assert graph.counts.item() == 2**24


@pytest.mark.parametrize("soft", ["soft", "hard"])
def test_only_training_forwards_count(soft: str) -> None:
    section, model = make(scene_assignment=soft)
    batch = batch_of()
    model.eval()
    model(batch.images, batch.targets)
    model.train()
    model(batch.images)
    assert not section.cooccurrence(model).any()
    with torch.no_grad():
        model(batch.images, batch.targets)
    torch.testing.assert_close(section.cooccurrence(model).sum(dim=0), batch.targets.T @ batch.targets)


@pytest.mark.parametrize("before", [True, False])
def test_a_batch_reads_itself_only_where_it_is_counted_first(before: bool) -> None:
    _, model = make(count_before_reading=before)
    batch = batch_of()
    first = model(batch.images, batch.targets)
    assert bool(first.adjacency.any()) == before
    assert model.head.cooccurrence.counts.any()
    assert model(batch.images, batch.targets).adjacency.any()


def test_counts_are_found_in_a_wrapped_model() -> None:
    section, model = make()
    wrapper = torch.nn.Module()
    wrapper.module = model
    assert section.cooccurrence(wrapper) is model.head.cooccurrence.counts
    assert section.copied_by_average() == ()
    name = section.model_copy(update={"average_cooccurrence": False}).copied_by_average()[0]
    assert dict(model.named_buffers())[name] is model.head.cooccurrence.counts
