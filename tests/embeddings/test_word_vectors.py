"""Word vectors as text encoders: files in GloVe's form, spaCy's models."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import text_models

from hlcli.embeddings.encoders.choice import EncoderOptions, make_encoder
from hlcli.errors import (
    DataError,
    InputError,
    MissingDependencyError,
)

from .encoder_parts import encode

# Word vectors


@pytest.mark.parametrize("header", ["", "5 3\n"])
def test_glove_sums_the_words_as_the_papers_do_or_averages_them(tmp_path: Path, header: str):
    name = f"glove:{text_models.write_glove(tmp_path / 'words.txt', header=header)}"
    assert encode(name, "potted plant").tolist() == [0.125, 3.0, -1.0]
    assert encode(name, "potted plant", average=True).tolist() == [0.0625, 1.5, -0.5]
    assert encode(name, "cat").tolist() == encode(name, "Cat", average=True).tolist() == [1.0, 0.0, 0.5]


def test_every_word_without_a_vector_is_named_at_once(tmp_path: Path):
    path = text_models.write_glove(tmp_path / "words.txt")
    with pytest.raises(DataError, match=r"no vector for 3 of 5 words: tv, unicorn, zebra\.") as caught:
        make_encoder(f"glove:{path}", ["cat dog", "zebra", "tv", "unicorn"], EncoderOptions())
    assert "--names" in str(caught.value.hint)


def test_glove_takes_the_first_line_of_a_word_and_stops_when_all_are_found(tmp_path: Path):
    extra = "cat 9 9 9\ncat name@domain.com 1 2 3\nplant not a number\n"
    path = text_models.write_glove(tmp_path / "words.txt", extra=extra)
    assert encode(f"glove:{path}", "cat plant").tolist() == [1.125, 1.0, 0.5]


def test_a_second_vector_of_a_word_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = text_models.write_glove(tmp_path / "words.txt", extra="cat 9 9 9\nbird 1 2 3\n")
    assert encode(f"glove:{path}", "cat bird").tolist() == [2.0, 2.0, 3.5]
    assert "several vectors for cat; the first counts" in caplog.text


def test_a_token_with_blanks_is_not_taken_for_the_word_it_begins_with(tmp_path: Path):
    path = text_models.write_glove(tmp_path / "words.txt", extra="at name@domain.com 1 2 3\nat 4 5 6\n")
    assert encode(f"glove:{path}", "at").tolist() == [4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: a word and its numbers"),
        (b"PK\x03\x04\n", "line 1: a word and its numbers"),
        (b"dog 1 2 3\ncat 1 2\n", "line 2: 3 numbers were expected, got 2"),
        (b"dog 1 2 3\ncat 1 2 3 4\n", "line 2: 3 numbers were expected, got 4"),
        (gzip.compress(b"cat 1 2 3\n", mtime=0), "this is not a text file"),
        (b"1 3\ncat " + np.arange(3, dtype="<f4").tobytes(), "this is not a text file"),
        (b"dog 1 2 3\ncat 1 x 2\n", "line 2: numbers were expected"),
        (b"2 3\ncat 1 x 2\n", "line 2: numbers were expected"),
    ],
)
def test_a_damaged_file_of_vectors_is_told_with_its_line(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        encode(f"glove:{tmp_path / 'words.txt'}", "cat")
    with pytest.raises(DataError, match=r"gone\.txt cannot be read: No such file"):
        encode(f"glove:{tmp_path / 'gone.txt'}", "cat")


def test_spacy_averages_the_word_vectors_and_warns_of_words_without(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    name = f"spacy:{text_models.write_spacy(tmp_path / 'model', {'potted': [1.0, 2.0], 'plant': [3.0, -1.0]})}"
    assert encode(name, "potted plant").tolist() == [2.0, 0.5]
    assert caplog.text == ""
    assert encode(name, "potted fern").tolist() == [0.5, 1.0]
    assert "no vector for fern in 'potted fern'" in caplog.text


def test_a_spacy_model_needs_vectors_and_must_be_there(tmp_path: Path):
    with pytest.raises(InputError, match="has no word vectors"):
        encode(f"spacy:{text_models.write_spacy(tmp_path / 'model')}", "cat")
    with pytest.raises(MissingDependencyError) as caught:
        encode("spacy:no_such_model", "cat")
    assert caught.value.hint == "python -m spacy download no_such_model"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a folder of a spaCy model"):
        encode(f"spacy:{tmp_path / 'empty'}", "cat")
