"""JSON read strictly: what two programs could understand in two ways is refused."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hlcli.plain_text import is_text

_DOUBTFUL = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_SHOWN = 40
"""Characters of a key, a number or a text that messages show."""

_Pairs = Callable[[list[tuple[str, Any]]], Any]
"""Makes an object of its keys and values."""


def read_json(path: Path) -> Any:
    """The JSON document of a file.

    Raises:
        OSError: when the file cannot be read.
        ValueError: as `parse_json`.
    """
    return parse_json(path.read_bytes())


def parse_json(content: bytes | str, pairs: _Pairs | None = None) -> Any:
    """The value of a JSON document.

    Args:
        content: the document, UTF-8, or UTF-16 or UTF-32 as programs on Windows write it.
        pairs: as `json_decoder` takes it.

    Raises:
        ValueError: in a short line, when it is no JSON, is nested too deeply, or has a key twice, a number that is
            none, not finite or too long, or text with NUL or half of a surrogate pair.
    """
    try:
        text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
        value = json_decoder(pairs).decode(text.removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8 text (byte 0x{error.object[error.start]:02x} at {error.start:,})") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _DOUBTFUL.search(text) is not None:
        _check_text(value)
    return value


def json_decoder(pairs: _Pairs | None = None) -> json.JSONDecoder:
    """A decoder that refuses keys that are there twice, and numbers that are none, not finite or too long.

    Args:
        pairs: makes other things of objects than mappings, and sees to keys itself.
    """
    return json.JSONDecoder(
        object_pairs_hook=pairs or without_repetition, parse_float=_finite, parse_int=_whole, parse_constant=_refuse
    )


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The mapping of keys and values.

    Raises:
        ValueError: when a key is there twice.
    """
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice[:_SHOWN]!r} is given twice in one object")
    return mapping


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"number {text[:_SHOWN]} is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > _SHOWN:
        raise ValueError(f"number {text[:_SHOWN]}… is too long")
    return int(text)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _check_text(value: Any) -> None:
    """Refuse text that no name of a file and no UTF-8 file can hold."""
    if isinstance(value, str):
        if not is_text(value):
            raise ValueError(f"text {value[:_SHOWN]!r} holds NUL or half of a surrogate pair")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_text(item)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)
