"""Images → captions → scores: every image of a split once, on any number of processes, for one or more models."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from hlcli.building import eval_transform, normalize
from hlcli.captioning.batch import CaptionBatch
from hlcli.captioning.generated import GeneratedCaption, read_captions
from hlcli.captioning.loader import (
    CaptionRows,
    WithoutChance,
    make_caption_loader,
    open_inputs,
)
from hlcli.captioning.losses import cross_entropy_loss
from hlcli.captioning.vocabulary import PADDING, Vocabulary
from hlcli.data.loader import whole_batches
from hlcli.data.loader_processes import batches
from hlcli.data.store import open_records, split_captions
from hlcli.errors import DataError
from hlcli.launching import Processes, from_first
from hlcli.metrics.captioning.summary import CaptionMetrics, caption_metrics
from hlcli.profiling import phase
from hlcli.progress import Progress
from hlcli.recipe import Recipe
from hlcli.sharding import without_gradients

if TYPE_CHECKING:
    from accelerate import Accelerator


logger = logging.getLogger(__name__)


class _ScoredCaptions(NamedTuple):
    """What one model says about a split. `loss` is the mean cross entropy of the references' words."""

    captions: list[GeneratedCaption]
    metrics: CaptionMetrics
    loss: float

    def numbers(self) -> dict[str, float | None]:
        """Loss and metrics by name."""
        return {"loss": self.loss, **self.metrics.to_json()}


class CaptionScorer:
    """A split with all that is needed to measure captioners on it.

    Args:
        recipe: its data and evaluation sections count.
        vocabulary: the models' words.
        accelerator: device, precision, processes.
        split: which one.
        batch_size: images per step; default the recipe's.
    """

    def __init__(
        self,
        recipe: Recipe,
        vocabulary: Vocabulary,
        accelerator: Accelerator | Processes,
        split: str,
        *,
        batch_size: int | None = None,
    ) -> None:
        self.recipe, self.vocabulary, self.accelerator, self.split = recipe, vocabulary, accelerator, split
        self.records = open_records(recipe.data, split)
        self.references = split_captions(self.records)
        silent = [row for row, texts in enumerate(self.references) if not texts]
        if silent:
            raise DataError(
                f"{len(silent)} of {len(self.references):,} images of split {split} have no caption to compare with: "
                f"{self.records[silent[0]].image_id}, …."
            )
        self.normalize = normalize(recipe.data).to(accelerator.device)
        rows = CaptionRows(
            self.records,
            open_inputs(recipe.data, WithoutChance(eval_transform(recipe.data))),
            vocabulary,
            max_words=recipe.model.most_words(),
        )
        shares = whole_batches(
            len(self.records),
            batch_size or recipe.eval.batch_size,
            accelerator.process_index,
            accelerator.num_processes,
        )
        self.loader = make_caption_loader(rows, shares, workers=recipe.data.workers, device=accelerator.device)

    def on_device(self, batch: CaptionBatch) -> CaptionBatch:
        """Move a batch and turn its images into floats."""
        return on_device(batch, self.accelerator.device, self.normalize)

    def score(
        self, models: Sequence[nn.Module], *, check: Callable[[], None] = lambda: None, title: str = ""
    ) -> list[_ScoredCaptions]:
        """Captions and metrics of networks in evaluation mode; each image is loaded once."""
        said: list[list[tuple[int, GeneratedCaption]]] = [[] for _ in models]
        sums: list[list[tuple[float, int]]] = [[] for _ in models]
        title = title or f"Captioning {self.split}"
        with without_gradients(models), Progress(title, total=len(self.records), unit="image") as bar:
            for found in batches(self.loader):
                with phase("data"):
                    batch = self.on_device(found)  # type: ignore[arg-type]
                for model, captions, losses in zip(models, said, sums, strict=True):
                    with self.accelerator.autocast():
                        with phase("forward"):
                            memory = model.encode(batch.inputs)  # type: ignore[operator]
                        with phase("search"):
                            hypotheses = self.recipe.eval.find_captions(
                                model.network,  # type: ignore[arg-type]
                                memory,
                                first_row=int(batch.rows[0]),
                            )
                        texts = [image[0] for image in read_captions(hypotheses, self.vocabulary)]
                        with phase("forward"):
                            losses.append(_cross_entropy(model, memory, batch))
                    captions += zip(batch.rows.tolist(), texts, strict=True)
                share = len(batch.rows) * self.accelerator.num_processes
                bar.advance(min(share, len(self.records) - bar.count))
                check()
        return [self._measure(captions, losses) for captions, losses in zip(said, sums, strict=True)]

    def _measure(self, own: list[tuple[int, GeneratedCaption]], own_sums: list[tuple[float, int]]) -> _ScoredCaptions:
        """All processes' captions in the order of the split, measured by the first one."""
        many = self.accelerator.num_processes > 1
        captions = dict(gather_object(own) if many else own)
        sums = gather_object(own_sums) if many else own_sums
        if sorted(captions) != list(range(len(self.records))):
            raise RuntimeError(f"{len(captions)} images were captioned, {len(self.records)} were expected")
        ordered = [captions[row] for row in range(len(captions))]
        texts = [caption.text for caption in ordered]
        if self.accelerator.is_main_process and (silent := texts.count("")):
            logger.warning("%d of %d captions of %s have no word.", silent, len(ordered), self.split)
        with phase("metrics"):
            names = self.recipe.eval.caption_metrics
            metrics = from_first(self.accelerator, lambda: caption_metrics(texts, self.references, names=names))
        loss = math.fsum(total for total, _ in sums) / max(1, sum(count for _, count in sums))
        return _ScoredCaptions(ordered, metrics, loss)


def on_device(batch: CaptionBatch, device: torch.device, to_floats: Callable[[Tensor], Tensor]) -> CaptionBatch:
    """Move a batch and turn its images into floats."""
    inputs = batch.inputs._replace(
        **{
            name: part.to(device, non_blocking=True)
            for name, part in batch.inputs._asdict().items()
            if part is not None
        }
    )
    if inputs.images is not None:
        inputs = inputs._replace(images=to_floats(inputs.images))
    index = None if batch.image_index is None else batch.image_index.to(device)
    return CaptionBatch(inputs, batch.rows, batch.token_ids.to(device), index)


def _cross_entropy(model: nn.Module, memory: Any, batch: CaptionBatch) -> tuple[float, int]:
    """Sum over the references' words of a batch, and their number."""
    logits = model.network.decode(memory, batch.token_ids)  # type: ignore[operator, union-attr]  # [B, K, T, V]
    mean = cross_entropy_loss(logits.float(), batch.token_ids, PADDING)
    count = int((batch.token_ids[..., 1:] != PADDING).sum())
    return float(mean) * count, count
