"""From the text of a caption to the words a captioner learns to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from hlcli.metrics.captioning.ptb import PUNCTUATION

if TYPE_CHECKING:
    from spacy.tokenizer import Tokenizer


def caption_tokens(text: str) -> list[str]:
    """The words of a caption in lower case, without punctuation.

    The words are those of spaCy's English rules, which need no trained model. The list of punctuation is that of the
    published program: brackets, double quotes and `..` stay, and so does a blank that follows another one.
    """
    document = _tokenizer()(text.lower().rstrip("\n"))
    return [token.text for token in document if token.text not in PUNCTUATION]


def count_words(captions: Iterable[str]) -> Counter[str]:
    """How often each word stands in some captions."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(caption_tokens(caption))
    return counts


def collapse_repeats(tokens: Sequence[str]) -> list[str]:
    """The tokens with each run of the same one replaced by one: `a a dog` → `a dog`."""
    return [token for token, _ in groupby(tokens)]


@cache
def _tokenizer() -> Tokenizer:
    import spacy  # half a second: only where captions are tokenised

    return spacy.blank("en").tokenizer
