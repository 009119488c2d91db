"""Extension of griffe, which reads the package for mkdocstrings: named tuples and typed dicts have signatures too."""

from __future__ import annotations

from typing import Any

from griffe import Attribute, Class, Extension, Function, Parameter, ParameterKind, Parameters


class FieldSignatures(Extension):
    """Gives these classes the `__init__` that Python makes of their fields; of dataclasses griffe knows it."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Called for every class when all its members are known."""
        if not {"NamedTuple", "TypedDict"} & {str(base).rpartition(".")[2] for base in cls.bases}:
            return
        fields = [member for member in cls.members.values() if isinstance(member, Attribute) and member.annotation]
        made = [
            Parameter(one.name, annotation=one.annotation, kind=ParameterKind.positional_or_keyword, default=one.value)
            for one in fields
        ]
        cls.set_member("__init__", Function("__init__", parameters=Parameters(Parameter("self"), *made)))
