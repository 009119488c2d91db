from __future__ import annotations

import collections
import pickle
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlcli.captioning.vocabulary import BEGIN, END, PADDING, SPECIAL_TOKENS, Vocabulary, read_published_vocabulary
from hlcli.captioning.words import read_vocabulary
from hlcli.errors import DataError

COUNTS = {"dog": 9, "cat": 9, "Ant": 9, "rare": 4, "often": 5, "<unk>": 50}


def test_words_go_from_frequent_to_rare_and_by_alphabet_where_equal():
    vocabulary = Vocabulary.from_counts(COUNTS)
    assert vocabulary.tokens == (*SPECIAL_TOKENS, "Ant", "cat", "dog", "often")
    assert vocabulary.counts == (0, 0, 0, 0, 9, 9, 9, 5)
    assert len(Vocabulary.from_counts(COUNTS, min_count=1)) == 9


def test_unknown_words_are_number_zero_and_leave_no_trace():
    vocabulary = Vocabulary.from_counts(COUNTS)
    assert vocabulary.encode(["dog", "rare", "zebra", "rare"]) == [6, 0, 0, 0]
    assert len(vocabulary) == 8


def test_decoding_ends_before_the_first_end():
    vocabulary = Vocabulary.from_counts(COUNTS)
    assert vocabulary.decode([BEGIN, 6, 0, PADDING, END, 5, END]) == ["<bos>", "dog", "<unk>", "<pad>"]
    assert vocabulary.decode([]) == []


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 20)))
def test_a_vocabulary_survives_json_and_its_words_survive_numbers(counts):
    vocabulary = Vocabulary.from_counts(counts, 3)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert again.fingerprint() == vocabulary.fingerprint()
    words = list(vocabulary.tokens[4:])
    assert vocabulary.decode([*vocabulary.encode(words), END]) == words


def test_the_fingerprint_tells_words_and_order_but_not_counts():
    one = Vocabulary((*SPECIAL_TOKENS, "a b", "c"), (0, 0, 0, 0, 2, 1))
    assert one.fingerprint() == Vocabulary(one.tokens, (0, 0, 0, 0, 3, 1)).fingerprint()
    others = [(*SPECIAL_TOKENS, "c", "a b"), (*SPECIAL_TOKENS, "a", "b c"), (*SPECIAL_TOKENS, "a b")]
    assert len({one.fingerprint(), *(Vocabulary(t, (0,) * len(t)).fingerprint() for t in others)}) == 4


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "`tokens` and `counts`"),
        ({"tokens": list(SPECIAL_TOKENS)}, "`tokens` and `counts`"),
        ({"tokens": [1], "counts": [1]}, "`tokens` and `counts`"),
        ({"tokens": ["a"], "counts": [1]}, "begin with"),
        ({"tokens": list(SPECIAL_TOKENS), "counts": [0]}, "4 tokens, 1 counts"),
        ({"tokens": [*SPECIAL_TOKENS, "a", "a"], "counts": [0] * 6}, "'a' is there twice"),
    ],
)
def test_what_is_no_vocabulary_is_refused(document, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary.from_json(document)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Writes a `vocab.pkl` as the published program does, which is not there any more when it is read."""

    def write(itos, freqs, protocol=4, **more):
        module = types.ModuleType("common.data.vocab")
        Vocab = type("Vocab", (), {"__module__": "common.data.vocab"})
        module.Vocab, module._default_unk_index = (
            Vocab,
            types.FunctionType((lambda: 0).__code__, {}, "_default_unk_index"),
        )
        module._default_unk_index.__module__ = "common.data.vocab"
        module._default_unk_index.__qualname__ = "_default_unk_index"
        with monkeypatch.context() as patch:
            for name in ("common", "common.data"):
                patch.setitem(sys.modules, name, types.ModuleType(name))
            patch.setitem(sys.modules, "common.data.vocab", module)
            vocab = Vocab()
            stoi = collections.defaultdict(module._default_unk_index, {word: i for i, word in enumerate(itos)})
            vocab.__dict__.update({"freqs": freqs, "itos": itos, "stoi": stoi, "vectors": None, **more})
            (tmp_path / "vocab.pkl").write_bytes(pickle.dumps(vocab, protocol))
        return tmp_path / "vocab.pkl"

    return write


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_published_file_is_read_with_its_counts(published, protocol):
    freqs = collections.Counter({"a": 7, " ": 5, "rare": 1})
    vocabulary = read_published_vocabulary(published([*SPECIAL_TOKENS, "a", " "], freqs, protocol))
    assert vocabulary.tokens == (*SPECIAL_TOKENS, "a", " ")
    assert vocabulary.counts == (0, 0, 0, 0, 7, 5)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_a_published_file_is_run(published, capsys):
    path = published([*SPECIAL_TOKENS], collections.Counter(), evil=Evil())
    with pytest.raises(DataError, match=r"vocab\.pkl is no published vocabulary: it wants to use builtins\.print"):
        read_published_vocabulary(path)
    assert capsys.readouterr().out == ""


def test_other_files_are_refused_with_their_names(published, tmp_path):
    with pytest.raises(DataError, match="begin with"):
        read_published_vocabulary(published(["a"], collections.Counter()))
    with pytest.raises(DataError, match="no list of words"):
        read_published_vocabulary(published("abc", collections.Counter()))
    for content in (b"", b"no pickle", pickle.dumps({"itos": []})):
        (tmp_path / "other.pkl").write_bytes(content)
        with pytest.raises(DataError, match=r"other\.pkl is no published vocabulary"):
            read_published_vocabulary(tmp_path / "other.pkl")
    with pytest.raises(DataError, match=r"none\.pkl cannot be read: No such file"):
        read_published_vocabulary(tmp_path / "none.pkl")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8d" + b"\xff" * 8 + b".",  # a text of 2^64 - 1 bytes
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x00.",  # bytes, 2^56 - 1
        b"\x80\x04\x8e" + b"\x00" * 5 + b"\x10\x00\x00.",  # bytes, 2^44
    ],
)
def test_damaged_lengths_are_no_crash(tmp_path, content):
    (tmp_path / "vocab.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"vocab\.pkl is no published vocabulary"):
        read_published_vocabulary(tmp_path / "vocab.pkl")


def test_counts_that_are_no_numbers_are_refused(published):
    for count in (float("inf"), float("nan"), None, "x"):
        with pytest.raises(DataError, match=r"vocab\.pkl is no published vocabulary"):
            read_published_vocabulary(published([*SPECIAL_TOKENS, "a"], {"a": count}))


def test_json_of_a_hundred_thousand_brackets_is_refused(tmp_path):
    (tmp_path / "vocabulary.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"vocabulary\.json cannot be read"):
        read_vocabulary(tmp_path / "vocabulary.json")
