"""Write docs/api.txt, all public names with their signatures: `python docs/make_api_list.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hlcli

PAGE = Path(__file__).with_name("api.txt")

_HEAD = """All public names of hlcli with their signatures; made by `python docs/make_api_list.py`.
Of settings only the names: their keys are in recipes.md.

"""


def page() -> str:
    """The content of api.txt."""
    return _HEAD + "".join(f"{line}\n" for name in hlcli._HOMES for line in _lines(name, getattr(hlcli, name)))


def _lines(name: str, thing: Any) -> Iterator[str]:
    if inspect.isfunction(thing):
        yield f"{name}{_signature(thing)}"
    elif not inspect.isclass(thing):
        yield f"type {name}"
    elif issubclass(thing, Exception):
        yield f"class {name}({thing.__bases__[0].__name__})"
    elif issubclass(thing, dict):
        options = (f"{key}: {written.__forward_arg__}" for key, written in thing.__annotations__.items())
        yield f"class {name}: {', '.join(options)}"
    elif issubclass(thing, hlcli.Section) and thing is not hlcli.Recipe:
        yield f"class {name}"
    else:
        yield f"class {name}" if thing is hlcli.Recipe else f"class {name}{_signature(thing).removesuffix(' -> None')}"
        yield from _methods(thing)


def _methods(owner: type) -> Iterator[str]:
    """The public methods and properties that a class itself defines."""
    for name, member in vars(owner).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            returned = inspect.signature(member.fget).return_annotation  # type: ignore[arg-type]
            yield f"    {name}: {returned}"
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            yield f"    {name}{_signature(getattr(owner, name))}"


def _signature(thing: Callable[..., Any]) -> str:
    """Types without quotes, which only say that they were read late."""
    plain = re.sub(r"ForwardRef\('([^()]*)'\)", r"\1", str(inspect.signature(thing)))
    return re.sub(r"(?<=: |> )(['\"])(.*?)\1(?=,| =|\)|$)", r"\2", plain)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
