"""HIN's two ways from text to tokens: for the metrics (Penn Treebank) and for training (spaCy and the vocabulary)."""

from __future__ import annotations

from hlcli.captioning.padding import pad_captions
from hlcli.captioning.tokens import caption_tokens, count_words
from hlcli.captioning.vocabulary import Vocabulary
from hlcli.metrics.captioning.ptb import ptb_line, ptb_tokenize, ptb_tokens

from .cases import Case


def check_ptb_tokens(case: Case) -> None:
    pairs = case.about["pairs"]
    assert pairs
    for pair in pairs:
        raw = pair["raw"]
        if "java_line" in pair:
            assert ptb_line(raw) == pair["java_line"], raw
        tokens = pair["tokens"] if isinstance(pair["tokens"], str) else " ".join(pair["tokens"])
        assert " ".join(ptb_tokens(raw)) == ptb_tokenize(raw) == tokens, raw
        case.num_compared += 1


def check_text_pipeline(case: Case) -> None:
    about = case.about
    captions, tokens = about["captions"], about["tokens"]
    assert [caption_tokens(caption) for caption in captions] == tokens
    counts = count_words(captions)
    assert counts == about["freqs"]
    vocabulary = Vocabulary.from_counts(counts, about["min_freq"])
    assert list(vocabulary.tokens) == about["vocab_itos"]
    batch = pad_captions([tokens[index] for index in about["batch_indices"]], vocabulary)
    assert batch.tolist() == about["batch_tensor"]
    decoded = [" ".join(vocabulary.decode(ids)) for ids in batch[:, 1:].tolist()]
    assert decoded == about["decoded_from_column_1_joined"]
    case.num_compared += 1
