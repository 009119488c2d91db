"""A recipe for others to read: places on this machine's disk are none of their business."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath
from typing import Any

from hlcli.hub.names import hub_name
from hlcli.recipe import Recipe

_PLACE = re.compile(r"(?P<kind>(?:cvt:|clip:)?)(?P<path>(?:[/~]|\.{1,2}[/\\]|[A-Za-z]:[/\\]).*)", re.DOTALL)
"""Text that says where something lies, behind the kind of a model perhaps."""


def without_places(recipe: Recipe) -> Recipe:
    """The recipe with names of files and folders where it has their paths, and without the data root."""
    sections = {
        section: {key: _public(value) for key, value in values.items()}
        for section, values in recipe.model_dump(mode="python").items()
    }
    sections["data"]["root"] = None
    if isinstance(recipe.data.store, str):  # an address: whose bucket it is, nobody needs to know
        sections["data"]["store"] = _name(recipe.data.store.rstrip("/"))
    start = recipe.train.init_weights
    if start is not None and hub_name(start) is None:
        sections["train"]["init_weights"] = _name(start)
    return Recipe.from_dict(sections)


def _public(value: Any) -> Any:
    if isinstance(value, Path):
        return Path(_name(str(value)))
    match = _PLACE.fullmatch(value) if isinstance(value, str) else None
    return value if match is None else match["kind"] + _name(match["path"])


def _name(path: str) -> str:
    """The last part of a path of any system."""
    return PureWindowsPath(path).name or "folder"
