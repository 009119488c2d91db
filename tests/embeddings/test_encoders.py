from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import text_models
import torch
from torch import Tensor
from torch.testing import assert_close

from hlcli.embeddings.encoders import loading, transformer
from hlcli.embeddings.encoders.choice import EncoderOptions, make_encoder
from hlcli.errors import (
    CheckpointError,
    DataError,
    DownloadError,
    HlcliError,
    InputError,
    MissingDependencyError,
)

WORDS = text_models.BERT_WORDS
PIECES = {"cat": ["cat"], "dining table": ["din", "##ing", "table"], "Potted Plant": ["potted", "plant"]}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_models.write_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def encode(name: str, text: str, **options: Any) -> Tensor:
    return make_encoder(name, [text], EncoderOptions(**options)).encode(text)


def hidden_states(folder: Path, pieces: list[str], **inputs: Tensor) -> Tensor:
    """Last hidden states of the tokens, from the model alone."""
    from transformers import BertModel

    ids = torch.tensor([[WORDS.index(piece) for piece in pieces]])
    with torch.no_grad():
        return BertModel.from_pretrained(folder).eval()(input_ids=ids, **inputs).last_hidden_state[0]


# BERT, as SALGL and SGRE read it


@pytest.mark.parametrize("text", PIECES)
def test_salgl_variant_marks_all_tokens_as_second_sentence_and_has_no_end_token(bert: Path, text: str):
    tokens = ["[CLS]", *PIECES[text]]
    hidden = hidden_states(bert, tokens, token_type_ids=torch.ones(1, len(tokens), dtype=torch.long))
    expected = hidden[1] if len(tokens) == 2 else hidden[0]
    assert_close(encode(str(bert), text, variant="salgl"), expected)
    assert_close(encode(str(bert), text), expected)  # the default


@pytest.mark.parametrize("text", PIECES)
def test_sgre_variant_leaves_tokens_unmarked(bert: Path, text: str):
    tokens = ["[CLS]", *PIECES[text]]
    ones = torch.ones(1, len(tokens), dtype=torch.long)
    hidden = hidden_states(bert, tokens, attention_mask=ones, token_type_ids=0 * ones)
    assert_close(encode(str(bert), text, variant="sgre"), hidden[1] if len(tokens) == 2 else hidden[0])


def test_variants_and_poolings_give_different_vectors_and_are_told(bert: Path):
    options: list[dict[str, str]] = [{"variant": "salgl"}, {"variant": "sgre"}, {"pooling": "cls"}, {"pooling": "mean"}]
    vectors = [encode(str(bert), "dining table", **chosen) for chosen in options]
    for index, vector in enumerate(vectors):
        assert all((vector - other).abs().max() > 0.01 for other in vectors[:index])
    assert make_encoder(str(bert), [], EncoderOptions()).settings == {"pooling": "paper", "variant": "salgl"}
    assert make_encoder(str(bert), [], EncoderOptions("mean")).settings == {"pooling": "mean"}


def test_cls_and_mean_use_the_special_tokens_of_the_model(bert: Path):
    hidden = hidden_states(bert, ["[CLS]", "din", "##ing", "table", "[SEP]"])
    assert_close(encode(str(bert), "dining table", pooling="cls"), hidden[0])
    assert_close(encode(str(bert), "dining table", pooling="mean"), hidden.mean(dim=0))


def test_a_model_without_cls_token_is_averaged_unless_it_is_asked_for_what_it_cannot_do(
    monkeypatch: pytest.MonkeyPatch,
):
    class Tokenizer:
        cls_token_id, model_max_length = None, 8

        def __call__(self, text: str, return_tensors: str) -> dict[str, Tensor]:
            return {"input_ids": torch.tensor([[1, 3]])}

    class Model:
        config = SimpleNamespace()

        def __call__(self, input_ids: Tensor) -> SimpleNamespace:
            return SimpleNamespace(last_hidden_state=input_ids[..., None].float())

    monkeypatch.setattr(transformer, "_load", lambda name: (Model(), Tokenizer()))
    assert encode("gpt", "cat").tolist() == [2.0]
    with pytest.raises(InputError, match=r"gpt has no \[CLS\] token; only mean fits \(got 'paper'\)"):
        encode("gpt", "cat", pooling="paper")


