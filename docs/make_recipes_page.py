"""Writes docs/recipes.md from the recipe's schema: `python docs/make_recipes_page.py`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from hlcli.recipe import TAGS, Recipe
from hlcli.recipe_reading.text import write_yaml
from hlcli.sections import Section

PAGE = Path(__file__).with_name("recipes.md")

INTRODUCTION = """\
# Recipe keys

<!-- Made from the schema by docs/make_recipes_page.py: change descriptions in hlcli, not here. -->

A recipe is one YAML file with the sections below; `data` and `model` are required. The first key of some sections says
which variant they are. What a recipe leaves out has its default; unknown keys are refused. `--set section.key=value`
overrides a key, and `hlcli train --recipe FILE --dry-run` prints the whole recipe with all defaults.
"""

WORDS = {int: "whole number", float: "number", str: "text", Path: "path", NoneType: "`null`"}
SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(_section(name, field) for name, field in Recipe.model_fields.items())])


def variants(section: str) -> dict[str, type[Section]]:
    """The classes that a section can be, by the value of its tag; of a section without one, by nothing."""
    annotation, tag = Recipe.model_fields[section].annotation, TAGS.get(section)
    classes = get_args(annotation) or (annotation,)
    return {str(one.model_fields[tag].default) if tag else "": one for one in classes}


def _section(name: str, field: FieldInfo) -> str:
    """A section: what its variants share, then each variant."""
    tag, classes = TAGS.get(name), variants(name)
    if tag is None:
        (only,) = classes.values()
        return f"## {name}\n\n{inspect.getdoc(only)}\n\n{_table(_rows(only))}"
    default = "" if field.is_required() else f" Without it: `{getattr(field.default, tag)}`."
    parts = [f"## {name}\n\n`{tag}` is {_one_of([f'`{value}`' for value in classes])}.{default}\n"]
    shared = _rows(_common_base(list(classes.values())))
    if shared:
        parts.append(f"Keys of all of them:\n\n{_table(shared)}")
    for value, one in classes.items():
        own = [row for row in _rows(one, leave_out=tag) if row not in shared]
        parts.append(f"### {tag}: {value}\n\n{inspect.getdoc(one)}\n")
        parts.append(_table(own) if own else "No keys of its own.\n")
    return "\n".join(parts)


def _common_base(classes: Sequence[type[Section]]) -> type[Section]:
    """The class from which several are derived; `Section`, without a field, for one alone."""
    bases = [base for base in classes[0].__mro__ if all(issubclass(one, base) for one in classes)]
    return bases[0] if len(classes) > 1 else Section


def _rows(section: type[Section], leave_out: str | None = None) -> list[tuple[str, str, str, str]]:
    """Key, type, default and description of every field."""
    return [
        (f"`{key}`", _one_of(options(field.annotation, field.metadata)), _default(field), field.description or "")
        for key, field in section.model_fields.items()
        if key != leave_out
    ]


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = [("key", "type", "default", "what it is"), ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else _yaml(field.default)


def _yaml(value: Any) -> str:
    """A value as it stands in a recipe."""
    value = list(value) if isinstance(value, tuple) else value
    return f"`{write_yaml({'key': value}).removeprefix('key:').strip()}`"


def options(annotation: Any, bounds: Sequence[Any] = ()) -> list[str]:
    """What a value may be, in the words of a reader of recipes, e.g. `whole number ≥ 1` and `null`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return options(inner[0], [bound for extra in inner[1:] for bound in getattr(extra, "metadata", [extra])])
    if origin is Literal:
        return [_yaml(value) for value in inner]
    if origin in (Union, UnionType):
        return [option for part in inner for option in options(part, bounds)]
    if origin is tuple:
        entries = [_one_of(options(part)) for part in inner if part is not Ellipsis]
        return [f"list of {entries[0]}" if inner[-1] is Ellipsis else f"[{', '.join(entries)}]"]
    if origin is dict:
        return [f"mapping from {_one_of(options(inner[0]))} to {_one_of(options(inner[1]))}"]
    if annotation is bool:
        return [_yaml(True), _yaml(False)]
    limits = [f"{sign} {getattr(b, name)}" for b in bounds for name, sign in SIGNS.items() if hasattr(b, name)]
    return [f"{WORDS[annotation]} {', '.join(limits)}".strip() if annotation in (int, float) else WORDS[annotation]]


def _one_of(parts: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
