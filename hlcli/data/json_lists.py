"""Reading the large JSON files of data sets: lists of entries of which only some fields are needed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from hlcli.errors import DataError
from hlcli.json_text import parse_json, without_repetition

LARGEST_ID = 2**63 - 1
"""What arrays of the papers' programs can hold."""


def read_lists(
    path: Path, keys: Collection[str], *, kept: Collection[str], kind: str, hint: str | None, again: str | None
) -> dict[str, list[Any]]:
    """The lists of a JSON document; fields that are not wanted take no memory.

    Args:
        path: the file.
        keys: names of the lists that must be there.
        kept: names of the fields that entries keep, those of the lists among them.
        kind: what such a file is called, for messages.
        hint: how to get a missing file.
        again: how to mend a damaged one.

    Raises:
        DataError: when the file is missing, damaged or another one.
    """
    wanted = frozenset(kept) | frozenset(keys)

    def drop_the_rest(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in without_repetition(pairs).items() if key in wanted}

    try:
        document = parse_json(path.read_bytes(), drop_the_rest)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", hint) from error
    except json.JSONDecodeError as error:
        place = f"in line {error.lineno}, column {error.colno}"
        raise DataError(f"{path} is not JSON: {error.msg} {place}. It may be cut short.", again) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", again) from error
    for key in keys:
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise DataError(f"{path} has no list `{key}`; it is not {kind}.", again)
    return document


def field(entry: Any, key: str) -> Any:
    """A field of an entry; None where there is no such field, or the entry is not an object."""
    return entry.get(key) if isinstance(entry, Mapping) else None


def is_id(value: object) -> bool:
    """Whether a value is a whole number that can number images and captions."""
    return type(value) is int and 0 <= value <= LARGEST_ID
