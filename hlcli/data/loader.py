"""Batches of images and targets: the order of a whole training run is a function of the seed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset

from hlcli.data.images import load_image
from hlcli.data.records import Records
from hlcli.data.transforms import EvalTransform, TrainTransform, stack_images
from hlcli.errors import DataError
from hlcli.plain_text import counted


class LabelBatch(NamedTuple):
    """Images with their labels.

    Shapes: images [B, 3, H, W] uint8, in memory `torch.channels_last`; targets [B, L] float32 in {0, 1};
    ignore [B, L] bool, True where a label is neither trained nor scored; rows [B] long, the position in the split;
    object_masks [B, 1, g, g] float32. `parts` is how many equal parts the images of the optimiser step are cut into
    (processes times accumulation steps), this batch being one: a loss that is a sum over the step's images is the
    local sum times this, as gradients of parts are averaged.
    """

    images: Tensor
    targets: Tensor
    ignore: Tensor | None
    rows: Tensor
    object_masks: Tensor | None
    parts: int = 1


class BatchOrder:
    """Which rows go into which batch, for one process: a function of seed, epoch and step, nothing else.

    Every global batch is cut into `num_processes · accumulation_steps` equal parts; this process gets its own.

    Args:
        num_rows: records in the split.
        batch_size: rows of a global batch.
        seed: seed of the run.
        rank: this process.
        num_processes: all processes.
        accumulation_steps: parts per process and batch.
        keep_last: make a smaller batch of the images that fill none; up to one less than the number of parts are left
            out, so that all parts are equal.

    Raises:
        DataError: when the split makes no batch, or the batch cannot be cut evenly.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        num_processes: int = 1,
        accumulation_steps: int = 1,
        keep_last: bool = False,
    ) -> None:
        parts = num_processes * accumulation_steps
        if batch_size % parts:
            raise DataError(
                f"train.batch_size {batch_size} cannot be cut into {num_processes} processes × "
                f"{accumulation_steps} accumulation steps.",
                f"Use a multiple of {parts}.",
            )
        if num_rows < (parts if keep_last else batch_size):
            raise DataError(
                f"The training split has {counted(num_rows, 'image')}, fewer than train.batch_size {batch_size}.",
                f"Set train.batch_size to {max(parts, num_rows // parts * parts)} or less.",
            )
        self.num_rows, self.batch_size, self.seed = num_rows, batch_size, seed
        self.rank, self.parts, self.accumulation_steps = rank, parts, accumulation_steps
        self.last_share = num_rows % batch_size // parts if keep_last else 0
        self.epoch = 0
        self.first_step = 0

    @property
    def steps_per_epoch(self) -> int:
        """Global batches per epoch."""
        return self.num_rows // self.batch_size + bool(self.last_share)

    @property
    def smallest_part(self) -> int:
        """Images in the smallest part of a batch."""
        return self.last_share or self.batch_size // self.parts

    def start(self, epoch: int, step: int = 0) -> None:
        """Go to a step of an epoch; what comes before it is never loaded."""
        self.epoch, self.first_step = epoch, step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.num_rows, generator=generator).tolist()
        for step in range(self.first_step, self.steps_per_epoch):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            share = len(batch) // self.parts
            for part in range(self.accumulation_steps):
                begin = (self.rank * self.accumulation_steps + part) * share
                yield [(self.epoch, row) for row in batch[begin : begin + share]]

    def __len__(self) -> int:
        return (self.steps_per_epoch - self.first_step) * self.accumulation_steps


class TrainingImages(Dataset):
    """Decoded, augmented training images; the randomness of an image depends on (seed, epoch, row) alone.

    An object mask is mirrored with its image; no other change moves it.
    """

    def __init__(
        self,
        records: Records,
        num_labels: int,
        transform: TrainTransform,
        seed: int,
    ) -> None:
        self.records, self.num_labels, self.transform, self.seed = records, num_labels, transform, seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> LabelItem | DataError:
        epoch, row = key
        seed = f"{self.seed}/{epoch}/{row}"
        transform = self.transform
        item = _load(
            self.records,
            row,
            self.num_labels,
            lambda image: transform(image, random.Random(seed)),
            transform.decode_size,
        )
        if isinstance(item, LabelItem) and item.object_mask and self.transform.mirrors(random.Random(seed)):
            return item._replace(object_mask=_mirrored(item.object_mask))
        return item


class EvaluationImages(Dataset):
    """Decoded images of a split, in order."""

    def __init__(self, records: Records, num_labels: int, transform: EvalTransform) -> None:
        self.records, self.num_labels, self.transform = records, num_labels, transform

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, row: int) -> LabelItem | DataError:
        return _load(self.records, row, self.num_labels, self.transform, self.transform.decode_size)


class LabelItem(NamedTuple):
    """One image on its way into a batch."""

    image: Tensor
    labels: tuple[int, ...]
    ignore: tuple[int, ...]
    object_mask: tuple[float, ...]
    row: int
    num_labels: int


def _load(
    records: Records,
    row: int,
    num_labels: int,
    transform: Callable[[Image], Tensor],
    decode_size: tuple[int, int] | None,
) -> LabelItem | DataError:
    """Decode and transform one record; an error is handed on, for worker processes would bury it."""
    try:
        record = records[row]
        image = load_image(record.image, name=f"{record.image_id} (row {row})", shrink_to=decode_size)
    except DataError as error:
        return error
    known = range(num_labels)
    if outside := [label for label in (*record.labels, *record.ignore) if label not in known]:
        return DataError(f"{record.image_id} (row {row}): label {outside[0]} is not one of 0..{num_labels - 1}.")
    return LabelItem(transform(image), record.labels, record.ignore, record.object_mask, row, num_labels)


def _mirrored(object_mask: tuple[float, ...]) -> tuple[float, ...]:
    """A square mask, row by row, with left and right exchanged."""
    side = math.isqrt(len(object_mask))
    return tuple(object_mask[row * side + column] for row in range(side) for column in reversed(range(side)))


def collate(items: Sequence[LabelItem | DataError]) -> LabelBatch | DataError:
    """Stack items to a batch; the first error takes its place."""
    for item in items:
        if isinstance(item, DataError):
            return item
    return stack([item for item in items if isinstance(item, LabelItem)])


def stack(items: Sequence[LabelItem]) -> LabelBatch:
    """Stack items to a batch."""
    targets = torch.zeros(len(items), items[0].num_labels)
    ignore = torch.zeros(len(items), items[0].num_labels, dtype=torch.bool)
    for i, item in enumerate(items):
        targets[i, list(item.labels)] = 1.0
        ignore[i, list(item.ignore)] = True
    masks = None
    if all(item.object_mask for item in items):
        side = math.isqrt(len(items[0].object_mask))
        masks = torch.tensor([item.object_mask for item in items]).reshape(-1, 1, side, side)
    return LabelBatch(
        stack_images([item.image for item in items]),
        targets,
        ignore if bool(ignore.any()) else None,
        torch.tensor([item.row for item in items]),
        masks,
    )


def whole_batches(num_rows: int, batch_size: int, rank: int, num_processes: int) -> list[list[int]]:
    """Batches of a split in order, dealt out to processes whole: each batch is the same for any number of them."""
    batches = [list(range(i, min(i + batch_size, num_rows))) for i in range(0, num_rows, batch_size)]
    return batches[rank::num_processes]
