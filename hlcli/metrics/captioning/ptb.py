"""The Penn Treebank tokenizer of the caption metrics, without Java.

`ptb_line` gives what the program of Stanford CoreNLP 3.4.1 prints for one caption with the options `-preserveLines
-lowerCase`, `ptb_tokens` what the caption metrics keep of that line. Captions are tokenised one by one: where the
program looks at the next caption of a batch, it finds nothing here.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hlcli.metrics.captioning.ptb_outline import outline
from hlcli.metrics.captioning.ptb_patterns import ABBREVIATIONS
from hlcli.metrics.captioning.ptb_rules import Render, rules_for

PUNCTUATION = frozenset(("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", *".?!,:-;", "--", "..."))

# Most captions are plain: words and commas between single blanks, a period at the end. The rules see the rest.
_TWO_IN_ONE = "(?i:cannot|gonna|gotta|lemme|gimme|wanna)"
_PLAIN = re.compile(rf"(?:(?:(?!{_TWO_IN_ONE}[ \n])[A-Za-z]+|,)(?: |(?=\n))|\.(?=\n))+")
_WORD_BEFORE_MARK = re.compile(rf"(?!{_TWO_IN_ONE}[.,!?])[A-Za-z]{{2,}}(?=[.,!?][ \n])")
GAP = re.compile("[ \t][ \t\xa0\u2002]*")


def ptb_line(text: str) -> str:
    """The tokens of a caption in lower case, joined by single blanks; punctuation is still there.

    Args:
        text: one caption.
    """
    text, kinds = outline(text)
    end = len(text)
    kinds += "\nz"  # as if another line followed
    position = 0
    tokens = []
    while position < end:
        if plain := _PLAIN.match(kinds, position):
            tokens.append(plain[0].rstrip(" "))
            position = plain.end()
        elif (word := _WORD_BEFORE_MARK.match(kinds, position)) and word[0].lower() not in ABBREVIATIONS:
            tokens.append(word[0])
            position = word.end()
        elif gap := GAP.match(kinds, position):
            position = gap.end()
        else:
            token, position = _next_token(text, kinds, position)
            tokens.append(token)
    return " ".join(filter(None, tokens)).lower()


def ptb_tokens(text: str) -> list[str]:
    """The tokens of a caption in lower case, without the punctuation that the caption metrics drop.

    Args:
        text: one caption.
    """
    return [token for token in ptb_line(text).split(" ") if token and token not in PUNCTUATION]


@lru_cache(maxsize=100_000)
def ptb_tokenize(text: str) -> str:
    """The tokens that count, joined by single blanks: what the caption metrics take. Remembers recent captions.

    Args:
        text: one caption.
    """
    return " ".join(ptb_tokens(text))


def _next_token(text: str, kinds: str, position: int) -> tuple[str, int]:
    """The token at a position that is no blank, and where it ends."""
    longest = token_end = position
    best: Render = str
    for pattern, render in rules_for(kinds[position]):
        match = pattern.match(kinds, position)
        if match and match.end() > longest:
            longest, token_end, best = match.end(), match.end(pattern.groups), render
    return best(text[position:token_end]), token_end
