from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hlcli.metrics.captioning.ptb import PUNCTUATION, ptb_line, ptb_tokenize, ptb_tokens
from hlcli.metrics.captioning.ptb_patterns import ABBREVIATIONS

# What the Java program prints, from runs of it; the golden pairs have hundreds more.
LINES = {
    "A man on a horse.": "a man on a horse .",
    "A man, a plan, a canal .": "a man , a plan , a canal .",
    "I can't, they've cannot wanna-be 'Tis": "i ca n't , they 've can not wanna-be 't is",
    "cannot/could gimme.": "cannot/could gim me .",
    "a rock'n'roll jack-o'-lantern at five-o'clock": "a rock 'n' roll jack-o ' - lantern at five-o'clock",
    "H'or h'or n'est o‘o A'twas": "h'or h ` or n'est o‘o a'twas",
    "‘quoted’ “twice” ““ 'n’t": "` quoted ' `` twice '' ```` 'n’ t",
    "she’s ’spotted": "she 's 's potted",
    "Mr. Smith etc. Then inc. a etc.a etc.ab": "mr. smith etc. . then inc. a etc. a etc.ab",
    "at 5 p.m. The man J. He J. Smith U.S. <b> x": "at 5 p.m. . the man j . he j. smith u.s. . <b> x",
    "No. 5 no. five fig.5 Wash. wash. pty. PTY.": "no. 5 no . five fig. 5 wash. wash . pty. . pty .",
    "word., AT&T., 5., well-known.; a_b.:": "word. , at&t. , 5. , well-known. ; a_b. :",
    "1 1/2 5/11-5511 12/12/2012 +5 .5a 2.0.1": "1\xa01/2 5/11-5511 12/12/2012 +5 .5 a 2.0.1",
    "(555) 555-1234 or 555 123 4567": "-lrb-555-rrb-\xa0555-1234 or 555\xa0123\xa04567",
    "a.jpg 5.jpg) 5.mp4 5.jpg, x_5.c": "a.jpg 5 . jpg -rrb- 5 . mp4 5.jpg , x_5 . c",
    "www.a.com/xy a.com/x x-y.com http://a.b, —www.foo.com": (
        "www.a.com/xy a.com / x x-y . com http://a.b , —www.foo.com"
    ),
    "<a@b.c> &lt;a@b.c a&amp;b A&AMP;T &#39; &QUOT; &quot;a": "<a@b.c> &lt;a@b.c a & b a&t &#39; &quot; `` a",
    "<a b='c' d> </b foo> <!-- hi -->": "<a\xa0b='c'\xa0d> < / b foo > <!--\xa0hi\xa0-->",
    ":) :-( =D :P5 :o) ^_^ (^.^)": ":-rrb- :--lrb- =d : p5 :o-rrb- ^_^ -lrb-^.^-rrb-",
    "... . . . .... ...... - -- ---- -----": "... ... ... ... . - -- -- -----",
    "café cafe\u0301s &eacute;t&eacute; soft\xadly x² ½ €5 5¢": (
        "café cafe\u0301s &eacute;t&eacute; softly x ² 1/2 $ 5 5 cents"
    ),
    "nice 😀 day\u200b\u3000out x‑y": "nice day out x‑y",
    "two\nlines\u2028here": "two lines here",
    "a/b/c/d and/or A+B": "a/b/c / d and/or a+b",
    "  \t ": "",
    "": "",
}


@pytest.mark.parametrize("text", LINES)
def test_lines_are_those_of_the_java_program(text):
    assert ptb_line(text) == LINES[text]


def test_punctuation_goes_but_brackets_stay_for_they_are_in_lower_case():
    assert ptb_tokens('A "big" dog (brown), really?! -- yes...') == [
        *("a", "big", "dog", "-lrb-", "brown", "-rrb-", "really", "?!", "yes")
    ]
    assert ptb_tokenize("...") == ""


WORDS = st.sampled_from(
    [*sorted(ABBREVIATIONS), "a", "A", "cannot", "dog's", "don't", "well-known", "Wanna", "3.5", "IT"]
)
PIECES = WORDS | st.sampled_from([*".,:;!?'\"()-/&$ \n", "’", "–", "é", "\xa0", "<b>", "&amp;", "...", "😀", "\x00"])


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30))
@example("\xad")
@example("& &; &#1")
def test_any_text_gives_lower_case_tokens_with_one_blank_between(text):
    line = ptb_line(text)
    assert "  " not in line
    assert line == line.strip(" ")
    assert "\n" not in line
    assert line == line.lower()
    assert ptb_tokens(text) == [token for token in line.split(" ") if token and token not in PUNCTUATION]


PLAIN = st.lists(st.from_regex(r"[A-Za-z]{2,9}", fullmatch=True), min_size=1, max_size=8)


@given(PLAIN, st.sampled_from(["", ".", " .", ",", " ,", "!"]))
def test_the_short_way_for_plain_captions_gives_what_the_rules_give(words, mark):
    """A blank of another kind between the words makes the rules see every one of them."""
    plain = " ".join(words) + mark
    assert ptb_line(plain) == ptb_line(plain.replace(" ", "\u2002"))


@given(st.lists(st.sampled_from("abc12.-'_@/"), min_size=1, max_size=20).map("".join))
def test_no_letter_or_digit_is_lost(text):
    assert re.sub(r"[^a-z0-9]", "", ptb_line(text)) == re.sub(r"[^a-z0-9]", "", text)


def test_a_long_text_without_blanks_takes_no_time():
    assert ptb_line("ab." * 3000 + "ab@") != ""
    assert ptb_line("1-" * 3000) != ""
    assert ptb_line("<a " * 300) != ""
