"""All mistakes of a recipe at once, in words: `section.key: what (got …). Did you mean …?`"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hlcli.errors import named, nearest
from hlcli.recipe_reading.text import one_line
from hlcli.sections import Section

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_MOST_MISTAKES = 20

_WORDS = {
    "missing": "is required",
    "extra_forbidden": "unknown key",
    "invalid_key": "a key must be a name",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode text",
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be names with values",
    "model_type": "must be a section of keys with values",
    "model_attributes_type": "must be a section of keys with values",
    "union_tag_not_found": "must be a section of keys with values",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "value_error": "{error}",
}


class Variants(NamedTuple):
    """What a section can be: one class, or one class per value of its tag."""

    tag: str | None
    classes: Mapping[str, type[Section]]

    def class_of(self, value: object) -> type[Section] | None:
        """The class that a section's value asks for; None when its tag says nothing known."""
        if len(self.classes) == 1:
            return next(iter(self.classes.values()))
        name = value.get(self.tag) if isinstance(value, Mapping) else None
        return self.classes.get(name) if isinstance(name, str) else None


_Sections = Mapping[str, Variants]


_NO_SECTION = "unknown section"


class _Mistake(NamedTuple):
    place: str  # section.key, with [index] in lists
    what: str
    got: object
    hint: str = ""

    def line(self, source: str, overrides: Collection[str]) -> str:
        got = "" if self.got is _NOTHING else f" (got {_SHORT.repr(self.got)})"
        sections = {override.partition(".")[0] for override in overrides} if self.what == _NO_SECTION else ()
        origin = " (from --set)" if self.place in overrides or self.place in sections else ""
        place = f"{self.place}: " if self.place else ""
        return f"{source}: {place}{self.what}{got}{origin}." + (f" {self.hint}" if self.hint else "")


_NOTHING = object()


def describe_mistakes(
    error: ValidationError, sections: _Sections, tree: Mapping[str, Any], source: str, overrides: Collection[str] = ()
) -> str:
    """One line per mistake.

    Args:
        error: what pydantic found.
        sections: all sections of a recipe.
        tree: the recipe as it was read.
        source: the file's name, with which every line begins.
        overrides: places (`section.key`) that were set on the command line.
    """
    mistakes: dict[str, _Mistake] = {}
    for details in error.errors(include_url=False, include_context=True):
        for mistake in _read(details, sections, tree):
            key = mistake.place or mistake.what
            mistakes[key] = _join(mistakes[key], mistake) if key in mistakes else mistake
    lines = [mistake.line(source, overrides) for mistake in mistakes.values()]
    if len(lines) > _MOST_MISTAKES:
        lines[_MOST_MISTAKES:] = [f"{source}: … and {len(lines) - _MOST_MISTAKES} more mistakes."]
    return "\n".join(lines)


def _join(first: _Mistake, second: _Mistake) -> _Mistake:
    """Two complaints about one place, e.g. neither a number nor a list."""
    if second.what in first.what:
        return first
    return first._replace(what=f"{first.what}, or {second.what}", hint=first.hint or second.hint)


def _read(details: ErrorDetails, sections: _Sections, tree: Mapping[str, Any]) -> Iterable[_Mistake]:
    """The mistakes that one entry of pydantic's list stands for."""
    location, kind, context = list(details["loc"]), details["type"], details.get("ctx", {})
    if not location:  # a check across sections; it names its places itself
        error = context.get("error", details["msg"])
        return [_Mistake("", line, _NOTHING) for line in str(error).splitlines()]
    section = str(location.pop(0))
    variants = sections.get(section)
    if variants is None:
        return [_Mistake(one_line(section), _NO_SECTION, _NOTHING, _section_hint(section, sections))]
    if kind in ("union_tag_invalid", "union_tag_not_found") and isinstance(tree[section], Mapping):
        return [_tag_mistake(section, variants, tree[section])]
    if len(variants.classes) > 1 and location:
        location.pop(0)  # pydantic's name of the variant
    place, value = _find(section, location, tree.get(section))
    what = _words(details)
    if kind == "missing" and not location:
        return [_Mistake(place, f"{what}, beginning with `{variants.tag}: {'|'.join(variants.classes)}`", _NOTHING)]
    if kind == "missing" and isinstance(location[-1], int):
        return [_Mistake(place, f"must have at least {location[-1] + 1} entries", value)]
    if kind == "extra_forbidden":
        return [_Mistake(place, what, _NOTHING, _key_hint(section, str(location[-1]), sections, tree))]
    hint = ""
    if kind == "literal_error":
        hint = _near(value, re.findall(r"'([^']*)'", str(context.get("expected", ""))))
    if kind == "string_type" and isinstance(value, int | float):
        hint = "Put it in quotes."
    says_enough = kind in ("missing", "invalid_key") or (kind == "value_error" and not location)
    return [_Mistake(place, what, _NOTHING if says_enough else value, hint)]


