"""What the rules of the Penn Treebank tokenizer are made of: patterns of words, numbers, addresses, abbreviations.

They are matched against the *outline* of a text, of the same length, in which rare characters are replaced by a few
that stand for their kind (`ptb_outline` makes it):

    é É  a letter outside ASCII           ٠       a digit outside ASCII
    ê    an accent of its own, or a       U+2002  a blank but the plain one and the fixed one
         part of an entity like &eacute;  –       a long dash
    ’ ‘  apostrophes and single quotes    ‐       a hyphen but the plain one
    “    other quotation marks            •       any other symbol that is a token of its own
    ٫    an Arabic decimal mark           \\x00    what is dropped
"""

from __future__ import annotations

import re
from collections.abc import Callable

LETTER = "[A-Za-zéÉê\xad]"
DIGIT = "[0-9٠]"
PLAIN_LETTER = "[A-Za-zéÉ]"
ALNUM = "[A-Za-zéÉ0-9٠]"
_LETTER_OR_DIGIT = "[A-Za-zéÉê\xad0-9٠]"
APOSTROPHE = "(?:['’]|&apos;)"
APOSTROPHE_LIKE = "(?:['’‘`]|&apos;)"
APOSTROPHES = "['’&]"  # what these begin with
BLANK = "[ \t\xa0\u2002]"
SPACE = "[ \t\xa0\u2002\n]"
WORD = f"{LETTER}{_LETTER_OR_DIGIT}*(?:[.!?]{LETTER}{_LETTER_OR_DIGIT}*)*"
CLITIC = f"{APOSTROPHE}(?:[msdMSD]|[rR][eE]|[vV][eE]|[lL][lL])"
NOT = f"[nN]{APOSTROPHE_LIKE}[tT]"
INITIALS = r"[A-Za-z](?:\.[A-Za-z])*"
_TAG_NAME = "[A-Za-z][A-Za-z0-9_:.-]*"
_TAG_VALUE = "(?: *= *(?:'[^\n']*'|\"[^\n\"]*\"))?"
TAG = f"<(?:[!?][A-Za-z-][^>\n]*|/{_TAG_NAME} *|{_TAG_NAME}(?: +{_TAG_NAME}{_TAG_VALUE})* */? *)>"
DATE = f"{DIGIT}{{1,2}}[-/]{DIGIT}{{1,2}}[-/]{DIGIT}{{2,4}}"
NUMBER = f"{DIGIT}*(?:[.:,\xad٫]{DIGIT}+)+|{DIGIT}+"
FRACTION = rf"(?:{DIGIT}{{1,4}}[- \xa0])?{DIGIT}{{1,4}}(?:\\?/|⁄){DIGIT}{{1,4}}"
PHONE = (
    r"(?:\([0-9]{2,3}\)[ \xa0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \xa0])?[0-9]{2,4}[- \xa0])"
    r"[0-9]{3,4}[- \xa0]?[0-9]{3,5}"
)
DOTTED_PHONE = r"(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}"
FACE = r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)"
# A word with an elided article may open it (d'oeuvres) or follow a hyphen (jack-o'lantern).
JOINED = f"(?:[dDoOlL]{APOSTROPHE_LIKE}{ALNUM})?{ALNUM}+(?:[-‐_](?:[dDoOlL]{APOSTROPHE_LIKE}{ALNUM})?{ALNUM}+)*"
HYPHENATED = r"[A-Za-z0-9][A-Za-z0-9.,\xad]*(?:-(?:[A-Za-z](?:\.[A-Za-z])+\.|[A-Za-z0-9\xad]+))+"
CAPITALS = "[A-Z]+(?:(?:(?i:&amp;)|[+&])[A-Z]+)+"
_SLASHED_PART = "[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
SLASHED = rf"{_SLASHED_PART}(?:\\?/{_SLASHED_PART}){{1,2}}"
FILE_NAME = (
    rf"{ALNUM}+(?:\.{ALNUM}+)*\.(?i:bat|bmp|class|cgi|cpp|c|dll|docx|doc|exe|gif|gz|html|htm|h|jar|java|jpeg|jpg|mov|mp3|"
    "pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|xml|x|zip)"
)
URL = r"[hH][tT][tT][pP][sS]?://[^ \t\n\"<>|(){}]+[^ \t\n\"<>|.!?(){},-]"
_URL_PATH = r"(?:/[^ \t\n\"<>|()]+[^ \t\n\"<>|.!?(){},-])?"
WWW_SITE = rf"(?i:www)\.(?:[^ \t\n\"<>|.!?(){{}},]+\.)+[A-Za-z]{{2,4}}{_URL_PATH}"
SITE = rf"(?:[^ \t\nê\"`'|!?(){{}},-_$]+\.)+(?i:com|net|org|edu){_URL_PATH}"
MAIL = r"(?:<|&lt;)?[A-Za-z0-9][^ \t\n\"<>|(){}\xa0]*@(?:[^ \t\n\"<>|(){}.\xa0]+\.)*[^ \t\n\"<>|(){}.\xa0]+(?:>|&gt;)?"
_CAPITALISED_ABBREVIATIONS = "az ark del ill la mass miss ore pa tex wash"
_COMPANY_ABBREVIATIONS = "pty ptys pte ptes ppty ppte"
# These may end a sentence: before a capital, the sentence's own period is a token as well.
_ENDING_ABBREVIATIONS = (
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri ala ariz calif colo conn ct dak "
    "fla ga ind kan kans ky md mich minn mo mont neb nev okla penn tenn va vt wis wisc wyo inc co cos corp ltd plc "
    "bancorp bhd assn univ intl sys bros jr sr bldg esq est al etc rd blvd tel ext sq rt seq ph.d ed.d"
)
_TITLE_ABBREVIATIONS = (
    "mr mrs ms drs dr prof profs sens sen reps rep attys atty lt col gen messrs govs gov adm rev maj sgt cpl pvt capt "
    "ste st ave pres lieut hon brig mt ft ph dept vs cf alex wm jos cie assoc natl invt elec comdr cmdr mme mlle msgr "
    "adj adv det ens pfc sfc spc asst insp supt treas"
)
_LOWER_TITLE_ABBREVIATIONS = "mfg mtg"
_NUMBERED_ABBREVIATIONS = "pp no nos art fig figs op ca prop"
_SENTENCE_STARTS = (
    "A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Mr. Ms. Now "
    "Once One Other Our She Since So Some Such That The Their Then There These They This We What When While Yet You"
)
ABBREVIATIONS = frozenset(
    f"{_CAPITALISED_ABBREVIATIONS} {_COMPANY_ABBREVIATIONS} {_ENDING_ABBREVIATIONS} {_TITLE_ABBREVIATIONS} "
    f"{_LOWER_TITLE_ABBREVIATIONS} {_NUMBERED_ABBREVIATIONS}".split()
)


def one_of(words: str, *spellings: Callable[[str], str]) -> str:
    """A pattern for listed words in the given spellings, longest first."""
    spelled = {spell(word) for word in words.split() for spell in spellings}
    return "(?:" + "|".join(re.escape(word) for word in sorted(spelled, key=lambda word: (-len(word), word))) + ")"


ABBREVIATION = (
    f"(?:{one_of(_CAPITALISED_ABBREVIATIONS, str.capitalize, str.upper)}"
    f"|{one_of(_COMPANY_ABBREVIATIONS, str.lower, str.capitalize)}|(?i:{one_of(_ENDING_ABBREVIATIONS, str.lower)}))"
)
TITLE = (
    f"(?:{one_of(_LOWER_TITLE_ABBREVIATIONS, str.lower, str.capitalize)}"
    f"|(?i:{one_of(_TITLE_ABBREVIATIONS, str.lower)}))"
)
NUMBERED = f"(?i:{one_of(_NUMBERED_ABBREVIATIONS, str.lower)})"
SENTENCE_START = one_of(_SENTENCE_STARTS, str, str.upper)
