"""The outline of a text: the same length, every rare character replaced by one that stands for its kind.

The kinds are listed in `ptb_patterns`.
"""

from __future__ import annotations

import re
import unicodedata

# Outside Unicode's letters, but parts of words to the tokenizer: accents and vowel signs.
_MARK_POINTS = (
    "2c2-2c5 2d2-2df 2e5-2eb 2ed 2ef-36f 375 378-379 384-385 3f6 483-487 55a-55f 591-5bd 5bf 5c1-5c2 "
    "5c4-5c5 5c7 615-61a 64b-65e 670 6d6-6e4 6e7-6ed 6fd-6fe 70f 711 730-74c 7a6-7b0 7eb-7f3 900-903 "
    "93c 93e-94e 951-955 962-963 981-983 9bc 9be-9c4 9c7-9c8 9cb-9cd 9d7 9e2-9e3 a01-a03 a3c a3e-a4f "
    "a81-a83 abc abe-acf b82 bbe-bc2 bc6-bc8 bca-bcd c01-c03 c3e-c56 d3e-d44 d46-d48 e31 e34-e3a e47-e4e "
    "eb1 eb4-ebc ec8-ecd"
)
_SYMBOL_POINTS = (
    "80 a1-a9 ab-b4 b6-b9 bb-bf d7 f7 37e 387 589 5be 5c0 5c3 5c6 5f3-5f4 600-603 "
    "606-60c 614 61b 61e-61f 66a 66d 6d4 700-70d 7f6-7f8 964-965 e3f e4f 1fbd "
    "2013-2023 2030-203b 203e-2042 207c-207e 208c-208e 20a0 20a4 20ac 2100-2101 2103-2106 2108-2109 "
    "2114 2116-2118 211e-2123 2125 2127 2129 212e 213a-213b 2140-2144 214a-214d 214f "
    "2153-215e 2190-2bff 3001-3002 3012 30fb ff01-ff0f ff1a-ff20 ff3b-ff40 ff5b-ff65 ffe0-ffe1 ffe5-ffe6"
)
_ALIKE = {
    "’": "’\x92",
    "‘": "‘\x91‛",
    "“": "“”„‟‚\x93\x94‹›«»",
    "–": "–—―\x96\x97",
    "‐": "‐‑\u058a",
    "٫": "٫٬",
    "\u2002": "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u3000",
}
_SELF = "\xa0\xad…、⁄⁺⁻₊₋⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉"
_ACCENTED = re.compile("&[aeiou](?:acute|grave|uml);", re.IGNORECASE)
_LINE_ENDS = dict.fromkeys(map(ord, "\n\r\v\f\x85\u2028\u2029"), " ")


class _Kinds(dict[int, str]):
    """What stands for a character, by code point; found when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = _kind(code)
        return kind


def outline(text: str) -> tuple[str, str]:
    """The text with line ends made blanks, and its outline, of the same length.

    Entities of accented letters are letters there; other entities are left to the rules.
    """
    if text.isascii() and text.isprintable() and "&" not in text:
        return text, text
    text = text.translate(_LINE_ENDS)
    return text, _ACCENTED.sub(lambda match: "ê" * len(match[0]), text.translate(KINDS))


def _kind(code: int) -> str:
    character = chr(code)
    if character == "\t" or " " <= character <= "~":
        return character
    if any(code in points for points in _MARKS):
        return "ê"
    category = unicodedata.category(character)
    if code <= _LAST_KNOWN and category in _LETTERS:
        return "É" if category == "Lu" else "é"
    if code <= _LAST_KNOWN and category == "Nd":
        return "٠"
    return "•" if any(code in points for points in _SYMBOLS) else "\x00"


def _points(text: str) -> list[range]:
    pairs = [pair.partition("-") for pair in text.split()]
    return [range(int(first, 16), int(last or first, 16) + 1) for first, _, last in pairs]


_LETTERS = ("Lu", "Ll", "Lt", "Lm", "Lo")
_LAST_KNOWN = 0xFFFF  # the program knows no characters beyond
_MARKS = _points(_MARK_POINTS)
_SYMBOLS = _points(_SYMBOL_POINTS)
KINDS = _Kinds(
    {ord(each): kind for kind, characters in _ALIKE.items() for each in characters} | {ord(c): c for c in _SELF}
)
