"""The label tree: every label once, children beside their parent, bars as long as the counts say."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlcli.data.labels import LabelSpace
from hlcli.errors import InputError
from hlcli.recipe import Recipe
from hlcli.visualization.branches import find_branches, keep_branches
from hlcli.visualization.labels import label_tree_figure, tree_rows

from .figure_text import assert_readable, texts

SMALL = LabelSpace.from_parents([["animal", "thing"], ["car", "cat", "bus", "dog"]], [[1, 0, 1, 0]])


@st.composite
def label_spaces(draw) -> LabelSpace:
    """Trees of one to four levels whose labels stand in any order."""
    sizes = sorted(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    parents = []
    for above, below in pairwise(sizes):
        free = draw(st.lists(st.integers(0, above - 1), min_size=below - above, max_size=below - above))
        parents.append(draw(st.permutations([*range(above), *free])))
    names = [[f"{depth}.{i}" for i in range(size)] for depth, size in enumerate(sizes)]
    return LabelSpace.from_parents(names, parents)


@given(label_spaces())
@settings(max_examples=100, deadline=None)
def test_rows_keep_families_together(labels: LabelSpace):
    rows = tree_rows(labels)
    assert sorted(rows[-1]) == list(range(labels.num_labels))
    for depth, parents in enumerate(labels.parents):
        assert len(set(rows[depth])) == len(rows[depth])
        for parent, row in enumerate(rows[depth]):
            family = [rows[depth + 1][child] for child, its_parent in enumerate(parents) if its_parent == parent]
            strangers = [rows[depth + 1][child] for child, its_parent in enumerate(parents) if its_parent != parent]
            assert min(family) <= row <= max(family)
            assert not [other for other in strangers if min(family) < other < max(family)]


@given(label_spaces(), st.data())
@settings(max_examples=100, deadline=None)
def test_branches_hold_parents_and_children_and_nothing_else(labels: LabelSpace, data):
    depth = data.draw(st.integers(0, len(labels.levels) - 1))
    name = data.draw(st.sampled_from(labels.levels[depth].label_names))
    index = labels.levels[depth].label_names.index(name)
    branches = find_branches(labels, [name])
    assert branches[depth] == (index,)
    paths = [(*labels.ancestors(label), label) for label in range(labels.num_labels)]
    mine = [path for path in paths if path[depth] == index]
    assert branches == tuple(tuple(sorted(set(level))) for level in zip(*mine, strict=True))
    kept = keep_branches(labels, branches)
    kept_paths = {
        tuple(level.label_names[i] for level, i in zip(kept.levels, (*kept.ancestors(label), label), strict=True))
        for label in range(kept.num_labels)
    }
    assert kept_paths == {
        tuple(level.label_names[i] for level, i in zip(labels.levels, path, strict=True)) for path in mine
    }


def test_unknown_label_gets_a_near_match():
    with pytest.raises(InputError, match="no label 'catt'") as caught:
        find_branches(SMALL, ["catt"])
    assert caught.value.hint == "Did you mean 'cat'?"


def test_every_label_has_name_count_and_a_bar_to_scale():
    counts = [[300, 1200], [1100, 200, 100, 150]]
    figure = label_tree_figure(SMALL, counts, title="cars and cats")
    shown = texts(figure)
    for word in ("animal", "thing", "car", "cat", "bus", "dog", "1,200", "150", "coarse (2)", "fine (4)"):
        assert shown.count(word) == 1
    lengths = [[bar.get_width() for bar in container] for container in figure.axes[0].containers]
    for level, level_counts in zip(lengths, counts, strict=True):
        assert level == pytest.approx([lengths[0][1] * count / 1200 for count in level_counts])


def test_counts_of_other_labels_are_refused():
    with pytest.raises(ValueError, match=r"counts of \(2, 4\) labels, but got \(1, 4\)"):
        label_tree_figure(SMALL, [[1], [1, 2, 3, 4]])


@pytest.mark.parametrize("recipe", ["quickstart", "hleg/intentonomy"])
def test_shipped_hierarchies_are_readable(recipe: str):
    labels = Recipe.from_yaml(recipe).data.label_space()
    counts = [[1234 * (i + 1) for i in range(size)] for size in labels.level_sizes]
    assert_readable(label_tree_figure(labels, counts, title="labels of 12,739 images (train)"))


def test_flat_lists_deep_trees_and_odd_names_are_readable():
    flat = LabelSpace.flat([f"word {i}" for i in range(374)])
    figure = label_tree_figure(flat, [list(range(374))])
    assert_readable(figure)
    assert figure.get_size_inches()[1] > 374 * 0.18
    deep = LabelSpace.from_tree({"a $x^ _": {"b": {"c": {"d": ["$1 \\frac", "long " * 40, "Ω"]}}}})
    figure = label_tree_figure(deep, [[0] * size for size in deep.level_sizes])
    assert_readable(figure)
    assert "a $x^ _" in texts(figure)
    assert [text for text in texts(figure) if text.startswith("long long") and text.endswith("…")]
