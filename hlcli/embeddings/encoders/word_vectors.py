"""Vectors of single words: a GloVe (or word2vec) text file, or a spaCy model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from hlcli.encoders.loading import Encoder, optional_package
from hlcli.errors import DataError, InputError, MissingDependencyError
from hlcli.progress import Progress

logger = logging.getLogger(__name__)

_NO_MODEL = (
    OSError, EOFError, ValueError, TypeError, RuntimeError, LookupError, AttributeError, ImportError, MemoryError,
)  # fmt: skip
"""What spaCy raises for a folder that holds no model, or a damaged one."""

_LINES_PER_REPORT = 50_000
_HEAD = 1 << 16
"""Bytes that are looked at to see whether a file is text."""

_CONTROL = bytes({*range(9), *range(14, 32)})


def glove_encoder(path: Path, texts: Sequence[str], *, average: bool) -> Encoder:
    """Sum (or mean) of the vectors of a text's words; words are what blanks part.

    A word counts as it is written, or else in lower case. Only the words of `texts` are kept, and reading ends when
    all of them are found, so that files of many gigabytes do.

    Args:
        path: a text file, one word and its numbers per line.
        texts: what will be encoded.
        average: divide the sum by the number of words. SALGL and SGRE do not.

    Raises:
        DataError: when the file cannot be read, has no vector for a word (all such words are named), or a damaged one.
    """
    written = {word for text in texts for word in text.split()}
    table = _read_vectors(path, written)
    vectors = {word: table[word if word in table else word.lower()] for word in written if _known(word, table)}
    unknown = sorted(written - vectors.keys())
    if unknown:
        raise DataError(
            f"{path} has no vector for {len(unknown)} of {len(written)} words: {', '.join(unknown)}.",
            "Give other words for their labels: --names FILE.yaml with lines `label: text`.",
        )

    def encode(text: str) -> Tensor:
        rows = np.stack([vectors[word] for word in text.split()])  # [words, E], float64
        return torch.from_numpy(rows.mean(axis=0) if average else rows.sum(axis=0))

    return Encoder(encode, {"words": "mean" if average else "sum"})


def _known(word: str, table: dict[str, np.ndarray]) -> bool:
    return word in table or word.lower() in table


def _read_vectors(path: Path, words: set[str]) -> dict[str, np.ndarray]:
    """Vectors of those words and of their lower-case forms; the first line of a word counts."""
    wanted = {form.encode() for word in words for form in (word, word.lower())}
    try:
        with open(path, "rb") as handle, Progress("Reading word vectors", unit="line") as bar:
            return _scan(handle, path, wanted, bar.advance)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _scan(handle: BinaryIO, path: Path, wanted: set[bytes], advance: Callable[[int], None]) -> dict[str, np.ndarray]:
    _check_text(handle, path)
    width, start = _width(handle, path)
    handle.seek(start)
    table: dict[str, np.ndarray] = {}
    waiting, repeated, number = set(wanted), set[str](), 0
    for number, line in enumerate(handle, start=2 if start else 1):
        if number % _LINES_PER_REPORT == 0:
            advance(_LINES_PER_REPORT)
        word, _, rest = line.partition(b" ")
        if word not in wanted:
            continue
        values = rest.split()
        if len(values) > width and not _is_number(values[0]):  # a token with blanks, such as `at name@domain.com`
            continue
        if word not in waiting:
            repeated.add(word.decode())
            continue
        table[word.decode()] = _numbers(values, width, path, number)
        waiting.remove(word)
        if not waiting:
            break
    advance(number % _LINES_PER_REPORT)
    if repeated:
        logger.warning("%s has several vectors for %s; the first counts.", path, ", ".join(sorted(repeated)))
    return table


def _check_text(handle: BinaryIO, path: Path) -> None:
    """Refuse archives and binary vectors; leaves the file at its beginning."""
    head = handle.read(_HEAD)
    handle.seek(0)
    if head.translate(None, _CONTROL) != head:
        raise DataError(
            f"{path}, line 1: a word and its numbers were expected, but this is not a text file.",
            "Unpack it if it is an archive; of word2vec take the text format.",
        )


def _is_number(value: bytes) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _width(handle: BinaryIO, path: Path) -> tuple[int, int]:
    """Numbers per line, and where the first word begins: after word2vec's header `words width`, if there is one."""
    fields = handle.readline(1 << 20).split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        return int(fields[1]), handle.tell()
    if len(fields) < 3:
        raise DataError(f"{path}, line 1: a word and its numbers were expected.", "Unpack it if it is an archive.")
    return len(fields) - 1, 0


def _numbers(values: list[bytes], width: int, path: Path, number: int) -> np.ndarray:
    try:
        vector = np.array([float(value) for value in values])
    except ValueError as error:
        raise DataError(f"{path}, line {number}: numbers were expected after the word ({error}).") from error
    if len(vector) != width:
        raise DataError(f"{path}, line {number}: {width} numbers were expected, got {len(vector)}.")
    return vector


def spacy_encoder(name: str) -> Encoder:
    """Mean of the vectors of a text's words, by a spaCy model's name or folder; a word without a vector counts as 0.

    Raises:
        InputError: when the model has no word vectors, or the folder holds no model.
        MissingDependencyError: when the model is not installed.
    """
    model = _load_spacy(optional_package("spacy", "spacy"), name)
    if not model.vocab.vectors_length:
        raise InputError(
            f"spacy:{name} has no word vectors.", "Take a model that has them: en_core_web_md or en_core_web_lg."
        )

    def encode(text: str) -> Tensor:
        words = model.make_doc(text)
        unknown = [word.text for word in words if not word.has_vector]
        if unknown:
            logger.warning("spacy:%s has no vector for %s in %r.", name, ", ".join(unknown), text)
        return torch.from_numpy(np.asarray(words.vector, dtype=np.float32).copy())

    return Encoder(encode, {"words": "mean"})


def _load_spacy(spacy: Any, name: str) -> Any:
    folder = Path(name).expanduser()
    try:
        return spacy.load(folder if folder.is_dir() else name)
    except _NO_MODEL as error:
        reason = str(error).strip().split("\n", 1)[0]
        if folder.is_dir():
            raise InputError(f"{name} is not a folder of a spaCy model: {reason}") from error
        raise MissingDependencyError(
            f"spacy:{name} is neither an installed model nor a folder.", f"python -m spacy download {name}"
        ) from error
