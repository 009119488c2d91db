from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlcli.errors import RecipeError
from hlcli.recipe_reading.text import LARGEST_FILE, apply_overrides, parse_yaml, read_yaml, write_yaml


def read(text: str) -> dict:
    return parse_yaml(text.encode(), "r.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E4", 1e4),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("010", 10),
        ("0x1f", 31),
        ("+7", 7),
        (".inf", math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("2020-02-22", "2020-02-22"),
        ("1_000", "1_000"),
        ("<<", "<<"),
        ("'1e-4'", "1e-4"),
        ("[1, no, 1e-1]", [1, "no", 0.1]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    read_value = read(f"key: {text}")["key"]
    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "key a is given twice, in line 1 and in line 3"),
        ("s:\n  a: 1\n  a: 2", 3, "in line 2 and in line 3"),
        ("a: &x 1", 1, "anchors"),
        ("a: 1\nb: *x", 2, "aliases"),
        ("a: !!python/object/apply:os.system [ls]", 1, "tags"),
        ("a: !!set {b, c}", 1, "tags"),
        ("a:\n\tb: 1", 2, "Indent with spaces"),
        ("a: [1,\nb", 2, "expected"),
        ("a: b: c", 1, "mapping values are not allowed"),
        ("1: 2", 1, "a key must be a name (got 1)"),
        ("true: 2", 1, "a key must be a name (got true)"),
        ("[a]: 2", 1, "a key must be a name"),
        ("- 1", 1, "names with values were expected, got a list"),
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("a: 1\n---\nb: 2", 2, "single document"),
        ("a: 1\nb: \x07", 2, "#x07"),
        ('a: 1\nb: "\\U00ffffff"', 2, "not YAML"),
        ('a: "\\ud800"', 1, "surrogate"),
        ("a: " + "[" * 500, 1, "nested deeper"),
        ("a: " + "9" * 5000, 1, "too long"),
    ],
)
def test_what_cannot_be_read_is_named_with_file_and_line(text, line, words):
    with pytest.raises(RecipeError) as caught:
        read(text)
    assert str(caught.value).startswith(f"r.yaml, line {line}: ")
    assert words in str(caught.value)


def test_bytes_that_are_not_utf_8_are_named_with_their_line():
    with pytest.raises(RecipeError, match=r"r\.yaml, line 2: not UTF-8 text \(byte 0xff\)"):
        parse_yaml(b"a: 1\nb: \xff\n", "r.yaml")


def test_a_byte_order_mark_is_ignored():
    assert parse_yaml("a: ä".encode("utf-8-sig"), "r.yaml") == {"a": "ä"}


def test_files_that_are_missing_folders_or_huge_are_refused(tmp_path: Path):
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"a: 1\n" * (LARGEST_FILE // 5 + 1))
    for path, words in ((tmp_path / "none.yaml", "missing"), (tmp_path, "not a file"), (huge, "larger than 256 KiB")):
        with pytest.raises(RecipeError, match=words) as caught:
            read_yaml(path)
        assert str(path) in str(caught.value)


def test_overrides_replace_and_add_values_and_leave_the_original_alone():
    tree = {"optim": {"lr": 1.0, "eps": 1.0}, "train": None}
    changed = apply_overrides(tree, ["optim.lr=1e-3", "train.trackers=[a, b]", "data.root=null", "optim.lr = 2e-3"])
    assert changed == {
        "optim": {"lr": 2e-3, "eps": 1.0},
        "train": {"trackers": ["a", "b"]},
        "data": {"root": None},
    }
    assert tree == {"optim": {"lr": 1.0, "eps": 1.0}, "train": None}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.lr", "expected section.key=value"),
        ("lr=1", "expected section.key=value"),
        ("a.b.c=1", "expected section.key=value"),
        (".lr=1", "expected section.key=value"),
        ("", "expected section.key=value"),
        ("optim.lr=", "the value is empty"),
        ("optim.lr=#3", "the value is empty"),
        ("optim.lr={a: 1}", "a value or a list"),
        ("optim.lr=a: 1", "a value or a list"),
        ("optim.lr=[1", "line 1"),
        ("optim.lr=*x", "quotes"),
        ("model.lr=1", "model is a list, not a section"),
    ],
)
def test_malformed_overrides_are_named(override, words):
    with pytest.raises(RecipeError) as caught:
        apply_overrides({"model": [1]}, [override])
    assert str(caught.value).startswith(f"--set {override}")
    assert words in str(caught.value)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    ["1e-4", "no", "null", "0x1", "1:2", "- a", "#", "a: b", " x ", "", "é\n"]
)
scalars = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | texts


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(texts, st.dictionaries(texts, scalars | st.lists(scalars, max_size=4), max_size=5), min_size=1))
def test_whatever_is_written_is_read_back_unchanged(tree):
    assert read(write_yaml(tree)) == tree
