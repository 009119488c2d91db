from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import text_models
import torch
from torch import Tensor
from torch.testing import assert_close

from hlcli.embeddings.encoders import transformer
from hlcli.embeddings.encoders.choice import EncoderOptions, make_encoder
from hlcli.encoders import loading
from hlcli.errors import (
    DownloadError,
    HlcliError,
    InputError,
    MissingDependencyError,
)

from .encoder_parts import (
    encode,
    given_offline,  # noqa: F401
)

WORDS = text_models.BERT_WORDS
PIECES = {"cat": ["cat"], "dining table": ["din", "##ing", "table"], "Potted Plant": ["potted", "plant"]}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_models.write_bert(tmp_path_factory.mktemp("models") / "bert")


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
def test_a_hub_that_does_not_answer_is_asked_once(name: str, silent_hub: list[str], capfd: pytest.CaptureFixture[str]):
    import huggingface_hub

    with pytest.raises(DownloadError, match="cannot be fetched from the Hugging Face hub: no network"):
        encode(name, "cat")
    assert silent_hub == [huggingface_hub.constants.ENDPOINT]
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
