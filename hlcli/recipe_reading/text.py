"""YAML as recipes and hierarchy files use it: plain values, lists and named keys, read without YAML's traps.

`1e-4` is a number. `no`, `off`, `12:30` and `2020-02-22` are text; only `true` and `false` are booleans (YAML 1.2).
A repeated key is an error, not a silent choice. Tags, anchors and aliases are refused, so that no file can name
Python objects or grow while it is read.
"""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from hlcli.errors import RecipeError
from hlcli.plain_text import is_text

LARGEST_FILE = 256 * 1024
"""Bytes; a recipe has two thousand, a hierarchy file of ten thousand labels fits."""

_DEEPEST_NESTING = 32

_CORE = "tag:yaml.org,2002:"

# The core schema of YAML 1.2: tag, form, first characters.
_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without tags, anchors, aliases and the scalars of YAML 1.1."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (PyYAML's own)
    yaml_constructors: ClassVar[dict[str | None, Callable[..., Any]]] = {}
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Build one node of the tree, refusing what a recipe never needs."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _mistake("anchors (&name) and aliases (*name) are not supported", event.start_mark, quote=True)
        if getattr(event, "tag", None):
            raise _mistake("tags (!name) are not supported", event.start_mark, quote=True)
        if self.depth == _DEEPEST_NESTING:
            raise _mistake(f"nested deeper than {_DEEPEST_NESTING} levels", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _mistake(problem: str, mark: yaml.Mark, *, quote: bool = False) -> yaml.MarkedYAMLError:
    if quote:
        problem += "; put text that begins like this in quotes"
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        mark = key_node.start_mark
        key = loader.construct_object(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            text = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
            raise _mistake(f"a key must be a name (got {one_line(text)}); put it in quotes if it is one", mark)
        if key in lines:
            raise _mistake(
                f"key {one_line(key)} is given twice, in line {lines[key]} and in line {mark.line + 1}", mark
            )
        lines[key] = mark.line + 1
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


def _construct_list(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(child, deep=True) for child in node.value]


def _construct_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(node.value)
    if not is_text(text):
        raise _mistake("NUL or half of a surrogate pair is not text", node.start_mark)
    return text


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(node.value)
    if len(text) > 40:
        raise _mistake(f"the number {text[:10]}… is too long", node.start_mark)
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = str(node.value).lower()
    sign = -1.0 if text.startswith("-") else 1.0
    if text.endswith(".inf"):
        return sign * math.inf
    return math.nan if text.endswith(".nan") else float(text)


for _name, _form, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"{_CORE}{_name}", re.compile(f"^(?:{_form})$"), list(_first))
_CONSTRUCTORS: dict[str, Callable[[Any, Any], Any]] = {
    "map": _construct_mapping,
    "seq": _construct_list,
    "str": _construct_text,
    "int": _construct_int,
    "float": _construct_float,
    "bool": lambda loader, node: node.value.lower() == "true",
    "null": lambda loader, node: None,
}
for _name, _constructor in _CONSTRUCTORS.items():
    _Loader.add_constructor(f"{_CORE}{_name}", _constructor)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        RecipeError: when the file is missing, too large, not UTF-8 or not the YAML described above.
    """
    if not os.path.isfile(path):
        raise RecipeError(f"{path} is {'not a file' if os.path.exists(path) else 'missing'}.")
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes, source: str) -> dict[str, Any]:
    """The mapping that a YAML text holds.

    Args:
        content: the text, UTF-8.
        source: what messages call it, usually the file's path.

    Raises:
        RecipeError: when the text is too large, not UTF-8, or not the YAML described above.
    """
    if len(content) > LARGEST_FILE:
        raise RecipeError(f"{source} is larger than {LARGEST_FILE // 1024} KiB.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{source}, line {line}: not UTF-8 text (byte 0x{content[error.start]:02x}).") from error
    tree = _parse(text, source)
    if tree is None:
        raise RecipeError(f"{source}, line 1: the file is empty.")
    if not isinstance(tree, dict):
        raise RecipeError(f"{source}, line 1: names with values were expected, got {type_name(tree)}.")
    return tree


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of a recipe's tree with `section.key=value` overrides put in; later ones win.

    Values are read like YAML values; whether section and key exist is for the schema to say.

    Raises:
        RecipeError: for an override without a section, key or value, or with a value that is not YAML.
    """
    tree = copy.deepcopy(tree)
    for override in overrides:
        option = f"--set {one_line(override)}"
        path, equals, text = override.partition("=")
        names = [name.strip() for name in path.split(".")]
        if not equals or len(names) != 2 or not all(names):
            raise RecipeError(f"{option}: expected section.key=value, e.g. `--set optim.lr=1e-3`.")
        value = _parse(text, option)
        if value is None and text.strip().lower() not in ("null", "~"):
            raise RecipeError(f"{option}: the value is empty; write null where nothing is meant.")
        if isinstance(value, dict):
            raise RecipeError(f"{option}: a value or a list was expected; put text with a colon in quotes.")
        section = tree.get(names[0])
        if section is None:
            section = tree[names[0]] = {}
        if not isinstance(section, dict):
            raise RecipeError(f"{option}: {one_line(names[0])} is {type_name(section)}, not a section.")
        section[names[1]] = value
    return tree


def one_line(text: str) -> str:
    """A text as messages show it: short, and on one line."""
    text = text if len(text) <= 80 else f"{text[:80]}…"
    return text if text.isprintable() and text else repr(text)


def type_name(value: object) -> str:
    """What a value is called in messages."""
    names = {dict: "a section", list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


_YAML_HINTS = {
    r"'\t'": "Indent with spaces, not with tabs.",
    "<block": "Indent this line as far as the other keys of its section; every key ends in a colon and a space.",
    "mapping values": "Is a colon in a text here? Put the text in quotes. Or is this line indented too far?",
    "could not find expected ':'": "Write `key: value`, with a colon and a space.",
}
"""What to do about a problem of the YAML reader, by a part of its words."""


def _parse(text: str, source: str) -> Any:
    """One YAML document.

    Raises:
        RecipeError: with source and line.
    """
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = error.problem or "not YAML"
        if problem.startswith("but ") and error.context:
            problem = f"{error.context}, {problem}"
        hint = next((told for sign, told in _YAML_HINTS.items() if sign in problem), None)
        raise RecipeError(f"{source}{line}: {problem}.", hint) from error
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise RecipeError(f"{source}, line {number}: character #x{error.character:02x} is not allowed.") from error
    except (ValueError, RecursionError) as error:  # escapes beyond Unicode, brackets without end
        raise RecipeError(f"{source}, line {loader.line + 1}: not YAML ({error}).") from error


class _Dumper(yaml.SafeDumper):
    """Sections as blocks, lists in brackets; quotes whatever any YAML reader could take for a number or boolean."""

    yaml_implicit_resolvers = copy.deepcopy(yaml.SafeDumper.yaml_implicit_resolvers)

    def ignore_aliases(self, data: Hashable) -> bool:
        """Never write anchors."""
        return True


for _name, _form, _first in _SCALARS:
    _Dumper.add_implicit_resolver(f"{_CORE}{_name}", re.compile(f"^(?:{_form})$"), list(_first))
_Dumper.add_representer(dict, lambda dumper, value: dumper.represent_mapping(f"{_CORE}map", value.items(), False))
_Dumper.add_representer(list, lambda dumper, value: dumper.represent_sequence(f"{_CORE}seq", value, True))
_Dumper.add_representer(
    str, lambda dumper, value: dumper.represent_scalar(f"{_CORE}str", value, None if value.isprintable() else '"')
)


def write_yaml(tree: dict[str, Any]) -> str:
    """A tree as text that `parse_yaml` reads back unchanged; keys keep their order."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)
