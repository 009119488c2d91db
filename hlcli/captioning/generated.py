"""Captions as sentences: what a search found, put into words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hlcli.captioning.tokens import collapse_repeats

if TYPE_CHECKING:
    from hlcli.captioning.search import Hypotheses
    from hlcli.captioning.vocabulary import Vocabulary


class GeneratedCaption(NamedTuple):
    """A sentence a model says of an image; `log_prob` is the sum over its words, the end mark among them."""

    text: str
    log_prob: float


def read_captions(found: Hypotheses, vocabulary: Vocabulary) -> list[list[GeneratedCaption]]:
    """Token ids as sentences, in their order; words said twice in a row are said once."""
    log_probs = found.log_probs.double().sum(dim=-1).tolist()  # [B, n]
    return [
        [
            GeneratedCaption(" ".join(collapse_repeats(vocabulary.decode(ids))).strip(), log_prob)
            for ids, log_prob in zip(image, image_log_probs, strict=True)
        ]
        for image, image_log_probs in zip(found.token_ids.tolist(), log_probs, strict=True)
    ]
