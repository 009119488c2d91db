"""Cross entropy and self-critical training of a captioner; both are losses for the one loop.

Shapes: B images, P captions, T their tokens, K beams, V vocabulary.
"""

from __future__ import annotations

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from hlcli.captioning.batch import CaptionBatch
from hlcli.captioning.losses import cross_entropy_loss, self_critical_loss
from hlcli.captioning.search import Hypotheses, Search
from hlcli.captioning.vocabulary import PADDING, Vocabulary
from hlcli.losses.terms import Terms
from hlcli.metrics.captioning.cider import CiderD
from hlcli.metrics.captioning.ptb import ptb_tokenize


class CaptionLoss(nn.Module):
    """What a captioner is trained for."""

    lr_factor: float = 1.0

    def forward(self, model: nn.Module, batch: CaptionBatch) -> Terms:
        """The loss of a batch; `model` is called as `Captioner.forward`."""
        raise NotImplementedError


class CrossEntropyLoss(CaptionLoss):
    """Mean negative log-likelihood of the next word over all words that are no padding: (13) in docs/methods/hin.md."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, model: nn.Module, batch: CaptionBatch) -> Terms:
        """One term."""
        logits = model(batch.inputs, batch.token_ids, batch.image_index)  # [P, T, V] or [B, K, T, V]
        loss = cross_entropy_loss(logits, batch.token_ids, PADDING, label_smoothing=self.label_smoothing)
        num_words = (batch.token_ids[..., 1:] != PADDING).sum()
        return Terms({"cross_entropy": loss}, weight=num_words)


class SelfCriticalLoss(CaptionLoss):
    """-(mean log-probability) · (reward − baseline) over the beams of every image: (15) in docs/methods/hin.md.

    Rennie et al., "Self-critical Sequence Training for Image Captioning", 2017.

    Args:
        vocabulary: words of the token ids.
        reward: CIDEr-D against the references of every training image.
        beam_size: K.
        max_words: of the longest caption that is searched, its end counted.
        greedy_baseline: take the greedy caption's reward as baseline instead of the beams' mean.
        through_search: let gradients flow through the search; else through one pass over the captions it found.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        reward: CiderD,
        *,
        beam_size: int = 5,
        max_words: int = 20,
        greedy_baseline: bool = False,
        through_search: bool = True,
    ) -> None:
        super().__init__()
        self.vocabulary, self.reward = vocabulary, reward
        self.beam_size, self.max_words = beam_size, max_words
        self.greedy_baseline, self.through_search = greedy_baseline, through_search

    def forward(self, model: nn.Module, batch: CaptionBatch) -> Terms:
        """One term; the mean reward and baseline beside it."""
        rows = batch.rows.tolist()
        found = model(batch.inputs, search=Search(self.beam_size, self.max_words, self.through_search))
        reward = self._rewards(rows, found.token_ids).to(found.log_probs)  # [B, K]
        baseline = reward.mean(dim=1, keepdim=True)
        if self.greedy_baseline:
            greedy = _test_time(model, batch, Search(1, self.max_words))
            baseline = self._rewards(rows, greedy.token_ids).to(reward)  # [B, 1]
        loss = self_critical_loss(found.log_probs, reward, baseline)
        return Terms({"self_critical": loss}, {"reward": reward.mean(), "baseline": baseline.mean()})

    def _rewards(self, rows: list[int], token_ids: Tensor) -> Tensor:
        """CIDEr-D of captions [B, K, T] against the references of their images: [B, K] on the CPU."""
        hypotheses = [
            ptb_tokenize(" ".join(self.vocabulary.decode(ids))) for image in token_ids.tolist() for ids in image
        ]
        beams = token_ids.shape[1]
        scores = self.reward.scores([row for row in rows for _ in range(beams)], hypotheses)
        return torch.from_numpy(scores).float().reshape(-1, beams)


@torch.no_grad()
def _test_time(model: nn.Module, batch: CaptionBatch, search: Search) -> Hypotheses:
    """What the network says without dropout; no gradients flow, so what shares them is left out."""
    network = extract_model_from_parallel(model)
    was_training = network.training
    network.eval()
    found = network(batch.inputs, search=search)
    network.train(was_training)
    return found
