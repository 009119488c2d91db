"""What a model makes of many images: a vector and scores of each, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hlcli.data.failures import Failure
from hlcli.figures.images import Item, Items
from hlcli.prediction.labels import Predictor
from hlcli.progress import Progress

_NOT_FINITE = "its features are not finite. The model's weights or the precision are at fault."


class ImageVectors(NamedTuple):
    """Images that could be decoded.

    Args:
        numbers: their places among all that were asked for.
        items: names and true labels; without the pixels.
        vectors: one per image, [n, D].
        scores: of every level, coarse → fine, [n, L] each.
    """

    numbers: list[int]
    items: list[Item]
    vectors: np.ndarray
    scores: tuple[np.ndarray, ...]


class _Seen(NamedTuple):
    """What the network makes of one image: its vector [D], and scores [L] of every level."""

    number: int
    item: Item
    vector: np.ndarray
    scores: list[np.ndarray]


def image_vectors(predictor: Predictor, items: Items, failures: list[Failure]) -> ImageVectors:
    """Run the images through the network once; those that cannot be decoded, or give no numbers, join the failures."""
    found: list[_Seen] = []
    with Progress("Looking", total=len(items), unit="image") as bar:
        for start in range(0, len(items), predictor.batch_size):
            rows = range(start, min(start + predictor.batch_size, len(items)))
            for seen in _look(predictor, items, rows, failures):
                if all(np.isfinite(values).all() for values in (seen.vector, *seen.scores)):
                    found.append(seen)
                else:
                    failures.append(Failure(seen.item.name, f"Image {seen.item.name} cannot be shown: {_NOT_FINITE}"))
            bar.advance(len(rows))
    return ImageVectors(
        [seen.number for seen in found],
        [seen.item for seen in found],
        np.array([seen.vector for seen in found]),
        tuple(np.array(level) for level in zip(*(seen.scores for seen in found), strict=True)),
    )


def _look(predictor: Predictor, items: Items, rows: range, failures: list[Failure]) -> list[_Seen]:
    """A batch of images; those that cannot be decoded join the failures."""
    batch = [
        (number, item._replace(source=b""), predictor.transform(image))
        for number, (item, image) in items.photos(rows, failures, shrink_to=predictor.transform.decode_size)
    ]
    if not batch:
        return []
    vectors, levels = _run(predictor, torch.stack([image for _, _, image in batch]))
    return [
        _Seen(number, item, vector, scores)
        for (number, item, _), vector, *scores in zip(batch, vectors, *levels, strict=True)
    ]


@torch.inference_mode()
def _run(predictor: Predictor, images: Tensor) -> tuple[np.ndarray, list[np.ndarray]]:
    """Vectors [B, D] and scores [B, L] of every level, of images uint8 [B, 3, H, W]."""
    encoder = predictor.loaded.recipe.model.image_encoder(predictor.model)
    with _outputs_of(encoder) as outputs, predictor.autocast():
        output = predictor.model(predictor.normalize(images.to(predictor.device)))
    (features,) = outputs
    return pool(features, getattr(encoder, "class_tokens", 0)).cpu().numpy(), predictor.level_scores(output)


def pool(features: Tensor, class_tokens: int = 0) -> Tensor:
    """Mean of the grid, [B, D], of features [B, class tokens + N, D]; those of CLIP [B, D] are vectors already."""
    features = features.float()
    return features if features.ndim == 2 else features[:, class_tokens:].mean(dim=1)


@contextmanager
def _outputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """What the module answers while the network runs."""
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()
