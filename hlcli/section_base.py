"""The base of every recipe section: unknown keys are refused, values never change. No torch here."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of all recipe sections: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans(cls, values: Any) -> Any:
        """True is not 1: pydantic would take it for a number."""
        if not isinstance(values, dict):
            return values
        takers = {name for name, field in cls.model_fields.items() if _takes_booleans(field.annotation)}
        return {key: value if key in takers else _hide_booleans(value) for key, value in values.items()}


class _MisplacedBoolean:
    """Stands for true or false where neither belongs; no field takes it."""


def _hide_booleans(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_hide_booleans(entry) for entry in value]
    return _MisplacedBoolean() if isinstance(value, bool) else value


def _takes_booleans(annotation: Any) -> bool:
    """Whether bool, or a literal true or false, is part of a type."""
    return annotation is bool or isinstance(annotation, bool) or any(map(_takes_booleans, get_args(annotation)))
