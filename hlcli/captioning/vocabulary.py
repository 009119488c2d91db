"""The words a captioner can say, and their numbers."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from hlcli.errors import DataError

Item = TypeVar("Item")

UNKNOWN, PADDING, BEGIN, END = 0, 1, 2, 3
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ImportError,
    MemoryError,
    OverflowError,
)
"""What a damaged pickle may raise, depending on the byte that is wrong."""

SPECIAL_TOKENS = ("<unk>", "<pad>", "<bos>", "<eos>")


@dataclass(frozen=True)
class Vocabulary:
    """Words by number: the four special tokens, then words from frequent to rare.

    Args:
        tokens: [V] all different.
        counts: [V] how often each stands in the captions; 0 for the special tokens.

    Raises:
        ValueError: when it is no vocabulary.
    """

    tokens: tuple[str, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.tokens[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
            raise ValueError(f"Expected a vocabulary to begin with {SPECIAL_TOKENS}, but got {self.tokens[:4]}")
        if len(self.counts) != len(self.tokens):
            raise ValueError(
                f"Expected a count per token, but got {len(self.tokens)} tokens, {len(self.counts)} counts"
            )
        if len(self._ids) != len(self.tokens):
            repeated = next(token for token, count in Counter(self.tokens).items() if count > 1)
            raise ValueError(f"Expected the words of a vocabulary to be different, but {repeated!r} is there twice")

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], min_count: int = 5) -> Vocabulary:
        """The words that stand at least `min_count` times, most frequent first, equally frequent ones by alphabet."""
        frequent = [item for item in counts.items() if item[1] >= min_count and item[0] not in SPECIAL_TOKENS]
        frequent.sort(key=lambda item: (-item[1], item[0]))
        words = tuple(word for word, _ in frequent)
        return cls(SPECIAL_TOKENS + words, (0,) * len(SPECIAL_TOKENS) + tuple(count for _, count in frequent))

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Numbers of words; a word that is not there becomes `UNKNOWN`."""
        return [self._ids.get(token, UNKNOWN) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words of numbers, as far as the first `END`, which is left out."""
        words = []
        for token_id in ids:
            if token_id == END:
                break
            words.append(self.tokens[token_id])
        return words

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"tokens": list(self.tokens), "counts": list(self.counts)}

    @classmethod
    def from_json(cls, document: Any) -> Vocabulary:
        """What `to_json` made.

        Raises:
            ValueError: when it is something else.
        """
        tokens, counts = (document.get(key) if isinstance(document, dict) else None for key in ("tokens", "counts"))
        if not _is_list_of(tokens, str) or not _is_list_of(counts, int):
            raise ValueError("Expected a vocabulary with `tokens` and `counts`")
        return cls(tuple(tokens), tuple(counts))

    def fingerprint(self) -> str:
        """The same for the same words in the same order: sha256 of the tokens."""
        return hashlib.sha256(json.dumps(self.tokens).encode()).hexdigest()

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: token_id for token_id, token in enumerate(self.tokens)}


def read_published_vocabulary(path: Path) -> Vocabulary:
    """Read the `vocab.pkl` of the published program; nothing in the file is run.

    Raises:
        DataError: when the file is something else.
    """
    hint = "Give the vocab.pkl of the published program, or the vocabulary.json of a run."
    try:
        with open(path, "rb") as handle:
            content = _VocabularyUnpickler(handle).load()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except _DAMAGE as error:
        raise DataError(f"{path} is no published vocabulary: {error}.", hint) from error
    tokens, counts = getattr(content, "itos", None), getattr(content, "freqs", {})
    if not _is_list_of(tokens, str) or not isinstance(counts, dict):
        raise DataError(f"{path} is no published vocabulary: it has no list of words.", hint)
    try:
        known = [0 if token in SPECIAL_TOKENS else int(counts.get(token, 0)) for token in tokens]
        return Vocabulary(tuple(tokens), tuple(known))
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{path} is no published vocabulary: {error}.", hint) from error


class _PublishedVocabulary:
    """What the published file holds, without the code."""


def _unknown_index() -> int:
    return UNKNOWN


class _VocabularyUnpickler(pickle.Unpickler):
    """Reads the names that a published vocabulary has, and no others."""

    allowed: Mapping[tuple[str, str], Any] = {
        ("collections", "Counter"): Counter,
        ("collections", "defaultdict"): defaultdict,
        ("common.data.vocab", "Vocab"): _PublishedVocabulary,
        ("common.data.vocab", "_default_unk_index"): _unknown_index,
    }

    def find_class(self, module: str, name: str) -> Any:
        """One of the allowed names.

        Raises:
            UnpicklingError: for any other.
        """
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it wants to use {module}.{name}, which is not allowed")
        return self.allowed[module, name]


def _is_list_of(value: Any, kind: type[Item]) -> TypeGuard[list[Item]]:
    return isinstance(value, list) and all(type(item) is kind for item in value)
