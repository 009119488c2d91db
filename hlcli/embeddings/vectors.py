"""What label embeddings and label graphs share: making vectors of texts, and checks of vectors and of their cosines.

Shapes: L labels, E width of their vectors.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize as unit_length

from hlcli.data.labels import LabelSpace
from hlcli.data.store import open_label_space, store_folder
from hlcli.embeddings.neighbours import greatest_of_rows
from hlcli.encoders.loading import Encoder
from hlcli.errors import DataError, named
from hlcli.progress import Progress
from hlcli.sections import DataSection

logger = logging.getLogger(__name__)

_ROUNDING = 1e-4
"""How far cosines may be from what cosines are; the published graphs are 3e-6 off."""


class Neighbour(NamedTuple):
    """A label close to another one."""

    label: str
    cosine: float


def current_labels(data: DataSection) -> LabelSpace:
    """The store's labels if there is a store, else the data set's own.

    Raises:
        DataError: when there is no label.
    """
    is_stored = data.store is not None or (store_folder(data) / "labels.json").is_file()
    return (open_label_space(data) if is_stored else data.label_space()).require_labels(data.name)


def encode_texts(encoder: Encoder, texts: Sequence[str]) -> Tensor:
    """Vectors [L, E] float32, one text at a time as the papers do it: no padding changes a digit."""
    rows = []
    with Progress("Embedding labels", total=len(texts), unit="label") as bar:
        for text in texts:
            rows.append(encoder.encode(text))
            bar.advance()
    return torch.stack(rows).float().cpu()


def check_label_embeddings(label_embeddings: Tensor, label_names: Sequence[str], *, source: object) -> None:
    """Refuse vectors that a network could not use."""
    finite = label_embeddings.isfinite().all(dim=1)
    for problem, bad in (("is not finite", ~finite), ("is zero", finite & (label_embeddings == 0).all(dim=1))):
        labels = [label_names[row] for row in bad.nonzero().flatten().tolist()]
        if labels:
            raise DataError(
                f"{source}: the vector {problem} for {len(labels)} of {len(label_names)} labels: {named(labels)}.",
                "Give other words for these labels: --names FILE.",
            )


def warn_of_equals(vectors: Tensor, label_names: Sequence[str]) -> None:
    """Name the labels whose vectors are the same."""
    groups: dict[bytes, list[str]] = {}
    for name, row in zip(label_names, vectors.numpy(), strict=True):
        groups.setdefault(row.tobytes(), []).append(name)
    for names in groups.values():
        if len(names) > 1:
            logger.warning("The encoder cannot tell %d labels apart: %s.", len(names), named(names))


def cosines(vectors: Tensor) -> Tensor:
    """Cosines [L, L] between all vectors [L, E]."""
    directions = unit_length(vectors, dim=1)
    return directions @ directions.T


def check_cosines(relation: Tensor, *, source: object, hint: str) -> None:
    """Refuse an array [N, N] that cannot hold the cosines of vectors with each other.

    Raises:
        DataError: naming what shows it.
    """
    problems = {
        "not all entries are finite": not relation.isfinite().all(),
        "it is not symmetric": (relation - relation.T).abs().max() > _ROUNDING,
        "its diagonal is not 1": (relation.diagonal() - 1).abs().max() > _ROUNDING,
        "not all entries lie between -1 and 1": relation.abs().max() > 1 + _ROUNDING,
    }
    for problem, is_there in problems.items():
        if is_there:
            raise DataError(f"{source} does not hold cosines of labels: {problem}.", hint)


def nearest_labels(relation: Tensor, names: Sequence[str], count: int) -> dict[str, list[Neighbour]]:
    """For every label the `count` others with the largest entries in its row of [L, L], largest first."""
    found = greatest_of_rows(relation.numpy(), count)
    return {
        name: [Neighbour(names[other], cosine) for other, cosine in zip(others, cosines, strict=True)]
        for name, others, cosines in zip(names, found.numbers.tolist(), found.cosine.tolist(), strict=True)
    }
