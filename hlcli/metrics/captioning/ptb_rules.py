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

ROUND_BRACKETS = {"(": "-lrb-", ")": "-rrb-"}
ALL_BRACKETS = ROUND_BRACKETS | {"[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
STRAIGHT = str.maketrans(
    dict.fromkeys("‘\x91‛‹", "`")
    | dict.fromkeys("’\x92›", "'")
    | dict.fromkeys("“\x93«", "``")
    | dict.fromkeys("”\x94»", "''")
)
SYMBOLS = dict.fromkeys("€\x80¤\u20a0", "$") | {"¢": "cents", "£": "#"}
SYMBOLS |= {"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}

Render = Callable[[str], str]
"""From the matched text to the token; an empty token is dropped."""


def _as_written(token: str) -> str:
    """The token as it stands."""
    return token


def always(result: str) -> Render:
    """The same token whatever was matched."""
    return lambda _: result


def spelled(replacements: dict[str, str]) -> Render:
    """The token with some characters written otherwise."""
    table = str.maketrans(replacements)
    return lambda token: token.translate(table)


def _without_soft_hyphens(token: str) -> str:
    """The token without soft hyphens; one that has nothing else is a hyphen."""
    return token.replace("\xad", "") or "-"


def _straight_quotes(token: str) -> str:
    """The token with quotes and apostrophes of ASCII."""
    return token.replace("&apos;", "'").translate(STRAIGHT)


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


class Rule(NamedTuple):
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
    return tuple((re.compile(rule.pattern), rule.render) for rule in RULES if re.match(rule.starts, first))


RULES = (
    # Two words in one: the second is left for the next match.
    Rule("[cC]", "(?i:(can)not)"),
    Rule("[gGlLwW]", "(?i:(gon(?=na)|got(?=ta)|lem(?=me)|gim(?=me)|wan(?=na))(?:na|ta|me))"),
    Rule("'", "(?i:('t)(?:is|was))"),
    # Tags, entities, long dashes.
    Rule("<", TAG, spelled({" ": "\xa0"})),
    Rule("[–&]", "–|(?i:&[mn]dash;)", always("--")),
    Rule("&", "(?i:&amp;)", always("&")),
    Rule("&", "(?i:&lt;)", always("<")),
    Rule("&", "(?i:&gt;)", always(">")),
    # Words, with what follows an apostrophe left for later.
    Rule(LETTER, f"({WORD}){CLITIC}", _without_soft_hyphens),
    Rule("[A-Za-z\xad]", f"([A-Za-z\xad]*[A-MO-Za-mo-z]\xad*){NOT}", _without_soft_hyphens),
    Rule(LETTER, WORD, _without_soft_hyphens),
    # Words that have an apostrophe, which stays as it was written.
    Rule(APOSTROPHES, f"{APOSTROPHE}(?:[nN]{APOSTROPHE}?|(?i:em|till|til|cause)|[2-9]0[sS])"),
    Rule("[lLdDjJ]", f"[lLdDjJ]{APOSTROPHE}"),
    Rule("[dDsSoO]", f"(?i:dunkin|somethin|ol){APOSTROPHE}"),
    Rule(PLAIN_LETTER, f"{PLAIN_LETTER}+[aeiouyAEIOUY]{APOSTROPHE_LIKE}[aeiouA-Z]{PLAIN_LETTER}*"),
    Rule("[A-HJ-XZn]", f"[A-HJ-XZn]{APOSTROPHE_LIKE}{PLAIN_LETTER}{{2,}}"),
    Rule("[cCeElLnNsS]", r"(?i:c'mon|cont'd\.|nor'easter|e'er|s'mores|ev'ry|li'l|nat'l)"),
    Rule("[oO]", f"[oO]{APOSTROPHE_LIKE}[oO]"),
    Rule("[yY]", f"([yY]{APOSTROPHE}){LETTER}"),
    # Addresses and names of the web.
    Rule("[hH]", URL),
    Rule("[wW]", WWW_SITE),
    Rule("[^ \t\nê\"`'|!?(){},-_$]", SITE),
    Rule("[<&A-Za-z0-9]", MAIL),
    Rule("@", "@[A-Za-z_][A-Za-z_0-9]*"),
    Rule("#", f"#{LETTER}+"),
    # What follows an apostrophe.
    Rule(APOSTROPHES, f"({CLITIC})[^A-Za-z]", _straight_quotes),
    Rule("[nN]", f"({NOT})[^A-Za-z]", _straight_quotes),
    # Numbers.
    Rule("[0-9٠]", DATE),
    Rule("[-+0-9٠.:,\xad٫]", f"[-+]?(?:{NUMBER})", _without_soft_hyphens),
    Rule("[0-9٠]", FRACTION, spelled({" ": "\xa0"})),
    # Fixed spellings, words with slashes or ampersands, currencies.
    Rule("-", "-(?i:[lr][rcs]b)-"),
    Rule("[paPA]", "(?i:pro|anti)-"),
    Rule("[cCsS]", rf"(?i:c\.d\.s|s&p-500|s&ls|c(?:ap{APOSTROPHE}n|{APOSTROPHE}est))"),
    Rule("[A-Za-z0-9]", SLASHED),
    Rule("[A-Z$]", r"[A-Z]*\$"),
    Rule("[A-Z]", rf"({CAPITALS}\.)[,;:、]", _ampersand),
    Rule("[A-Z]", CAPITALS, _ampersand),
    Rule("[cfCF]", r"[cC]\+\+|[cCfF]#"),
    # Abbreviations and initials, which keep their periods.
    Rule("[A-Za-z]", rf"({ABBREVIATION})\.{SPACE}(?:{SPACE}|[A-ZÉ]|{TAG})", _with_period),
    Rule("[A-Za-z]", rf"({ABBREVIATION}\.)(?:.|\n)(?:.|\n)"),
    Rule("[A-Za-z]", rf"{TITLE}\."),
    Rule("[A-Za-z]", rf"({NUMBERED}\.){BLANK}?{DIGIT}"),
    Rule("[A-Za-z]", rf"({INITIALS})\.{SPACE}+(?:{SENTENCE_START}|{TAG}){SPACE}", _initials_with_period),
    Rule("[A-Za-z]", rf"{INITIALS}\."),
    Rule(APOSTROPHES, f"({APOSTROPHE}[0-9][0-9]){SPACE}"),
    Rule(LETTER, rf"({WORD}\.)[,;:、]", _without_soft_hyphens),
    Rule("[0-9(+]", PHONE, spelled(ROUND_BRACKETS | {" ": "\xa0"})),
    Rule("[0-9+]", DOTTED_PHONE),
    # Marks.
    Rule('["&]', '("|&quot;)[A-Za-z0-9$]', always("``")),
    Rule('["&]', '"|&quot;', always("''")),
    Rule("[<>:;=]", r"([<>]?[:;=][-o*']?[()DPdp\\{@|\[\]])[^A-Za-z0-9]", spelled(ROUND_BRACKETS)),
    Rule("[-^x=~<>'(]", FACE, spelled(ROUND_BRACKETS)),
    Rule(r"[][(){}]", r"[][(){}]", spelled(ALL_BRACKETS)),
    Rule("-", "-+", _hyphens),
    Rule("[.…]", r"\.{3,5}|(?:\.[ \xa0]){2,4}\.|…", always("...")),
    Rule(r"[*\\]", r"\*+|(?:\\\*){1,3}"),
    Rule("[@#_?!]", "@+|#+|_+|[?!]+"),
    # Files, words with digits, hyphens, underscores.
    Rule(ALNUM, rf"({FILE_NAME})[ \t\n\xa0\u2002?!,.]"),
    Rule(ALNUM, JOINED),
    Rule("[A-Za-z0-9]", rf"({HYPHENATED}\.)[,;:、]", _without_soft_hyphens),
    Rule("[A-Za-z0-9]", HYPHENATED, _without_soft_hyphens),
    Rule(ALNUM, rf"({JOINED}\.)[,;:、]"),
    # Quotes: one right before a word opens it.
    Rule("'", "(')[A-Za-z][^ \t\n\xa0]", always("`")),
    Rule(APOSTROPHES, CLITIC, _straight_quotes),
    Rule("['’‘`“&]", "''|'|&apos;|[`‘’“]{1,2}", _straight_quotes),
    # Entities that stay as they are.
    Rule("&", "(?i:&(?:#[0-9]+|ht|tl|ur|lr|qc|ql|qr|odq|cdq|quot|apos);)"),
    # What is left: superscripts, double arrows, what is dropped, and any other symbol.
    Rule("[⁰-₎¹²³]", "[⁺⁻₊₋]?(?:[⁰¹²³⁴-⁹]+|[₀-₉]+)"),
    Rule("[<>]", "<<|>>"),
    Rule("[\xa0\u2002\x00‐&]", f"[\xa0\u2002]{BLANK}*|[\x00‐]|(?i:&nbsp;)", always("")),
    Rule("[^ \t]", ".", spelled(SYMBOLS)),
)
