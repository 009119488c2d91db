"""The label space: one order of labels, whatever the tree."""

from __future__ import annotations

import itertools
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlcli.data.labels import LabelSpace, Level, level_titles
from hlcli.errors import DataError

TREE = {"living": {"animals": ["dog", "cat"], "plants": ["tree"]}, "things": {"tools": ["saw", "axe"]}}


def test_tree_of_three_levels_is_read_depth_first():
    space = LabelSpace.from_tree(TREE)
    assert [level.name for level in space.levels] == ["coarse", "middle", "fine"]
    assert space.level_sizes == (2, 3, 5)
    assert space.label_names == ("dog", "cat", "tree", "saw", "axe")
    assert space.parents == ((0, 0, 1), (0, 0, 1, 2, 2))
    assert space.ancestors(2) == (0, 1)
    assert space.ancestors(4) == (1, 2)
    assert space.num_labels == 5


def test_one_level_has_no_parents():
    space = LabelSpace.from_tree(["b", "a"])
    assert space == LabelSpace.flat(["b", "a"])
    assert space.parents == ()
    assert space.ancestors(1) == ()
    assert space.label_names == ("b", "a")


@pytest.mark.parametrize(
    ("depth", "names"),
    [
        (1, ("fine",)),
        (2, ("coarse", "fine")),
        (3, ("coarse", "middle", "fine")),
        (5, ("level1", "level2", "level3", "level4", "fine")),
    ],
)
def test_levels_have_names_for_every_depth(depth: int, names: tuple[str, ...]):
    tree: object = ["x"]
    for number in range(depth - 1):
        tree = {f"group {number}": tree}
    space = LabelSpace.from_tree(tree)
    assert tuple(level.name for level in space.levels) == names == level_titles(depth)
    assert space.ancestors(0) == (0,) * (depth - 1)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": ["x"], "b": {"c": ["y"]}}, "has no label below it"),
        ({"b": {"c": ["y"]}, "a": ["x"]}, "deeper in one branch than at 'x'"),
        ({"a": ["x"], "b": []}, r"ends in \[\]"),
        ({"a": ["x"], "b": None}, "ends in None"),
        ({"a": "xyz"}, "ends in 'xyz'"),
        ({}, "ends in {}"),
        (None, "ends in None"),
        ({"a": [["x"]]}, r"has \['x'\] where a label name"),
        ({"a": ["x", 7]}, "has 7 where a label name"),
        ({"a": [True]}, "has True where a label name"),
        ({"a": ["x", "x"]}, "'x' is listed more than once"),
        ({"a": ["x"], "b": ["x"]}, "Level fine: label 'x' is listed more than once"),
        ({"a": {"c": ["x"]}, "b": {"c": ["y"]}}, "Level middle: label 'c'"),
    ],
)
def test_what_is_not_a_tree_of_equal_depth_is_refused(tree: object, message: str):
    with pytest.raises(DataError, match=message):
        LabelSpace.from_tree(tree)


def test_the_same_name_may_stand_on_two_levels():
    space = LabelSpace.from_tree({"cat": ["cat"], "dog": ["dog"]})
    assert space.label_names == space.levels[0].label_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "parents", "message"),
    [
        ([["a"], ["x", "y"]], [[0]], "2 labels but 1 parents"),
        ([["a"], ["x"]], [[1]], "parent 1 is not on level coarse"),
        ([["a"], ["x"]], [[-1]], "parent -1"),
        ([["a"], ["x"]], [], "need 1 lists of parents, got 0"),
        ([["a", "b"], ["x"]], [[0]], "'b' has no label below it"),
        ([[]], [], "at least one label"),
        ([], [], "need|at least one label"),
    ],
)
def test_wrong_parents_are_refused(names, parents, message):
    with pytest.raises(DataError, match=message):
        LabelSpace.from_parents(names, parents)


def test_levels_below_the_top_need_parents():
    with pytest.raises(DataError, match="needs parents"):
        LabelSpace((Level("coarse", ("a",)), Level("fine", ("x",))))
    with pytest.raises(DataError, match="needs parents"):
        LabelSpace((Level("fine", ("x",), (0,)),))


def test_subsets_name_known_labels_only():
    space = LabelSpace.from_parents([["a", "b"]], [], {"easy": [1]})
    assert space.subsets == {"easy": (1,)}
    with pytest.raises(DataError, match=r"Subset 'hard' names a label outside 0\.\.1"):
        LabelSpace.from_parents([["a", "b"]], [], {"hard": [2]})


@st.composite
def spaces(draw: st.DrawFn) -> LabelSpace:
    sizes = sorted(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    text = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5)
    names = [draw(st.lists(text, min_size=size, max_size=size, unique=True)) for size in sizes]
    parents = [
        [*range(above), *(draw(st.integers(0, above - 1)) for _ in range(size - above))]
        for above, size in itertools.pairwise(sizes)
    ]
    members = st.lists(st.integers(0, sizes[-1] - 1), max_size=3)
    return LabelSpace.from_parents(names, parents, draw(st.dictionaries(text, members, max_size=2)))


@given(spaces())
def test_json_keeps_everything(space: LabelSpace):
    assert LabelSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
    for label in range(space.num_labels):
        path = (*space.ancestors(label), label)
        assert all(row[child] == above for row, above, child in zip(space.parents, path, path[1:], strict=False))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"levels": 3},
        {"levels": [{"name": "fine"}]},
        {"levels": [{"name": "fine", "label_names": None, "parent_index": None}]},
        {"levels": [{"name": "fine", "label_names": ["a"], "parent_index": "x"}]},
        {"levels": [{"name": "fine", "label_names": ["a"], "parent_index": None}], "subsets": []},
        {"levels": []},
        [],
    ],
)
def test_damaged_json_is_our_error(value):
    with pytest.raises(DataError):
        LabelSpace.from_json(value)


def test_ten_thousand_labels_are_checked_at_once():
    names = [f"label {number}" for number in range(10_000)]
    assert LabelSpace.flat(names).num_labels == 10_000


def test_a_set_of_captions_has_no_labels():
    space = LabelSpace.empty()
    assert not space.has_labels
    assert (space.num_labels, space.label_names, space.level_sizes, space.parents) == (0, (), (), ())
    assert space == LabelSpace.empty() == LabelSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert pickle.loads(pickle.dumps(space)) == space
    assert LabelSpace.flat(["a"]).has_labels
    with pytest.raises(DataError, match="There are no labels in flickr8k"):
        space.require_labels("flickr8k")


def test_no_other_way_leads_to_an_empty_space():
    with pytest.raises(DataError, match="at least one label"):
        LabelSpace(())
    with pytest.raises(DataError, match="at least one label"):
        LabelSpace.flat([])
