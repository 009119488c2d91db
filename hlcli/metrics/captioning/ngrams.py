"""Counting the n-grams of many captions at once: words become numbers, and numpy does the rest.

An n-gram is known by its first n - 1 words, which are an n-gram one shorter, and its last word. So each length is
counted with one sort of whole numbers, exactly, whatever the size of the vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_N = 4

Integers = NDArray[np.int64]


class Ngrams(NamedTuple):
    """The n-grams of one length in C captions: G different ones, E entries that are not zero in the table [C, G].

    Args:
        prefix: [G] the first n - 1 words, an index into the n-grams one shorter; empty for single words.
        last_word: [G] index of the last word.
        caption: [E] index of the caption, ascending.
        ngram: [E] index of the n-gram, ascending within a caption.
        times: [E] how often the caption has it.
    """

    prefix: Integers
    last_word: Integers
    caption: Integers
    ngram: Integers
    times: Integers


class NgramCounts(NamedTuple):
    """All n-grams of C captions.

    Args:
        words: every different word, in order of first appearance.
        lengths: [C] number of words.
        levels: single words first, then pairs, up to `MAX_N` words; each is made when asked for, as they are large.
    """

    words: list[str]
    lengths: Integers
    levels: Iterator[Ngrams]


def count_ngrams(captions: Iterable[str]) -> NgramCounts:
    """Count the n-grams of captions, which are split at any white space."""
    index: defaultdict[str, int] = defaultdict(count().__next__)
    lengths: list[int] = []

    def word_indices() -> Iterator[int]:
        for caption in captions:
            words = caption.split()
            lengths.append(len(words))
            yield from map(index.__getitem__, words)

    text = np.fromiter(word_indices(), np.int64)  # all captions, one after the other
    sizes = np.array(lengths, dtype=np.int64)
    return NgramCounts(list(index), sizes, _levels(text, sizes, len(index)))


def _levels(text: Integers, lengths: Integers, num_words: int) -> Iterator[Ngrams]:
    caption = np.repeat(np.arange(len(lengths)), lengths)  # of each word
    words_left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(text))  # in its caption, from that word on
    starts = np.arange(len(text))
    ngram = text  # of each start
    prefix, last_word = np.empty(0, dtype=np.int64), np.arange(num_words)
    for n in range(1, MAX_N + 1):
        if n > 1:
            is_inside = words_left[starts] >= n
            starts = starts[is_inside]
            found, ngram = np.unique(ngram[is_inside] * num_words + text[starts + n - 1], return_inverse=True)
            prefix, last_word = np.divmod(found, max(num_words, 1))
        size = max(len(last_word), 1)
        entries, counts = np.unique(caption[starts] * size + ngram, return_counts=True)
        yield Ngrams(prefix, last_word, *np.divmod(entries, size), counts)


def document_counts(level: Ngrams, document_of: Integers) -> Integers:
    """Number of documents that have each n-gram, [G].

    Args:
        level: the n-grams of one length.
        document_of: [C] the document that each caption belongs to.
    """
    size = max(len(level.last_word), 1)
    pairs = np.sort(document_of[level.caption] * size + level.ngram)
    is_first = np.diff(pairs, prepend=-1) > 0  # np.unique without anything else is many times slower
    return np.bincount(pairs[is_first] % size, minlength=len(level.last_word))


def spell(level: Ngrams, chosen: Integers, shorter: dict[int, str], words: list[str]) -> dict[int, str]:
    """Chosen n-grams as text, their words joined by blanks.

    Args:
        level: the n-grams of one length.
        chosen: indices of n-grams.
        shorter: the texts of their first n - 1 words; empty for single words.
        words: every word.
    """
    ends = [words[word] for word in level.last_word[chosen].tolist()]
    if not shorter:
        return dict(zip(chosen.tolist(), ends, strict=True))
    starts = level.prefix[chosen].tolist()
    return {ngram: f"{shorter[start]} {end}" for ngram, start, end in zip(chosen.tolist(), starts, ends, strict=True)}
