"""Hook of MkDocs: tables and lists may follow a line of text, as on code hosts.

Python-Markdown, which builds the site, wants a blank line before them; without one their marks stand in running text.
"""

from __future__ import annotations

import re
from typing import Any

_FENCE = re.compile(r"\s*(```+|~~~+)")
_TABLE = re.compile(r"\|")
_ITEM = re.compile(r"(?:[-*+]|\d+\.)\s")
_INSIDE_LIST = re.compile(r"\s+\S")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Separate the blocks of a page."""
    return separated(markdown)


def separated(markdown: str) -> str:
    """The same text, with a blank line before each table and each list; fenced code stays as it is."""
    lines: list[str] = []
    fence = before = ""
    for line in markdown.split("\n"):
        starts = not fence and before.strip() and any(_starts(kind, before, line) for kind in (_TABLE, _ITEM))
        lines += ["", line] if starts else [line]
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and line.strip() == mark[1]:
            fence = ""
        before = line
    return "\n".join(lines)


def _starts(kind: re.Pattern[str], before: str, line: str) -> bool:
    """Whether a block of a kind begins with a line; what is indented before a list item belongs to the item above."""
    return bool(kind.match(line)) and not kind.match(before) and not (kind is _ITEM and _INSIDE_LIST.match(before))
