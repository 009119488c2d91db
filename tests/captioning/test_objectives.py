"""What a training loss of captions asks the network, and what it rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hlcli.captioning.batch import CaptionBatch, CaptionInputs
from hlcli.captioning.config import SelfCritical
from hlcli.captioning.objectives import CrossEntropyLoss
from hlcli.captioning.search import Hypotheses, Search
from hlcli.captioning.vocabulary import END, PADDING, Vocabulary
from hlcli.metrics.captioning.cider import cider_d, document_frequencies
from hlcli.metrics.captioning.ptb import ptb_tokenize

WORDS = Vocabulary.from_counts(dict.fromkeys(["a", "dog", "cat", "runs", "sits", "on", "grass"], 9), 1)
REFERENCES = [
    ["A dog runs.", "A dog runs on grass!"],
    ["A cat sits on grass", "a cat, a cat sits", "A cat."],
    ["A dog sits on a cat."],
]


class Stub(nn.Module):
    """A captioner that always says the same, and remembers what it was asked."""

    def __init__(self, texts: list[list[str]], greedy: list[list[str]]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(-0.5))
        self.dropout = nn.Dropout(0.1)
        self.texts, self.greedy_texts = texts, greedy
        self.asked: list[tuple[int, bool]] = []

    def forward(self, inputs: CaptionInputs, *, search: Search) -> Hypotheses:
        texts = self.greedy_texts if search.beam_size == 1 else self.texts
        self.asked.append((search.beam_size, self.training))
        ids = torch.zeros(len(texts), search.beam_size, search.max_length, dtype=torch.long)
        for row, image in enumerate(texts):
            for beam, text in enumerate(image):
                tokens = [*WORDS.encode(text.split()), END]
                ids[row, beam, : len(tokens)] = torch.tensor(tokens)
        log_probs = self.scale * torch.ones(ids.shape)
        return Hypotheses(ids, log_probs, log_probs.sum(-1))


def batch(rows: list[int]) -> CaptionBatch:
    return CaptionBatch(CaptionInputs(torch.zeros(len(rows), 3, 2, 2)), torch.tensor(rows), torch.zeros(0, 2), None)


def plain_rewards(rows: list[int], texts: list[list[str]], unit: str) -> Tensor:
    """CIDEr-D with the documents of the training captions, image by image."""
    tokenized = [[ptb_tokenize(caption) for caption in captions] for captions in REFERENCES]
    documents = [[caption] for captions in tokenized for caption in captions] if unit == "caption" else tokenized
    frequencies = document_frequencies(documents)
    values = [
        [cider_d([text], [tokenized[row]], frequencies).value for text in image]
        for row, image in zip(rows, texts, strict=True)
    ]
    return torch.tensor(np.array(values)).float()


def build(**options: Any) -> nn.Module:
    section = SelfCritical(beam_size=2, max_words=8, **options)

    def frequencies(unit: str) -> Any:
        from hlcli.captioning.caption_text import build_frequencies

        return build_frequencies(REFERENCES, unit)

    return section.build(WORDS, REFERENCES, frequencies)


@pytest.mark.parametrize("unit", ["caption", "image"])
def test_rewards_are_cider_of_each_caption_above_the_mean_of_its_image(unit: str) -> None:
    rows = [2, 0]
    texts = [["a dog sits on a cat", "a a dog"], ["a dog runs", "grass"]]
    model = Stub(texts, [])
    terms = build(df_unit=unit)(model, batch(rows))
    reward = plain_rewards(rows, texts, unit)
    assert reward.std() > 0.1
    expected = (-model.scale.detach() * (reward - reward.mean(dim=1, keepdim=True))).mean()
    torch.testing.assert_close(terms.trained["self_critical"], expected)
    torch.testing.assert_close(terms.noted["reward"], reward.mean())
    assert model.asked == [(2, True)]


def test_words_said_twice_are_rewarded_as_said() -> None:
    model = Stub([["a dog runs", "a a dog runs"]], [])
    terms = build()(model, batch([0]))
    reward = plain_rewards([0], [["a dog runs", "a a dog runs"]], "caption")
    assert reward[0, 0] > reward[0, 1]
    torch.testing.assert_close(terms.noted["reward"], reward.mean())


def test_a_greedy_baseline_is_what_the_network_says_without_dropout() -> None:
    texts, greedy = [["a cat sits", "grass"]], [["a cat sits on grass"]]
    model = Stub(texts, greedy).train()
    terms = build(baseline="greedy")(model, batch([1]))
    assert model.asked == [(2, True), (1, False)]
    assert model.training
    reward, baseline = plain_rewards([1], texts, "caption"), plain_rewards([1], greedy, "caption")
    torch.testing.assert_close(terms.noted["baseline"], baseline.mean())
    torch.testing.assert_close(terms.trained["self_critical"], (-model.scale.detach() * (reward - baseline)).mean())


def test_cross_entropy_says_how_many_words_it_is_the_mean_of() -> None:
    token_ids = torch.tensor([[2, 5, 6, END], [2, END, PADDING, PADDING]])

    class Even(nn.Module):
        def forward(self, inputs: CaptionInputs, token_ids: Tensor, image_index: Tensor | None) -> Tensor:
            return torch.zeros(*token_ids.shape, len(WORDS))

    whole = batch([0, 1])._replace(token_ids=token_ids)
    terms = CrossEntropyLoss()(Even(), whole)
    assert terms.weight == 4  # two words and an end, and an end
    torch.testing.assert_close(terms.trained["cross_entropy"], torch.tensor(float(np.log(len(WORDS)))))
