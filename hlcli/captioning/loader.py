"""Batches of images with captions: pairs as the reference trains on, or images with all that is said of them.

An image that several rows of a batch speak of is loaded, and encoded, once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hlcli.captioning.batch import CaptionBatch, CaptionInputs
from hlcli.captioning.padding import pad_captions
from hlcli.captioning.slots import fill_slots
from hlcli.captioning.tokens import caption_tokens
from hlcli.captioning.vocabulary import PADDING, Vocabulary
from hlcli.data.images import load_image
from hlcli.data.loader_processes import make_loader
from hlcli.data.records import Record, Records
from hlcli.data.section import DataSection
from hlcli.data.transforms import decode_size, stack_images
from hlcli.errors import DataError
from hlcli.features.reading import FeatureFile


class ImageInputs:
    """Makes the inputs of records: decoded images, stored features, or both.

    Args:
        grid: file of grid features; None for the image itself.
        regions: file of region features; None for what the network pools itself.
        max_regions: R; rows beyond it are left out.
        transform: image → tensor [3, H, W] uint8, with the randomness of an epoch and a row.
        decode_size: (width, height) of the decoded image that is enough for it; None for all that there is.
    """

    def __init__(
        self,
        transform: Callable[[Image, random.Random], Tensor],
        *,
        grid: FeatureFile | None = None,
        regions: FeatureFile | None = None,
        max_regions: int = 50,
        decode_size: tuple[int, int] | None = None,
    ) -> None:
        self.transform, self.grid, self.regions, self.max_regions = transform, grid, regions, max_regions
        self.decode_size = decode_size

    def load(self, record: Record, row: int, rng: random.Random) -> dict[str, Tensor]:
        """The parts of one record, by the names of `CaptionInputs`.

        Raises:
            DataError: when its image cannot be decoded, or it has no features that can be used.
        """
        parts: dict[str, Tensor] = {}
        if self.grid is None:
            image = load_image(record.image, name=f"{record.image_id} (row {row})", shrink_to=self.decode_size)
            parts["images"] = self.transform(image, rng)
        else:
            parts["grid_features"] = torch.from_numpy(self.grid.read(record.image_id))
        if self.regions is not None:
            found = torch.from_numpy(self.regions.read(record.image_id, max_rows=self.max_regions))
            parts["region_features"], parts["padding_mask"] = fill_slots(
                found, self.max_regions, zeros_are_padding=self.regions.facts is None
            )
        return parts


class CaptionRows(Dataset):
    """Rows of a split on their way into batches.

    Args:
        records: the split.
        inputs: loads what the network sees.
        seed: decides augmentation, with epoch and row of the image: its captions in one epoch see the same one.
        vocabulary: words of token ids.
        pairs: (row of the image, number of the caption), one per row of this data set; None for one row per image.
        with_captions: with token ids of all captions of an image, where rows are images.
        max_words: captions are cut after so many words.
    """

    def __init__(
        self,
        records: Records,
        inputs: ImageInputs,
        vocabulary: Vocabulary,
        *,
        seed: int = 0,
        pairs: Sequence[tuple[int, int]] | None = None,
        with_captions: bool = True,
        max_words: int = 52,
    ) -> None:
        self.records, self.inputs, self.vocabulary = records, inputs, vocabulary
        self.seed, self.pairs, self.with_captions, self.max_words = seed, pairs, with_captions, max_words

    def __len__(self) -> int:
        return len(self.records) if self.pairs is None else len(self.pairs)

    def __getitems__(self, keys: Sequence[tuple[int, int] | int]) -> CaptionBatch | DataError:
        """The batch of some rows: keys are (epoch, row), or rows in evaluation.

        An error is handed on, for worker processes would bury it.
        """
        epochs_rows = [(0, key) if isinstance(key, int) else key for key in keys]
        places: dict[int, int] = {}
        spoken: list[tuple[int, int]] = []
        for _, row in epochs_rows:
            image_row, number = (row, 0) if self.pairs is None else self.pairs[row]
            spoken.append((places.setdefault(image_row, len(places)), number))
        try:
            records = [self.records[row] for row in places]
            epoch = epochs_rows[0][0]
            parts = [
                self.inputs.load(record, row, random.Random(f"{self.seed}/{epoch}/{row}"))
                for record, row in zip(records, places, strict=True)
            ]
        except DataError as error:
            return error
        stacks = {"images": stack_images}
        inputs = CaptionInputs(
            **{name: stacks.get(name, torch.stack)([part[name] for part in parts]) for name in parts[0]}
        )
        rows = torch.tensor(list(places))
        if self.pairs is None:
            return CaptionBatch(inputs, rows, self._all_captions(records), None)
        texts = [records[place].captions[number] for place, number in spoken]
        index = torch.tensor([place for place, _ in spoken])
        return CaptionBatch(inputs, rows, self._token_ids(texts), index)

    def _all_captions(self, records: Sequence[Record]) -> Tensor:
        """All captions of each image, [B, K, T]."""
        texts = [record.captions if self.with_captions else () for record in records]
        token_ids = self._token_ids([text for of_image in texts for text in of_image])  # [sum of their numbers, T]
        filled = torch.full((len(records), max(map(len, texts)), token_ids.shape[1]), PADDING, dtype=torch.long)
        filled[[place for place, of_image in enumerate(texts) for _ in of_image],
               [number for of_image in texts for number in range(len(of_image))]] = token_ids  # fmt: skip
        return filled

    def _token_ids(self, texts: Sequence[str]) -> Tensor:
        """Captions [P, T]."""
        return pad_captions([caption_tokens(text)[: self.max_words] for text in texts], self.vocabulary)


def caption_pairs(captions: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """(row of the image, number of the caption) of every caption."""
    return [(row, number) for row, texts in enumerate(captions) for number in range(len(texts))]


def open_inputs(data: DataSection, transform: Callable[[Image, random.Random], Tensor]) -> ImageInputs:
    """What loads the inputs that a data section asks for.

    Raises:
        DataError: when a feature file is missing or of another kind.
    """
    return ImageInputs(
        transform,
        grid=None if data.grid_features is None else FeatureFile(data.grid_features, "grid"),
        regions=None if data.region_features is None else FeatureFile(data.region_features, "region"),
        max_regions=data.max_regions,
        decode_size=decode_size(data.height_width, data.pixels),
    )


class WithoutChance:
    """A transform of evaluation, called like one of training."""

    def __init__(self, transform: Callable[[Image], Tensor]) -> None:
        self.transform = transform

    def __call__(self, image: Image, rng: random.Random) -> Tensor:
        """The transformed image."""
        return self.transform(image)


def make_caption_loader(rows: CaptionRows, batches: object, *, workers: int, device: torch.device) -> DataLoader:
    """A loader over ready lists of keys, each of which `rows` makes a whole batch of."""
    return make_loader(rows, batches, workers=workers, device=device, collate=_whole)


def _whole(batch: CaptionBatch | DataError) -> CaptionBatch | DataError:
    return batch
