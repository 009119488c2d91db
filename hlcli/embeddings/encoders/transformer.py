"""Text transformers of the Hugging Face hub, BERT above all, with the token rule of SALGL and SGRE.

T pieces of a text, with [CLS] before them, give T + 1 hidden states of width E; one of them, or their mean, is the
label's vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hlcli.encoders.loading import Encoder, load_pretrained, optional_package
from hlcli.errors import InputError, named

_POOLINGS = ("paper", "cls", "mean")
_VARIANTS: Mapping[str, Mapping[str, int]] = {
    "salgl": {"token_type_ids": 1},
    "sgre": {"attention_mask": 1, "token_type_ids": 0},
}
"""What goes with the tokens of the papers' rule, the same number for every token."""


def transformer_encoder(name: str, *, pooling: str | None, variant: str | None) -> Encoder:
    """A text model by its name on the hub or its folder.

    Args:
        name: name or folder.
        pooling: `paper` is the rule of the two papers; `cls` the first hidden state, `mean` the mean of all, both with
            the special tokens that the model wants. None: `paper` where the model has a [CLS] token, else `mean`.
        variant: what goes with the tokens of `paper`. `salgl` marks them all as a second sentence; `sgre` meant to,
            but its marks land in the attention mask, where they change nothing. None: `salgl` where the model knows a
            second sentence.

    Raises:
        InputError: when an option is not known or does not fit the model.
    """
    for option, value, known in (("--pooling", pooling, _POOLINGS), ("--variant", variant, _VARIANTS)):
        if value is not None and value not in known:
            raise InputError(f"{option}: one of {', '.join(known)} was expected (got {value!r}).")
    model, tokenizer = _load(name)
    has_cls = tokenizer.cls_token_id is not None
    pooling = pooling or ("paper" if has_cls else "mean")
    if pooling != "mean" and not has_cls:
        raise InputError(f"--pooling: {name} has no [CLS] token; only mean fits (got {pooling!r}).")
    if pooling != "paper":
        if variant is not None:
            raise InputError(f"--variant belongs to --pooling paper (got {pooling}).")
        return Encoder(_pooled(model, tokenizer, first=pooling == "cls"), {"pooling": pooling})
    knows_segments = getattr(model.config, "type_vocab_size", 0) >= 2
    if variant is not None and not knows_segments:
        raise InputError(f"--variant: {name} cannot tell a second sentence; leave the option away (got {variant!r}).")
    variant = variant or ("salgl" if knows_segments else None)
    return Encoder(_by_token_rule(model, tokenizer, variant), {"pooling": pooling, "variant": variant})


def _by_token_rule(model: Any, tokenizer: Any, variant: str | None) -> Callable[[str], Tensor]:
    """[CLS] and the pieces, no [SEP]; a text of one piece is that piece's hidden state, any other that of [CLS]."""

    @torch.no_grad()
    def encode(text: str) -> Tensor:
        pieces = tokenizer(text, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        token_ids = torch.tensor([[tokenizer.cls_token_id, *pieces]])  # [1, 1 + T]
        _check_length(text, token_ids, model, tokenizer)
        inputs = {"input_ids": token_ids}
        inputs |= {name: torch.full_like(token_ids, value) for name, value in _VARIANTS.get(variant or "", {}).items()}
        hidden = model(**inputs).last_hidden_state[0]  # [1 + T, E]
        return hidden[1] if len(hidden) == 2 else hidden[0]

    return encode


def _pooled(model: Any, tokenizer: Any, *, first: bool) -> Callable[[str], Tensor]:
    """The first hidden state, or the mean of all."""

    @torch.no_grad()
    def encode(text: str) -> Tensor:
        inputs = tokenizer(text, return_tensors="pt")
        _check_length(text, inputs["input_ids"], model, tokenizer)
        hidden = model(**inputs).last_hidden_state[0]  # [T, E]
        return hidden[0] if first else hidden.mean(dim=0)

    return encode


def _check_length(text: str, token_ids: Tensor, model: Any, tokenizer: Any) -> None:
    limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None) or 2**31)
    if token_ids.shape[1] > limit:
        raise InputError(f"A text of {token_ids.shape[1]} tokens is too long for this model ({limit}): {text[:60]!r}…")


def _load(name: str) -> tuple[Any, Any]:
    """Model in evaluation mode and float32, and its tokenizer. Code that comes with a model is never run."""
    transformers = optional_package("transformers", "transformers")
    where = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name

    def load(offline: bool) -> tuple[Any, Any, dict[str, Any]]:
        options: dict[str, Any] = {"local_files_only": offline, "trust_remote_code": False}
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **options)
        model, info = transformers.AutoModel.from_pretrained(where, output_loading_info=True, **options)
        return model, tokenizer, info

    with _quiet(transformers.utils.logging):
        model, tokenizer, info = load_pretrained(name, load)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise InputError(f"{name}: {len(missing)} weights are missing ({named(missing, 3)}).")
    if hasattr(model.config, "vision_config"):
        raise InputError(f"{name} is a model of images and text.", "CLIP models go by clip:NAME, e.g. clip:ViT-B-32.")
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    return model.float().eval(), tokenizer


@contextmanager
def _quiet(library_log: Any) -> Iterator[None]:
    """No report on the heads of a checkpoint, which nobody asked for; missing weights are our own business."""
    level, had_bars = library_log.get_verbosity(), library_log.is_progress_bar_enabled()
    library_log.set_verbosity_error()
    library_log.disable_progress_bar()
    try:
        yield
    finally:
        library_log.set_verbosity(level)
        if had_bars:
            library_log.enable_progress_bar()
