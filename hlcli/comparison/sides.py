"""What each model says about the same images: the sides of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from hlcli.data.labels import refuse_other_labels
from hlcli.data.store import open_records, split_labels
from hlcli.errors import DataError
from hlcli.evaluation.captions import CaptionEvaluation, evaluate_captions
from hlcli.evaluation.labels import Evaluation, check_labels, measure_together, measured_levels
from hlcli.launching import find_processes
from hlcli.metrics.captioning.resampled import caption_measure
from hlcli.metrics.captioning.summary import caption_metrics
from hlcli.metrics.resampled import level_measure
from hlcli.models.folder import LoadedModel
from hlcli.prediction.caption_predictor import CaptionOptions
from hlcli.recipe import Recipe

_SEEN_IN_TRAINING = (
    "randaugment", "cutout", "cutout_length", "cutout_fraction", "horizontal_flip", "random_shift", "labels_kept",
    "labels_kept_seed", "labels_list", "workers",
)  # fmt: skip
"""Keys of data that change no image of an evaluation, and no label."""

_OTHER_LABELS = "Only models of the same labels, in the same order, can be compared."


class Item(NamedTuple):
    """A label or an image as one model has it; see `ItemScores`."""

    level: str
    name: str
    positives: int
    score: float
    f1: float | None


class Side(NamedTuple):
    """One model, measured.

    Args:
        numbers: all metrics by name.
        measure: those that can be measured on images drawn anew, for row numbers.
        items: labels or images.
        num_images: how many there were.
    """

    numbers: Mapping[str, float]
    measure: Callable[[np.ndarray], Mapping[str, float]]
    items: list[Item]
    num_images: int


def check_same_labels(models: Sequence[LoadedModel], names: Sequence[str]) -> None:
    """Refuse models of labels that were not made for the same ones.

    Raises:
        DataError: naming the first label that differs.
    """
    for loaded, name in zip(models[1:], names[1:], strict=True):
        refuse_other_labels(models[0].labels, loaded.labels, names[0], name, _OTHER_LABELS)


def label_sides(
    models: Sequence[LoadedModel], names: Sequence[str], split: str, batch_size: int | None, workers: int | None
) -> list[Side]:
    """Measure models of the same labels, those that see images alike on one decoding of each; the others one after the
    other.

    Raises:
        DataError: when they have other images.
    """
    order = sorted(range(len(models)), key=lambda row: _inputs(models[row].recipe))
    found: dict[int, Evaluation] = {}
    for _, group in groupby(order, key=lambda row: _inputs(models[row].recipe)):
        rows = list(group)
        chosen = [models[row] for row in rows]
        found |= dict(zip(rows, _measure(chosen, split, batch_size, workers), strict=True))
    for row in range(1, len(models)):
        _check_same_images(found[0], found[row], names[0], names[row])
    return [_label_side(found[row], models[row]) for row in range(len(models))]


def _inputs(recipe: Recipe) -> str:
    """What decides what a network is shown, and how it computes: models with the same can be measured together."""
    data = recipe.data.model_dump(mode="json", exclude=set(_SEEN_IN_TRAINING))
    return str((data, recipe.train.cpu, recipe.train.precision))


def _measure(
    models: Sequence[LoadedModel], split: str, batch_size: int | None, workers: int | None
) -> list[Evaluation]:
    recipe = models[0].recipe
    processes = find_processes(cpu=recipe.train.cpu, precision=recipe.train.precision)
    check_labels(recipe, models[0].labels)
    there = [loaded._replace(model=loaded.model.to(processes.device)) for loaded in models]
    records = open_records(recipe.data, split)
    found = measure_together(there, split, records, processes, batch_size=batch_size, workers=workers)
    for loaded in models:
        loaded.model.to("cpu")  # makes room for the next ones
    return found


def _label_side(evaluation: Evaluation, loaded: LoadedModel) -> Side:
    measure = level_measure(measured_levels(evaluation, loaded))
    items = [Item(row.level, row.name, row.positives, row.AP, row.F1) for row in evaluation.metrics.labels]
    return Side(evaluation.metrics, measure, items, evaluation.metrics.num_images)


def _check_same_images(first: Evaluation, other: Evaluation, first_name: str, name: str) -> None:
    if first.records is not other.records:
        _check_names(
            [image for image, _ in split_labels(first.records)],
            [image for image, _ in split_labels(other.records)],
            first_name,
            name,
        )
    own, theirs = (np.concatenate([found.targets, _ignored(found)], axis=1) for found in (first, other))  # [N, 2 L]
    differs = (own != theirs).any(axis=1)
    if differs.any():
        row = int(differs.argmax())
        image = split_labels(first.records)[row][0]
        raise DataError(
            f"Image {image} has other labels in the data of {first_name} than in that of {name}.",
            "Give all of them the same data with --set data.….",
        )


def _ignored(found: Evaluation) -> np.ndarray:
    return np.zeros_like(found.targets) if found.ignore is None else found.ignore


def _check_names(first: Sequence[str], other: Sequence[str], first_name: str, name: str) -> None:
    """Refuse other images, or another order of them."""
    if list(first) == list(other):
        return
    row = next(
        (row for row, pair in enumerate(zip(first, other, strict=False)) if pair[0] != pair[1]),
        min(len(first), len(other)),
    )
    shown = [images[row] if row < len(images) else "missing" for images in (first, other)]
    raise DataError(
        f"{first_name} and {name} have other images: {len(first):,} and {len(other):,}, and image {row} is "
        f"{shown[0]} in one, {shown[1]} in the other.",
        "Give all of them the same data with --set data.….",
    )


def caption_sides(
    models: Sequence[LoadedModel], names: Sequence[str], split: str, batch_size: int | None, workers: int | None
) -> list[Side]:
    """Caption a split with one captioner after the other, and measure the captions.

    Raises:
        DataError: when they have other images, or other true captions.
    """
    options = CaptionOptions()
    if batch_size is not None:
        options["batch_size"] = batch_size
    if workers is not None:
        options["workers"] = workers
    sides: list[Side] = []
    first: list[tuple[str, tuple[str, ...]]] = []
    for loaded, name in zip(models, names, strict=True):
        found = evaluate_captions(loaded, split, **options)
        truth = [(caption.image, texts) for caption, texts in zip(found.captions, found.references, strict=True)]
        first = first or truth
        _check_names([image for image, _ in first], [image for image, _ in truth], names[0], name)
        other = next((image for (image, own), (_, theirs) in zip(first, truth, strict=True) if own != theirs), None)
        if other is not None:
            raise DataError(f"Image {other} has other true captions in the data of {names[0]} than in that of {name}.")
        sides.append(_caption_side(found, loaded.recipe.eval.caption_metrics))
    return sides


def _caption_side(found: CaptionEvaluation, names: Sequence[str]) -> Side:
    said = [caption.caption for caption in found.captions]
    metrics = found.metrics or caption_metrics(said, found.references, names=names)  # only one process has measured
    per_image = metrics.per_image.get("CIDEr", ())
    items = [
        Item("", caption.image, 0, float(score), None)
        for caption, score in zip(found.captions, per_image, strict=False)
    ]
    return Side(metrics.values, caption_measure(metrics, said, found.references), items, metrics.num_images)
