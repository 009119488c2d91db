"""The words and document frequencies of a recipe's data: from its store, or counted where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hlcli.captioning.caption_text import build_frequencies, read_frequencies, read_words
from hlcli.captioning.tokens import count_words
from hlcli.captioning.vocabulary import Vocabulary, read_published_vocabulary
from hlcli.data.section import DataSection
from hlcli.data.store import faults_of_copy, open_records, split_captions, split_names, store_folder
from hlcli.errors import CheckpointError, DataError
from hlcli.files import write_json
from hlcli.json_text import read_json
from hlcli.metrics.captioning.cider import DocumentFrequencies

_VOCABULARY_FILE = "vocabulary.json"


def open_vocabulary(data: DataSection) -> Vocabulary:
    """The words that captions of a data set are made of.

    Raises:
        DataError: when there is none that is said often enough, or the file named is none.
    """
    if data.vocabulary is not None:
        return read_vocabulary(data.vocabulary)
    counts = _count(data)
    if not counts:
        raise DataError(f"No image of {data.name} has a caption.", "Captioning needs one of each image.")
    vocabulary = Vocabulary.from_counts(counts, data.min_word_count)
    if not any(vocabulary.counts):
        raise DataError(
            f"No word stands {data.min_word_count} times in the captions of {data.name}.", "Lower data.min_word_count."
        )
    return vocabulary


def read_vocabulary(path: Path) -> Vocabulary:
    """The words of a run's `vocabulary.json`, or of the reference's `vocab.pkl`; code inside it is never run.

    Raises:
        DataError: when the file is neither.
    """
    if path.suffix == ".pkl":
        return read_published_vocabulary(path)
    try:
        return Vocabulary.from_json(read_json(path))
    except (OSError, ValueError) as error:
        raise DataError(f"data.vocabulary: {path} cannot be read: {error}") from error


def open_frequencies(data: DataSection, unit: str) -> DocumentFrequencies:
    """In how many training captions (or images, by `unit`) each n-gram stands."""
    if _has_store(data):
        folder = store_folder(data)
        with faults_of_copy(data):
            return read_frequencies(folder, unit)
    return build_frequencies(split_captions(open_records(data, "train")), unit)


def write_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    """Keep a run's words."""
    write_json(folder / _VOCABULARY_FILE, vocabulary.to_json())


def check_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    """Refuse to resume a run with other words.

    Raises:
        CheckpointError: when they differ.
    """
    if read_vocabulary(folder / _VOCABULARY_FILE).fingerprint() != vocabulary.fingerprint():
        raise CheckpointError(
            f"The words of the data set are not those of {folder}.",
            f"Set data.vocabulary={folder / _VOCABULARY_FILE}, or start a new run.",
        )


def _has_store(data: DataSection) -> bool:
    return data.store is not None or not data.reads_directly


def _count(data: DataSection) -> Mapping[str, int]:
    """How often each word stands in train and val."""
    if _has_store(data):
        folder = store_folder(data)
        with faults_of_copy(data):
            return read_words(folder)
    present = split_names(data)
    splits = [split_captions(open_records(data, split)) for split in ("train", "val") if split in present]
    return count_words(caption for split in splits for captions in split for caption in captions)
