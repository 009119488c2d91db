"""What training on captions needs to know about all of them, counted once when a data set is prepared.

Words are counted over the training and validation captions; the document frequencies of CIDEr-D over the training
captions alone. Each file of document frequencies names the words it was made with, so that a mixture of two data sets
is found out.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from hlcli.captioning.tokens import count_words
from hlcli.errors import DataError
from hlcli.files import whole_file
from hlcli.json_text import parse_json
from hlcli.metrics.captioning.cider import DocumentFrequencies, document_frequencies
from hlcli.metrics.captioning.ptb import ptb_tokenize

_WORDS_FILE = "words.json"
_FREQUENCIES_FILE = "document_frequencies.{unit}.json"
_UNITS = ("caption", "image")
_AGAIN = "Run hlcli preprocess again."


class _CaptionText(NamedTuple):
    """Counts over the captions of a data set.

    Args:
        words: how often each word stands in the training and validation captions.
        frequencies: by what counts as a document, `caption` or `image`.
    """

    words: Mapping[str, int]
    frequencies: Mapping[str, DocumentFrequencies]


def build_caption_text(
    train_captions: Sequence[Sequence[str]],
    val_captions: Iterable[Sequence[str]] = (),
    *,
    df_units: Sequence[str] = _UNITS,
) -> _CaptionText:
    """Count the words and document frequencies of captions.

    Args:
        train_captions: all captions of each training image.
        val_captions: all captions of each validation image.
        df_units: what to count as a document.

    Raises:
        ValueError: for an unknown unit, or when there is no training caption.
    """
    words = count_words(chain.from_iterable(chain(train_captions, val_captions)))
    return _CaptionText(words, {unit: build_frequencies(train_captions, unit) for unit in df_units})


def build_frequencies(train_captions: Iterable[Sequence[str]], df_unit: str = "caption") -> DocumentFrequencies:
    """In how many documents each n-gram of the training captions stands, punctuation left out.

    Args:
        train_captions: all captions of each image; images without any do not count.
        df_unit: `caption` (as the published program rewards) or `image` (as evaluation scores).

    Raises:
        ValueError: for an unknown unit, or when there is no caption.
    """
    _check_unit(df_unit)
    images = ([ptb_tokenize(caption) for caption in captions] for captions in train_captions if captions)
    if df_unit == "caption":
        return document_frequencies([caption] for captions in images for caption in captions)
    return document_frequencies(images)


def write_caption_text(folder: Path, text: _CaptionText) -> None:
    """Write `words.json`, and `document_frequencies.UNIT.json` for each unit."""
    by_count = sorted(text.words.items(), key=lambda item: (-item[1], item[0]))
    _write(folder / _WORDS_FILE, {"words": dict(by_count)})
    digest = _digest(folder)
    for unit, frequencies in text.frequencies.items():
        _write(folder / _FREQUENCIES_FILE.format(unit=unit), {"words_sha256": digest, **frequencies.to_json()})


def read_caption_text(folder: Path) -> _CaptionText:
    """Read what `write_caption_text` wrote, as many units as there are.

    Raises:
        DataError: when files are missing, damaged, or do not belong together.
    """
    present = [unit for unit in _UNITS if (folder / _FREQUENCIES_FILE.format(unit=unit)).is_file()]
    return _CaptionText(read_words(folder), {unit: read_frequencies(folder, unit) for unit in present})


def read_words(folder: Path) -> Counter[str]:
    """The words of a prepared data set and how often they stand there.

    Raises:
        DataError: when the file is missing or damaged.
    """
    path = folder / _WORDS_FILE
    words = _read(path).get("words")
    if not isinstance(words, dict) or any(type(count) is not int for count in words.values()):
        raise DataError(f"{path} is damaged: it has no counts of words.", _AGAIN)
    return Counter(words)


def read_frequencies(folder: Path, df_unit: str = "caption") -> DocumentFrequencies:
    """The document frequencies of a prepared data set.

    Raises:
        ValueError: for an unknown unit.
        DataError: when the file is missing or damaged, or was made with other words.
    """
    _check_unit(df_unit)
    path = folder / _FREQUENCIES_FILE.format(unit=df_unit)
    document = _read(path)
    if document.get("words_sha256") != _digest(folder):
        raise DataError(f"{path} was made with other words than those of {folder / _WORDS_FILE}.", _AGAIN)
    try:
        return DocumentFrequencies.from_json(document)
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}.", _AGAIN) from error


def _check_unit(unit: str) -> None:
    if unit not in _UNITS:
        raise ValueError(f"Expected `df_unit` to be one of {', '.join(_UNITS)}, but got {unit!r}")


def _digest(folder: Path) -> str:
    return hashlib.sha256(_read_bytes(folder / _WORDS_FILE)).hexdigest()


def _write(path: Path, document: Mapping[str, Any]) -> None:
    with whole_file(path) as handle:
        json.dump(document, handle, ensure_ascii=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(_read_bytes(path))
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}.", _AGAIN) from error
    if not isinstance(document, dict):
        raise DataError(f"{path} is damaged: it holds no JSON object.", _AGAIN)
    return document


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", _AGAIN) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.", _AGAIN) from error
