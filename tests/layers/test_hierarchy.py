"""The label tree as matrices, against loops over arbitrary trees."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hlcli.data.labels import LabelSpace
from hlcli.layers.hierarchy import LabelHierarchy


@st.composite
def trees(draw: st.DrawFn) -> LabelSpace:
    """One to four levels, every parent with a child."""
    sizes = [draw(st.integers(1, 4))]
    parents = []
    for _ in range(draw(st.integers(0, 3))):
        extra = draw(st.lists(st.integers(0, sizes[-1] - 1), max_size=4))
        level = draw(st.permutations([*range(sizes[-1]), *extra]))
        parents.append(list(level))
        sizes.append(len(level))
    return LabelSpace.from_parents([[f"{i}" for i in range(size)] for size in sizes], parents)


@given(trees(), st.integers(0, 2**16))
def test_lift_turns_a_parent_on_when_any_child_is(labels: LabelSpace, seed: int) -> None:
    targets = (torch.rand(6, labels.num_labels, generator=torch.Generator().manual_seed(seed)) < 0.3).float()
    levels = LabelHierarchy(labels).lift(targets)
    assert [level.shape[1] for level in levels] == list(labels.level_sizes)
    assert levels[-1] is targets
    for image, row in enumerate(targets.bool().tolist()):
        on = [labels.ancestors(label) for label, is_on in enumerate(row) if is_on]
        for depth, level in enumerate(levels[:-1]):
            assert set(level[image].nonzero().flatten().tolist()) == {path[depth] for path in on}
            assert level.dtype == targets.dtype


@given(trees(), st.integers(0, 2**16))
def test_average_is_the_mean_over_children(labels: LabelSpace, seed: int) -> None:
    hierarchy = LabelHierarchy(labels)
    for step, (above, below) in enumerate(zip(labels.levels, labels.levels[1:], strict=False)):
        features = torch.randn(2, len(below), 3, generator=torch.Generator().manual_seed(seed))
        means = hierarchy.average(features, step)
        for parent in range(len(above)):
            children = [child for child, owner in enumerate(below.parent_index or ()) if owner == parent]
            torch.testing.assert_close(means[:, parent], features[:, children].mean(dim=1))


def test_double_precision_means_are_exact_to_double_precision() -> None:
    labels = LabelSpace.from_parents([["a"], ["x", "y", "z"]], [[0, 0, 0]])
    features = torch.randn(1, 3, 4, dtype=torch.float64)
    means = LabelHierarchy(labels).double().average(features, 0)
    torch.testing.assert_close(means[:, 0], features.mean(dim=1), rtol=1e-14, atol=1e-15)


def test_matrices_are_not_saved() -> None:
    labels = LabelSpace.from_parents([["a"], ["x", "y"]], [[0, 0]])
    assert LabelHierarchy(labels).state_dict() == {}


def test_parent_of_ignored_children_is_ignored_unless_another_child_is_on():
    hierarchy = LabelHierarchy(LabelSpace.from_tree({"a": ["p", "q"], "b": ["r", "s"]}))
    targets = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1]]).float()
    ignore = torch.tensor([[1, 0, 0, 0]] * 3).bool()
    coarse, fine = hierarchy.lift_ignored(targets, ignore)
    assert coarse.tolist() == [[True, False], [False, False], [True, False]]
    assert torch.equal(fine, ignore)
