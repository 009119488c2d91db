"""Broken recipes by the thousand: the answer is a recipe, or an error that names file and place, and nothing else."""

from __future__ import annotations

import copy

from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_trees import FULL, SMALL, USER

from hlcli.errors import RecipeError
from hlcli.recipe import TAGS, Recipe

names = st.text(max_size=8) | st.sampled_from([*FULL, *TAGS.values(), "lr", "epochs", "image_size", "images", "frozen"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, -1, 10**400, "", "val", "shapes", "folder", "hleg", "sgd", "constant", "1e-4", "yes"])
    | st.floats()
    | st.text(max_size=10)
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


@st.composite
def damaged_recipes(draw) -> dict:
    """A valid recipe in which keys were deleted, renamed, given other values, or added."""
    tree = copy.deepcopy(draw(st.sampled_from([SMALL, USER, FULL])))
    for _ in range(draw(st.integers(1, 4))):
        places = [tree, *(section for section in tree.values() if isinstance(section, dict))]
        place = draw(st.sampled_from(places))
        if not place:
            continue
        key = draw(st.sampled_from(sorted(place, key=str)))
        match draw(st.sampled_from(["delete", "rename", "change", "change", "misspell", "add"])):
            case "delete":
                del place[key]
            case "rename":
                place[draw(names)] = place.pop(key)
            case "change":
                place[key] = draw(trees)
            case "misspell":
                place[f"{key}"[1:]] = place.pop(key)
            case "add":
                place[draw(names)] = draw(trees)
    return tree


def check(read, source: str) -> None:
    try:
        recipe = read()
    except RecipeError as error:
        for line in error.message.split("\n"):
            assert line.startswith((f"{source}: ", f"{source}, line ", "--set "))
            assert len(line) < 700
    else:
        assert Recipe.from_dict(recipe.to_dict()) == recipe


@settings(max_examples=effort(short=400, long=20_000), deadline=None)
@given(damaged_recipes())
def test_damaged_recipes_never_give_a_traceback(tree):
    check(lambda: Recipe.from_dict(tree, source="r.yaml"), "r.yaml")


@settings(max_examples=effort(short=200, long=20_000), deadline=None)
@given(trees | st.dictionaries(names, trees))
def test_random_trees_never_give_a_traceback(tree):
    check(lambda: Recipe.from_dict(tree, source="r.yaml"), "r.yaml")


PIECES = r"""data: model: optim: train: dataset: method: lr: epochs: shapes hleg folder adamw 1e-4 no true ~ .nan - [ ]
{ } , : ? | > & * &a *a ! !!int !!binary % %YAML --- ... # ' " "\U00ffffff" "\ud800" @ `"""
pieces = st.sampled_from([*PIECES.split(), "\t"])
shreds = st.lists(pieces | st.sampled_from([" ", "\n", "\n  ", "\n    "]) | st.text(max_size=3), max_size=40).map(
    "".join
)


@settings(max_examples=effort(short=200, long=20_000), deadline=None)
@given(st.binary(max_size=60) | shreds.map(lambda text: text.encode("utf-8")))
def test_random_files_never_give_a_traceback(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "random.yaml"
    file.write_bytes(content)
    check(lambda: Recipe.from_yaml(file), str(file))


@settings(max_examples=effort(short=200, long=20_000), deadline=None)
@given(st.lists(st.text(max_size=20) | st.builds("{}.{}={}".format, names, names, shreds | scalars), max_size=3))
def test_random_overrides_never_give_a_traceback(overrides):
    check(lambda: Recipe.from_dict(USER, overrides, source="r.yaml"), "r.yaml")
