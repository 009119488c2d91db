"""Images → scores: every image of a split once, on any number of processes, for one or more models at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hlcli.data.labels import LabelSpace
from hlcli.data.loader import LabelBatch
from hlcli.data.loader_processes import batches
from hlcli.errors import CheckpointError
from hlcli.launching import Processes
from hlcli.losses.masking import label_losses
from hlcli.methods.base import Criterion
from hlcli.methods.outputs import level_logits, scene_probs_of
from hlcli.metrics.hierarchy import lift_scores
from hlcli.profiling import phase
from hlcli.progress import Progress
from hlcli.sharding import without_gradients

if TYPE_CHECKING:
    from accelerate import Accelerator


class SplitScores(NamedTuple):
    """What one model says about a split.

    Shapes: levels coarse → fine, each [N, L of the level] float32 in [0, 1]; loss is the mean over images of
    the fine labels' loss, None without a criterion; scene_probs [N, S], None for methods without scenes.
    """

    levels: list[np.ndarray]
    loss: float | None
    scene_probs: np.ndarray | None = None

    def check_finite(self, model: str) -> None:
        """Refuse scores of which nothing can be measured.

        Raises:
            CheckpointError: saying how many images have them, with the name of the model.
        """
        bad = ~np.logical_and.reduce([np.isfinite(level).all(axis=1) for level in self.levels])
        if bad.any():
            raise CheckpointError(
                f"{model}: the scores of {bad.sum():,} of {len(bad):,} images are not finite.",
                "The model's weights or the precision are at fault: try --set train.precision=fp32.",
            )


class Scored(NamedTuple):
    """Scores of all models, and the truth. Shapes: targets, ignore [N, L] bool."""

    models: list[SplitScores]
    targets: np.ndarray
    ignore: np.ndarray | None


def score_split(
    models: Sequence[nn.Module],
    loader: DataLoader,
    normalize: Callable[[Tensor], Tensor],
    accelerator: Accelerator | Processes,
    labels: LabelSpace,
    *,
    num_rows: int,
    criterion: Criterion | None = None,
    epoch: int = 0,
    check: Callable[[], None] = lambda: None,
    title: str = "Evaluating",
) -> Scored:
    """Score a split; each image is decoded once, however many models look at it.

    Args:
        models: networks in evaluation mode on the accelerator's device.
        loader: this process's share of the batches.
        normalize: bytes to floats.
        accelerator: for precision and for gathering.
        labels: the label space.
        num_rows: records in the whole split.
        criterion: also measure the loss of the fine labels.
        epoch: handed on to the criterion.
        check: called after every batch; may raise to stop.
        title: for the progress display.
    """
    columns: list[list[Tensor]] = [[] for _ in models]
    scenes: list[list[Tensor]] = [[] for _ in models]
    rows, truth = [], []
    with without_gradients(models), Progress(title, total=num_rows, unit="image") as bar:
        for batch in batches(loader):
            with phase("data"):
                images = normalize(batch.images.to(accelerator.device, non_blocking=True))
            for model, parts, scene_parts in zip(models, columns, scenes, strict=True):
                with phase("forward"):
                    with accelerator.autocast():
                        output = model(images)
                    parts.append(_columns(output, batch, criterion, epoch))
                if (scene_probs := scene_probs_of(output)) is not None:
                    scene_parts.append(scene_probs.float().cpu())
            rows.append(batch.rows)
            truth.append(_truth(batch))
            bar.advance(min(len(batch.rows) * accelerator.num_processes, num_rows - bar.count))
            check()
    with phase("communication"):
        order = _gather_rows(accelerator, rows, num_rows)
        truth_matrix = _gather(accelerator, truth, order, 2 * labels.num_labels).astype(bool)
        targets, ignore = np.split(truth_matrix, 2, axis=1)
        results = []
        for parts, scene_parts in zip(columns, scenes, strict=True):
            scores = _split_scores(_gather(accelerator, parts, order, None), labels, criterion is not None)
            gathered = _gather(accelerator, scene_parts, order, None)  # [N, S]; S = 0 without scenes
            results.append(scores._replace(scene_probs=gathered if gathered.shape[1] else None))
    return Scored(results, targets, ignore if ignore.any() else None)


def _columns(output: NamedTuple, batch: LabelBatch, criterion: Criterion | None, epoch: int) -> Tensor:
    """Scores of all levels side by side, then the loss of each image: [B, sum of L (+ 1)], on the CPU."""
    logits = [part.float() for part in level_logits(output)]
    columns = [part.sigmoid() for part in logits]
    if criterion is not None:
        device = logits[-1].device
        ignore = None if batch.ignore is None else batch.ignore.to(device)
        losses = label_losses(criterion, logits[-1], batch.targets.to(device), ignore=ignore, epoch=epoch)
        columns.append(losses.sum(dim=1, keepdim=True).float())
    return torch.cat(columns, dim=1).cpu()


def _truth(batch: LabelBatch) -> Tensor:
    """Targets and ignored labels side by side, [B, 2 L]."""
    ignore = torch.zeros_like(batch.targets) if batch.ignore is None else batch.ignore.float()
    return torch.cat([batch.targets, ignore], dim=1)


class _Order(NamedTuple):
    """Where gathered rows belong: `longest` rows per process, and the place of each in the split."""

    longest: int
    place: np.ndarray  # [processes · longest], -1 for padding
    num_rows: int


def _gather_rows(accelerator: Accelerator | Processes, rows: list[Tensor], num_rows: int) -> _Order:
    own = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.long)
    device = accelerator.device
    longest = int(accelerator.gather(torch.tensor([len(own)], device=device)).max())
    padded = torch.full((longest,), -1, dtype=torch.long)
    padded[: len(own)] = own
    place = accelerator.gather(padded.to(device)).cpu().numpy()
    found = np.sort(place[place >= 0])
    if not np.array_equal(found, np.arange(num_rows)):
        raise RuntimeError(f"{len(found)} rows were scored, {num_rows} were expected")
    return _Order(longest, place, num_rows)


def _gather(accelerator: Accelerator | Processes, parts: list[Tensor], order: _Order, width: int | None) -> np.ndarray:
    """All processes' rows in the order of the split."""
    if parts:
        width = parts[0].shape[1]
    widths = accelerator.gather(torch.tensor([width or 0], device=accelerator.device))
    padded = torch.zeros(order.longest, int(widths.max()))
    if parts:
        own = torch.cat(parts)
        padded[: len(own)] = own
    gathered = accelerator.gather(padded.to(accelerator.device)).cpu().numpy()
    result = np.empty((order.num_rows, gathered.shape[1]), dtype=np.float32)
    is_real = order.place >= 0
    result[order.place[is_real]] = gathered[is_real]
    return result


def _split_scores(matrix: np.ndarray, labels: LabelSpace, has_loss: bool) -> SplitScores:
    loss = None
    if has_loss:
        matrix, loss = matrix[:, :-1], float(matrix[:, -1].astype(np.float64).mean())
    if matrix.shape[1] == labels.num_labels and len(labels.levels) > 1:  # scores the finest level only
        return SplitScores(_lifted(matrix, labels), loss)
    edges = np.cumsum(labels.level_sizes)[:-1]
    return SplitScores([np.ascontiguousarray(part) for part in np.split(matrix, edges, axis=1)], loss)


def _lifted(fine: np.ndarray, labels: LabelSpace) -> list[np.ndarray]:
    """Scores of all levels from the finest; where those of an image are not finite, all of them are NaN."""
    is_known = np.isfinite(fine).all(axis=1)
    if is_known.all():
        return lift_scores(fine, labels.parents)
    levels = lift_scores(np.where(is_known[:, None], fine, 0.0), labels.parents)
    return [np.where(is_known[:, None], level, np.nan) for level in levels]