def test_a_variant_needs_a_model_that_knows_a_second_sentence(tmp_path: Path):
    folder = text_models.write_bert(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text()) | {"type_vocab_size": 1}
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**config)).save_pretrained(folder)
    assert make_encoder(str(folder), [], EncoderOptions()).settings == {"pooling": "paper", "variant": None}
    assert encode(str(folder), "cat").isfinite().all()
    with pytest.raises(InputError, match=r"cannot tell a second sentence.*\(got 'salgl'\)"):
        encode(str(folder), "cat", variant="salgl")


def test_a_text_too_long_for_the_model_is_an_error_not_a_crash(bert: Path):
    for pooling in ("paper", "mean"):
        with pytest.raises(InputError, match=r"too long for this model \(12\): 'cat cat"):
            encode(str(bert), "cat " * 12, pooling=pooling)


def test_a_half_precision_model_computes_in_float32(bert: Path, tmp_path: Path):
    from transformers import AutoTokenizer, BertModel

    BertModel.from_pretrained(bert).half().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    vector = encode(str(tmp_path), "cat")
    assert vector.dtype == torch.float32
    assert_close(vector, encode(str(bert), "cat"), rtol=0, atol=0.05)


def test_a_model_with_missing_weights_is_refused_instead_of_made_up(bert: Path, tmp_path: Path):
    from transformers import BertModel

    model = BertModel.from_pretrained(bert)
    state = {key: value for key, value in model.state_dict().items() if "layer.1" not in key}
    text_models.write_bert(tmp_path)
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(InputError, match=r"16 weights are missing \(encoder\.layer\.1"):
        encode(str(tmp_path), "cat")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nobody/no-such-model", DownloadError, "nobody/no-such-model cannot be fetched from the Hugging Face hub"),
        ("sentence-transformers/none", DownloadError, "cannot be fetched"),
        ("sentence:nobody/none", DownloadError, "cannot be fetched"),
        ("bad name", InputError, "'bad name' is neither a folder nor a name on the Hugging Face hub"),
        ("sentence:a/b/c", InputError, "neither a folder nor a name"),
        ("./no-such-folder", InputError, "not a folder of a text model"),
        ("bert:base", InputError, "'bert:base' is not known"),
        ("clip:", InputError, "names no model"),
        ("", InputError, "names no model"),
    ],
)
def test_a_model_that_is_not_there_is_told_by_its_name(name: str, kind: type[HlcliError], message: str):
    with pytest.raises(kind, match=message) as caught:
        encode(name, "cat")
    assert type(caught.value) is kind


@pytest.mark.parametrize("name", ["nobody/no-such-model", "sentence:nobody/none"])
def test_a_hub_that_does_not_answer_is_asked_once(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    import huggingface_hub

    asked: list[str] = []

    def head(url: str, **options: Any) -> None:
        asked.append(url)
        raise httpx.ConnectError("no network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(httpx, "head", head)
    with pytest.raises(DownloadError, match="cannot be fetched from the Hugging Face hub: no network"):
        encode(name, "cat")
    assert asked == [huggingface_hub.constants.ENDPOINT]
    assert capfd.readouterr() == ("", "")


def test_a_folder_without_a_model_is_wrong_input(tmp_path: Path, bert: Path):
    with pytest.raises(InputError, match="is not a folder of a text model"):
        encode(str(tmp_path), "cat")
    damaged = text_models.write_bert(tmp_path / "bert")
    (damaged / "model.safetensors").write_bytes((bert / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match="bert is not a folder of a text model"):
        encode(str(damaged), "cat")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("BERT", {"pooling": "max"}, "--pooling: one of paper, cls, mean was expected"),
        ("BERT", {"variant": "hleg"}, "--variant: one of salgl, sgre was expected"),
        ("BERT", {"pooling": "cls", "variant": "sgre"}, "--variant belongs to --pooling paper"),
        ("BERT", {"average": True}, "--average is for glove:FILE"),
        ("clip:RN50", {"pooling": "cls"}, "--pooling is for text models"),
        ("glove:words.txt", {"variant": "sgre"}, "--variant is for text models"),
    ],
)
def test_options_that_an_encoder_does_not_know_are_refused(
    bert: Path, name: str, options: dict[str, Any], message: str
):
    with pytest.raises(InputError, match=message):
        encode(str(bert) if name == "BERT" else name, "cat", **options)


def test_a_package_that_is_not_installed_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch):
    def missing(module: str) -> None:
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(loading, "import_module", missing)
    for name, line in (
        ("clip:RN50", 'pip install "hlcli[clip]"'),
        ("bert-base-uncased", "pip install transformers"),
        ("sentence-transformers/x", "pip install sentence-transformers"),
        ("spacy:en_core_web_md", "pip install spacy"),
    ):
        with pytest.raises(MissingDependencyError) as caught:
            encode(name, "cat")
        assert caught.value.hint == line


