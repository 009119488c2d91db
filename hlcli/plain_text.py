"""Text of others: how it is shown, and whether it can be kept; numbers with the words for what they count."""

from __future__ import annotations

import re
import unicodedata

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Kinds of characters: control, parts of no character (names that are not UTF-8), ends of lines and paragraphs."""

_TURNING = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
"""They turn the direction of writing, so that a line reads otherwise than it is."""


_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def is_text(text: str) -> bool:
    """Whether names of files and UTF-8 files can hold it: it has no NUL and no half of a surrogate pair."""
    return _NO_TEXT.search(text) is None


def printable(text: str, *, lines: bool = False) -> str:
    r"""A text with control characters spelt out, as `\n` and `\x1b`.

    Args:
        text: a name, or a message with names in it.
        lines: leave ends of lines as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if (unicodedata.category(letter) in _UNPRINTABLE or letter in _TURNING) and not (lines and letter == "\n")
        else letter
        for letter in text
    )


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with the word for what it counts, and what else depends on it.

    Examples:
        >>> counted(1, "image"), counted(1204, "image"), counted(2, "image is", "images are")
        ('1 image', '1,204 images', '2 images are')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
