"""Text from data sets, for a line of a terminal."""

from __future__ import annotations

import unicodedata

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Kinds of characters: control, parts of no character (names that are not UTF-8), ends of lines and paragraphs."""


def printable(text: str) -> str:
    r"""A text with control characters spelt out, as `\n` and `\x1b`."""
    return "".join(
        letter.encode("unicode_escape").decode("ascii") if unicodedata.category(letter) in _UNPRINTABLE else letter
        for letter in text
    )