# sentence-transformers


def test_a_sentence_transformers_folder_uses_its_own_pooling(bert: Path, tmp_path: Path):
    folder = text_models.write_sentence_model(tmp_path / "sentences")
    expected = hidden_states(bert, ["[CLS]", "din", "##ing", "table", "[SEP]"]).mean(dim=0)
    assert_close(encode(str(folder), "dining table"), expected)
    assert_close(encode(f"sentence:{folder}", "dining table"), expected)


def test_a_sentence_transformers_folder_cannot_bring_its_own_code(tmp_path: Path):
    folder = text_models.write_sentence_model(tmp_path / "sentences", code="modeling")
    (folder / "modeling.py").write_text("raise SystemExit('run')")
    with pytest.raises(InputError, match=r"not part of sentence-transformers: modeling\.Transformer"):
        encode(str(folder), "cat")
    (folder / "modules.json").write_text('{"type": 1}')
    with pytest.raises(InputError, match="does not list the modules"):
        encode(str(folder), "cat")


# CLIP


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_models.write_clip(tmp_path_factory.mktemp("clip"))


def test_clip_encodes_with_the_weights_of_a_file(clip_weights: Path):
    import open_clip

    model = open_clip.create_model("tiny-clip").eval()
    model.load_state_dict(torch.load(clip_weights, weights_only=True))
    with torch.no_grad():
        expected = model.encode_text(open_clip.tokenize(["a photo of a cat"]))[0]
    assert_close(encode(f"clip:tiny-clip/{clip_weights}", "a photo of a cat"), expected)


def test_published_clip_weights_get_the_activation_that_they_were_trained_with(monkeypatch: pytest.MonkeyPatch):
    import open_clip

    asked: list[tuple[str, str, bool]] = []

    def create_model(name: str, *, pretrained: str, force_quick_gelu: bool) -> Any:
        asked.append((name, pretrained, force_quick_gelu))
        raise RuntimeError("no network\nand more")

    monkeypatch.setattr(httpx, "head", lambda url, **options: None)
    monkeypatch.setattr(open_clip, "create_model", create_model)
    for name in ("clip:ViT-B/32", "clip:RN50", "clip:ViT-B-32/laion2b_s34b_b79k"):
        with pytest.raises(DownloadError, match="cannot be fetched: no network Without") as caught:
            encode(name, "cat")
        assert "clip:" in str(caught.value.hint)
    assert asked == [
        ("ViT-B-32", "openai", True), ("RN50", "openai", True), ("ViT-B-32", "laion2b_s34b_b79k", False),
    ]  # fmt: skip


def test_unknown_clip_names_are_told_with_those_that_exist(clip_weights: Path, tmp_path: Path):
    with pytest.raises(InputError) as caught:
        encode("clip:RN5", "cat")
    assert "RN50" in str(caught.value.hint)
    with pytest.raises(InputError) as caught:
        encode("clip:RN50/opnai", "cat")
    assert "openai" in str(caught.value.hint)
    with pytest.raises(InputError, match="clip:tiny-clip/openai is neither a file nor a published set"):
        encode("clip:tiny-clip", "cat")
    text_models.write_clip(tmp_path, "wider-clip", width=32)
    with pytest.raises(CheckpointError, match="does not hold the weights of wider-clip"):
        encode(f"clip:wider-clip/{clip_weights}", "cat")
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"broken\.pt does not hold the weights of tiny-clip"):
        encode(f"clip:tiny-clip/{tmp_path / 'broken.pt'}", "cat")


@pytest.mark.parametrize("name", ["tiny", "own.json", '{"embed_dim": 8}'])
def test_clip_models_without_trained_weights_encode_nothing(name: str):
    with pytest.raises(InputError, match=r"has no trained weights: its texts would mean nothing") as caught:
        encode(f"clip:{name}", "cat")
    assert "model.graph=clip asks the model's own text encoder" in str(caught.value.hint)


def test_clip_leaves_the_root_logger_as_it_was(clip_weights: Path):
    before = list(logging.getLogger().handlers)
    encode(f"clip:tiny-clip/{clip_weights}", "cat")
    assert logging.getLogger().handlers == before


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