def _find(section: str, location: list[Any], value: Any) -> tuple[str, Any]:
    """A mistake's place in words, and the value there.

    After the key, pydantic's location also names the form of value that it tried (`constrained-int`); such a name
    ends the way, so that the complaints of all forms meet in one place.
    """
    place = section
    for depth, step in enumerate(location):
        if depth == 0:
            place, value = f"{place}.{one_line(str(step))}", value.get(step) if isinstance(value, Mapping) else None
        elif isinstance(step, int) and isinstance(value, list | tuple) and step < len(value):
            place, value = f"{place}[{step}]", value[step]
        else:
            break
    return place, value


def _words(details: ErrorDetails) -> str:
    """What is wrong, as a phrase that follows the place."""
    if details["type"] == "literal_error":
        names = re.sub(r"'([^']*)'", r"\1", str(details["ctx"]["expected"]))
        names = names.replace("False", "false").replace("True", "true")
        return f"must be one of {names}" if ", " in names else f"must be {names}"
    words = _WORDS.get(details["type"])
    if words is None:
        return details["msg"][:1].lower() + details["msg"][1:].removesuffix(".")
    return words.format_map(details.get("ctx", {})).removesuffix(".")


def _tag_mistake(section: str, variants: Variants, value: Mapping[str, Any]) -> _Mistake:
    got = value.get(str(variants.tag), _NOTHING)
    what = f"{'is required: ' if got is _NOTHING else 'must be '}one of {', '.join(variants.classes)}"
    return _Mistake(f"{section}.{variants.tag}", what, got, _near(got, variants.classes))


def _section_hint(name: str, sections: _Sections) -> str:
    """Where an unknown section's name was meant to stand."""
    return _belongs(name, sections) or _near(name, sections)


def _key_hint(section: str, key: str, sections: _Sections, tree: Mapping[str, Any]) -> str:
    """Which key was meant, or where this one belongs."""
    variants = sections[section]
    fitting = [name for name, variant in variants.classes.items() if key in variant.model_fields]
    if fitting:
        return f"It exists with {variants.tag}: {'|'.join(fitting)}."
    own = variants.class_of(tree.get(section)) or next(iter(variants.classes.values()))
    known = f"Keys of {section}: {named(list(own.model_fields), 12)}."
    return _belongs(key, sections) or _near(key, own.model_fields) or known


def _belongs(key: str, sections: _Sections) -> str:
    """The sections that have this key."""
    homes = [
        name for name, variants in sections.items() if any(key in c.model_fields for c in variants.classes.values())
    ]
    return f"This key belongs to section {' or '.join(homes)}." if homes else ""


def _near(name: object, names: Iterable[str]) -> str:
    """`Did you mean …?`, when one of the names is close."""
    if not isinstance(name, str):
        return ""
    known = {known.lower(): known for known in names}
    near = nearest(name.lower().replace("-", "_"), known)
    return f"Did you mean {known[near[0]]}?" if near else ""


class _Short(reprlib.Repr):
    """Values as a recipe would write them, cut short."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 60
        self.maxlevel = 2

    def repr_bool(self, value: bool, level: int) -> str:
        return str(value).lower()

    def repr_NoneType(self, value: None, level: int) -> str:
        return "null"

    def repr_int(self, value: int, level: int) -> str:
        return repr(value) if value.bit_length() < 200 else f"a number of {value.bit_length()} bits"


_SHORT = _Short()
