"""Every encoder of label names by one text: `bert-base-uncased`, `clip:RN50`, `glove:FILE`…"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hlcli.embeddings.encoders.clip import clip_encoder
from hlcli.embeddings.encoders.sentence import is_sentence_model, sentence_encoder
from hlcli.embeddings.encoders.transformer import transformer_encoder
from hlcli.embeddings.encoders.word_vectors import glove_encoder, spacy_encoder
from hlcli.encoders.loading import Encoder
from hlcli.errors import InputError

_PREFIXES = ("clip", "glove", "sentence", "spacy")


@dataclass(frozen=True)
class EncoderOptions:
    """Options that only some encoders know.

    Args:
        pooling: `paper`, `cls` or `mean`; for text models of the Hugging Face hub. None: what fits the model.
        variant: `salgl` or `sgre`; with pooling `paper` alone. None: `salgl`.
        average: mean of word vectors instead of their sum; for GloVe.
    """

    pooling: str | None = None
    variant: str | None = None
    average: bool = False


def make_encoder(name: str, texts: Sequence[str], options: EncoderOptions) -> Encoder:
    """The encoder of that name.

    Args:
        name: `clip:MODEL[/WEIGHTS or FILE]`, `glove:FILE`, `sentence:NAME`, `spacy:MODEL`, or a text model's name on
            the Hugging Face hub or folder.
        texts: what will be encoded; files of word vectors are read for these words alone.
        options: those that belong to the encoder.

    Raises:
        HlcliError: when it cannot be made; the kind says why.
    """
    kind, colon, rest = name.partition(":")
    if not colon or (kind not in _PREFIXES and Path(name).exists()):
        kind, rest = "sentence" if is_sentence_model(name) else "", name
    if kind and kind not in _PREFIXES:
        known = ", ".join(f"{prefix}:…" for prefix in _PREFIXES)
        raise InputError(f"--encoder: {name!r} is not known.", f"Write {known}, or a text model's name or folder.")
    if not rest:
        raise InputError(f"--encoder: {name!r} names no model or file.")
    _check_options(name, kind, options)
    match kind:
        case "clip":
            return clip_encoder(rest)
        case "glove":
            return glove_encoder(Path(rest).expanduser(), texts, average=options.average)
        case "sentence":
            return sentence_encoder(rest)
        case "spacy":
            return spacy_encoder(rest)
    return transformer_encoder(rest, pooling=options.pooling, variant=options.variant)


def _check_options(name: str, kind: str, options: EncoderOptions) -> None:
    if kind and (options.pooling or options.variant):
        option = "--pooling" if options.pooling else "--variant"
        raise InputError(f"{option} is for text models of the Hugging Face hub, not for {name}.")
    if options.average and kind != "glove":
        raise InputError(f"--average is for glove:FILE, not for {name}.")
