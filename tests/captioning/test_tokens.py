from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlcli.captioning.padding import pad_captions
from hlcli.captioning.tokens import caption_tokens, collapse_repeats, count_words
from hlcli.captioning.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A man's dog isn't here.\n", ["a", "man", "'s", "dog", "is", "n't", "here"]),
        ("A well-known T-shirt, red; blue: -- ...", ["a", "well", "known", "t", "shirt", "red", "blue"]),
        ('a "stop" sign (red) ..', ["a", '"', "stop", '"', "sign", "(", "red", ")", ".."]),
        ("two  blanks", ["two", " ", "blanks"]),
        ("two\nlines", ["two", "\n", "lines"]),
        ("", []),
    ],
)
def test_words_are_lower_case_without_punctuation_but_brackets_and_double_blanks_stay(text, tokens):
    assert caption_tokens(text) == tokens


def test_words_of_all_captions_are_counted():
    assert count_words(["A dog.", "a a cat"]) == {"a": 3, "dog": 1, "cat": 1}


def test_spacy_is_only_loaded_where_captions_are_tokenised():
    code = (
        "import sys, hlcli.captioning.tokens, hlcli.captioning.vocabulary; "
        "sys.exit('spacy' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@given(st.lists(st.sampled_from(["a", "dog", "cat"])))
def test_collapsed_tokens_never_repeat_and_lose_nothing_else(tokens):
    collapsed = collapse_repeats(tokens)
    assert all(first != second for first, second in pairwise(collapsed))
    assert collapse_repeats(collapsed) == collapsed
    assert set(collapsed) == set(tokens)


def test_repeats_are_collapsed_only_where_they_touch():
    assert " ".join(collapse_repeats(["a", "a", "dog", "dog", "dog", "and", "a", "dog"])) == "a dog and a dog"


def test_captions_are_padded_to_the_longest_between_begin_and_end():
    vocabulary = Vocabulary.from_counts({"dog": 2, "cat": 1}, 1)
    assert pad_captions([["dog"], ["cat", "bird", "dog"], []], vocabulary).tolist() == [
        [2, 4, 3, 1, 1],
        [2, 5, 0, 4, 3],
        [2, 3, 1, 1, 1],
    ]
    assert pad_captions([], vocabulary).shape == (0, 2)
