"""JSON on stdout, for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer


def print_json(document: Any, *, indent: int | None = None) -> None:
    r"""One document, in plain characters; as `\u…` escapes where the stream cannot take them.

    Names of files that are not UTF-8 have such characters: `os.fsencode` makes the name of what is read back.
    """
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=indent)
    typer.echo(text)
