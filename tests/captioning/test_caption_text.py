from __future__ import annotations

import json

import pytest

from hlcli.captioning.caption_text import (
    build_caption_text,
    build_frequencies,
    read_caption_text,
    read_frequencies,
    read_words,
    write_caption_text,
)
from hlcli.errors import DataError

TRAIN = [["A dog runs.", "The dog runs!"], ["A cat."], []]
VAL = [["A bird runs."]]


def test_words_are_of_train_and_val_but_frequencies_of_train_only():
    text = build_caption_text(TRAIN, VAL)
    assert text.words == {"a": 3, "dog": 2, "runs": 3, "the": 1, "cat": 1, "bird": 1}
    caption, image = text.frequencies["caption"], text.frequencies["image"]
    assert caption.num_documents == 3
    assert image.num_documents == 2  # an image without captions is no document
    assert caption.counts["a"] == 2
    assert caption.counts["dog runs"] == 2
    assert image.counts["a"] == 2
    assert image.counts.get("dog runs", 1) == 1
    assert "bird" not in caption.counts


def test_frequencies_are_of_the_tokens_that_the_metrics_see():
    frequencies = build_frequencies([["It can't (run)", "We can't (run)."]], "caption")
    assert frequencies.counts["ca n't -lrb- run"] == 2


@pytest.mark.parametrize("units", [("caption",), ("caption", "image")])
def test_what_was_written_is_read(tmp_path, units):
    text = build_caption_text(TRAIN, VAL, df_units=units)
    write_caption_text(tmp_path, text)
    assert read_caption_text(tmp_path) == text
    assert read_words(tmp_path) == text.words
    assert list(read_words(tmp_path))[:2] == ["a", "runs"]  # frequent ones first, for the eye
    assert read_frequencies(tmp_path, "caption") == text.frequencies["caption"]


def test_frequencies_made_with_other_words_are_refused(tmp_path):
    write_caption_text(tmp_path, build_caption_text(TRAIN, VAL))
    other = tmp_path / "other"
    write_caption_text(other, build_caption_text(TRAIN, []))
    (other / "words.json").replace(tmp_path / "words.json")
    with pytest.raises(DataError, match=r"image\.json was made with other words .* Run hlcli preprocess again\."):
        read_frequencies(tmp_path, "image")
    with pytest.raises(DataError, match="made with other words"):
        read_caption_text(tmp_path)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"words\.json is missing\. Run hlcli preprocess again\."):
        read_words(tmp_path)
    with pytest.raises(DataError, match=r"document_frequencies\.caption\.json is missing"):
        read_frequencies(tmp_path)
    write_caption_text(tmp_path, build_caption_text(TRAIN))
    path = tmp_path / "document_frequencies.caption.json"
    document = json.loads(path.read_text())
    for content, message in (
        ("{", "is damaged"),
        ("[]", "no JSON object"),
        (json.dumps(document | {"counts": 5}), "is damaged: Expected document frequencies"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_frequencies(tmp_path)
    (tmp_path / "words.json").write_text('{"words": {"a": "b"}}')
    with pytest.raises(DataError, match="no counts of words"):
        read_words(tmp_path)


def test_unknown_units_and_no_captions_are_wrong_arguments():
    with pytest.raises(ValueError, match="one of caption, image, but got 'word'"):
        build_frequencies(TRAIN, "word")
    with pytest.raises(ValueError, match="document"):
        build_caption_text([[]])
