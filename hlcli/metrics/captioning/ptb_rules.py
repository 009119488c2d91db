"""The rules of the Penn Treebank tokenizer that caption metrics use (Stanford CoreNLP 3.4.1), in order.

At every position the longest match counts, what a rule looks ahead at included, and of equally long matches the rule
that stands first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from hlcli.metrics.captioning.ptb_patterns import (
    ABBREVIATION,
    ALNUM,
    APOSTROPHE,
    APOSTROPHE_LIKE,
    APOSTROPHES,
    BLANK,
    CAPITALS,
    CLITIC,
    DATE,
    DIGIT,
    DOTTED_PHONE,
    FACE,
    FILE_NAME,
    FRACTION,
    HYPHENATED,
    INITIALS,
    JOINED,
    LETTER,
    MAIL,
    NOT,
    NUMBER,
    NUMBERED,
    PHONE,
    PLAIN_LETTER,
    SENTENCE_START,
    SITE,
    SLASHED,
    SPACE,
    TAG,
    TITLE,
    URL,
    WORD,
    WWW_SITE,
)

_ROUND_BRACKETS = {"(": "-lrb-", ")": "-rrb-"}
_ALL_BRACKETS = _ROUND_BRACKETS | {"[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_STRAIGHT = str.maketrans(
    dict.fromkeys("‘\x91‛‹", "`")
    | dict.fromkeys("’\x92›", "'")
    | dict.fromkeys("“\x93«", "``")
    | dict.fromkeys("”\x94»", "''")
)
_SYMBOLS = dict.fromkeys("€\x80¤\u20a0", "$") | {"¢": "cents", "£": "#"}
_SYMBOLS |= {"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}

Render = Callable[[str], str]
"""From the matched text to the token; an empty token is dropped."""


def _as_written(token: str) -> str:
    """The token as it stands."""
    return token


def always(result: str) -> Render:
    """The same token whatever was matched."""
    return lambda _: result


def _spelled(replacements: dict[str, str]) -> Render:
    """The token with some characters written otherwise."""
    table = str.maketrans(replacements)
    return lambda token: token.translate(table)


def _without_soft_hyphens(token: str) -> str:
    """The token without soft hyphens; one that has nothing else is a hyphen."""
    return token.replace("\xad", "") or "-"


def _straight_quotes(token: str) -> str:
    """The token with quotes and apostrophes of ASCII."""
    return token.replace("&apos;", "'").translate(_STRAIGHT)


def _ampersand(token: str) -> str:
    """The token with & for its entity."""
    return re.sub("(?i)&amp;", "&", token)


def _hyphens(token: str) -> str:
    """A hyphen, a dash, or the long line that was written."""
    return token if len(token) > 4 else "-" if len(token) == 1 else "--"


def _with_period(token: str) -> str:
    """An abbreviation that ends a sentence: it has its period, and the period that follows is a token as well."""
    return f"{token}."


def _initials_with_period(token: str) -> str:
    """The same for initials, but a single letter leaves the period to the sentence."""
    return token if len(token) == 1 else f"{token}."


class _Rule(NamedTuple):
    """One kind of token.

    Args:
        starts: the characters that its first one can be, so that few rules are tried.
        pattern: what to match; where it has a group, only the group is token, and the rest is looked ahead at.
        render: how the token is written.
    """

    starts: str
    pattern: str
    render: Render = _as_written


@cache
def rules_for(first: str) -> tuple[tuple[re.Pattern[str], Render], ...]:
    """The rules that can match where the outline has the given character, in order."""
    return tuple((re.compile(rule.pattern), rule.render) for rule in _RULES if re.match(rule.starts, first))


_RULES = (
    # Two words in one: the second is left for the next match.
    _Rule("[cC]", "(?i:(can)not)"),
    _Rule("[gGlLwW]", "(?i:(gon(?=na)|got(?=ta)|lem(?=me)|gim(?=me)|wan(?=na))(?:na|ta|me))"),
    _Rule("'", "(?i:('t)(?:is|was))"),
    # Tags, entities, long dashes.
    _Rule("<", TAG, _spelled({" ": "\xa0"})),
    _Rule("[–&]", "–|(?i:&[mn]dash;)", always("--")),
    _Rule("&", "(?i:&amp;)", always("&")),
    _Rule("&", "(?i:&lt;)", always("<")),
    _Rule("&", "(?i:&gt;)", always(">")),
    # Words, with what follows an apostrophe left for later.
    _Rule(LETTER, f"({WORD}){CLITIC}", _without_soft_hyphens),
    _Rule("[A-Za-z\xad]", f"([A-Za-z\xad]*[A-MO-Za-mo-z]\xad*){NOT}", _without_soft_hyphens),
    _Rule(LETTER, WORD, _without_soft_hyphens),
    # Words that have an apostrophe, which stays as it was written.
    _Rule(APOSTROPHES, f"{APOSTROPHE}(?:[nN]{APOSTROPHE}?|(?i:em|till|til|cause)|[2-9]0[sS])"),
    _Rule("[lLdDjJ]", f"[lLdDjJ]{APOSTROPHE}"),
    _Rule("[dDsSoO]", f"(?i:dunkin|somethin|ol){APOSTROPHE}"),
    _Rule(PLAIN_LETTER, f"{PLAIN_LETTER}+[aeiouyAEIOUY]{APOSTROPHE_LIKE}[aeiouA-Z]{PLAIN_LETTER}*"),
    _Rule("[A-HJ-XZn]", f"[A-HJ-XZn]{APOSTROPHE_LIKE}{PLAIN_LETTER}{{2,}}"),
    _Rule("[cCeElLnNsS]", r"(?i:c'mon|cont'd\.|nor'easter|e'er|s'mores|ev'ry|li'l|nat'l)"),
    _Rule("[oO]", f"[oO]{APOSTROPHE_LIKE}[oO]"),
    _Rule("[yY]", f"([yY]{APOSTROPHE}){LETTER}"),
    # Addresses and names of the web.
    _Rule("[hH]", URL),
    _Rule("[wW]", WWW_SITE),
    _Rule("[^ \t\nê\"`'|!?(){},-_$]", SITE),
    _Rule("[<&A-Za-z0-9]", MAIL),
    _Rule("@", "@[A-Za-z_][A-Za-z_0-9]*"),
    _Rule("#", f"#{LETTER}+"),
    # What follows an apostrophe.
    _Rule(APOSTROPHES, f"({CLITIC})[^A-Za-z]", _straight_quotes),
    _Rule("[nN]", f"({NOT})[^A-Za-z]", _straight_quotes),
    # Numbers.
    _Rule("[0-9٠]", DATE),
    _Rule("[-+0-9٠.:,\xad٫]", f"[-+]?(?:{NUMBER})", _without_soft_hyphens),
    _Rule("[0-9٠]", FRACTION, _spelled({" ": "\xa0"})),
    # Fixed spellings, words with slashes or ampersands, currencies.
    _Rule("-", "-(?i:[lr][rcs]b)-"),
    _Rule("[paPA]", "(?i:pro|anti)-"),
    _Rule("[cCsS]", rf"(?i:c\.d\.s|s&p-500|s&ls|c(?:ap{APOSTROPHE}n|{APOSTROPHE}est))"),
    _Rule("[A-Za-z0-9]", SLASHED),
    _Rule("[A-Z$]", r"[A-Z]*\$"),
    _Rule("[A-Z]", rf"({CAPITALS}\.)[,;:、]", _ampersand),
    _Rule("[A-Z]", CAPITALS, _ampersand),
    _Rule("[cfCF]", r"[cC]\+\+|[cCfF]#"),
    # Abbreviations and initials, which keep their periods.
    _Rule("[A-Za-z]", rf"({ABBREVIATION})\.{SPACE}(?:{SPACE}|[A-ZÉ]|{TAG})", _with_period),
    _Rule("[A-Za-z]", rf"({ABBREVIATION}\.)(?:.|\n)(?:.|\n)"),
    _Rule("[A-Za-z]", rf"{TITLE}\."),
    _Rule("[A-Za-z]", rf"({NUMBERED}\.){BLANK}?{DIGIT}"),
    _Rule("[A-Za-z]", rf"({INITIALS})\.{SPACE}+(?:{SENTENCE_START}|{TAG}){SPACE}", _initials_with_period),
    _Rule("[A-Za-z]", rf"{INITIALS}\."),
    _Rule(APOSTROPHES, f"({APOSTROPHE}[0-9][0-9]){SPACE}"),
    _Rule(LETTER, rf"({WORD}\.)[,;:、]", _without_soft_hyphens),
    _Rule("[0-9(+]", PHONE, _spelled(_ROUND_BRACKETS | {" ": "\xa0"})),
    _Rule("[0-9+]", DOTTED_PHONE),
    # Marks.
    _Rule('["&]', '("|&quot;)[A-Za-z0-9$]', always("``")),
    _Rule('["&]', '"|&quot;', always("''")),
    _Rule("[<>:;=]", r"([<>]?[:;=][-o*']?[()DPdp\\{@|\[\]])[^A-Za-z0-9]", _spelled(_ROUND_BRACKETS)),
    _Rule("[-^x=~<>'(]", FACE, _spelled(_ROUND_BRACKETS)),
    _Rule(r"[][(){}]", r"[][(){}]", _spelled(_ALL_BRACKETS)),
    _Rule("-", "-+", _hyphens),
    _Rule("[.…]", r"\.{3,5}|(?:\.[ \xa0]){2,4}\.|…", always("...")),
    _Rule(r"[*\\]", r"\*+|(?:\\\*){1,3}"),
    _Rule("[@#_?!]", "@+|#+|_+|[?!]+"),
    # Files, words with digits, hyphens, underscores.
    _Rule(ALNUM, rf"({FILE_NAME})[ \t\n\xa0\u2002?!,.]"),
    _Rule(ALNUM, JOINED),
    _Rule("[A-Za-z0-9]", rf"({HYPHENATED}\.)[,;:、]", _without_soft_hyphens),
    _Rule("[A-Za-z0-9]", HYPHENATED, _without_soft_hyphens),
    _Rule(ALNUM, rf"({JOINED}\.)[,;:、]"),
    # Quotes: one right before a word opens it.
    _Rule("'", "(')[A-Za-z][^ \t\n\xa0]", always("`")),
    _Rule(APOSTROPHES, CLITIC, _straight_quotes),
    _Rule("['’‘`“&]", "''|'|&apos;|[`‘’“]{1,2}", _straight_quotes),
    # Entities that stay as they are.
    _Rule("&", "(?i:&(?:#[0-9]+|ht|tl|ur|lr|qc|ql|qr|odq|cdq|quot|apos);)"),
    # What is left: superscripts, double arrows, what is dropped, and any other symbol.
    _Rule("[⁰-₎¹²³]", "[⁺⁻₊₋]?(?:[⁰¹²³⁴-⁹]+|[₀-₉]+)"),
    _Rule("[<>]", "<<|>>"),
    _Rule("[\xa0\u2002\x00‐&]", f"[\xa0\u2002]{BLANK}*|[\x00‐]|(?i:&nbsp;)", always("")),
    _Rule("[^ \t]", ".", _spelled(_SYMBOLS)),
)
