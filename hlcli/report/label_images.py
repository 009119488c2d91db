"""Images of a report on labels: the best and the worst, where the model looks in them, and those of its scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hlcli.data.failures import Failure
from hlcli.evaluation.labels import Evaluation
from hlcli.figures.images import IMAGES_AT_A_TIME, Item, Items, Look, Photo, label_map, look_at
from hlcli.figures.scenes import scene_names
from hlcli.metrics.multilabel import f1_scores
from hlcli.metrics.scenes import heat_map, scene_entropy
from hlcli.metrics.summary import Measured
from hlcli.models.folder import LoadedModel
from hlcli.prediction.labels import Predictor
from hlcli.report import pictures
from hlcli.visualization.label_groups import most_frequent, typical_labels

_BEST, _WORST, _MOST_MAPS = 8, 14, 3
_MOST_SCENE_PHOTOS, _SCENE_LABELS = 6, 8
_SMALLEST = 1e-7


class _Verdict(NamedTuple):
    """What the model said of a label of an image: right, false or missed."""

    name: str
    score: float
    kind: str


class _Card(NamedTuple):
    """One image with what was said of it, and where the model looked."""

    photo: pictures.Photo
    F1: float
    verdicts: Sequence[_Verdict]
    veils: Sequence[pictures.Veil] = ()


class Scene(NamedTuple):
    """A scene of the model.

    Args:
        name: its number and the labels that tell what it is about.
        share: of the images of the split.
        labels: those it has seen most, with the share of their images that is in it.
        names: of the labels of the heat map.
        heat: P(column | row) of these.
        photos: images that surely belong to it, with the probability.
    """

    name: str
    share: float
    labels: Sequence[tuple[str, float]]
    names: Sequence[str]
    heat: Sequence[Sequence[float]]
    photos: Sequence[tuple[pictures.Photo, float]]


class Scenes(NamedTuple):
    """All scenes, and how evenly the images spread over them (in nats; `most` where they do so evenly)."""

    scenes: Sequence[Scene]
    entropy: float
    most: float


def choose_rows(measured: Measured) -> tuple[list[int], list[int]]:
    """The best and the worst images, best and worst first: by the F1 of their labels, then by the likelihood of all.

    Images without a true label are left out: nobody can find labels in them.
    """
    counted = 1.0 if measured.ignore is None else ~measured.ignore
    scores = measured.scores.astype(np.float64)
    of_truth = np.where(measured.targets, scores, 1 - scores).clip(_SMALLEST)
    surprise = -(np.log(of_truth) * counted).sum(axis=1)  # [N]
    hits = (measured.predictions & measured.targets).sum(axis=1)
    f1 = 2 * hits / np.maximum(1, measured.predictions.sum(axis=1) + measured.targets.sum(axis=1))
    rows = np.flatnonzero(measured.targets.any(axis=1))
    order = rows[np.lexsort((surprise[rows], -f1[rows]))].tolist()
    best = min(_BEST, len(order) // 2)
    worst = min(_WORST, len(order) - best)
    return order[:best], order[len(order) - worst :][::-1]


def make_cards(
    evaluation: Evaluation, loaded: LoadedModel, measured: Measured, rows: Sequence[int], failures: list[Failure]
) -> list[_Card]:
    """Cards of some images, in that order; those that cannot be decoded now are listed."""
    items = Items([evaluation.records[row].image_id for row in rows], lambda number: _item(evaluation, rows[number]))
    predictor = _predictor_with_maps(loaded, evaluation)
    cards = []
    for start in range(0, len(rows), IMAGES_AT_A_TIME):
        numbers = range(start, min(start + IMAGES_AT_A_TIME, len(rows)))
        found = list(items.photos(numbers, failures))
        looks: Sequence[Look | None] = [None] * len(found)
        if predictor is not None and found:
            looks = look_at(predictor, loaded.recipe.model, [image for _, (_, image) in found])
        for (number, photo), look in zip(found, looks, strict=True):
            cards.append(_make_card(photo, measured, rows[number], loaded, look))
    return cards


def _predictor_with_maps(loaded: LoadedModel, evaluation: Evaluation) -> Predictor | None:
    if not loaded.recipe.model.offers("level_maps"):
        return None
    return Predictor(loaded, thresholds=evaluation.metrics.thresholds)


def _item(evaluation: Evaluation, row: int) -> Item:
    record = evaluation.records[row]
    return Item(record.image_id, record.image, record.labels, record.captions)


def _make_card(photo: Photo, measured: Measured, row: int, loaded: LoadedModel, look: Look | None) -> _Card:
    item, image = photo
    shown = pictures.make_photo(f"photo-{row}", Path(item.name).name, image)
    targets, predictions, scores = measured.targets[row], measured.predictions[row], measured.scores[row]
    f1 = f1_scores(predictions[None], targets[None]).samples
    labels = np.flatnonzero(targets | predictions)
    labels = labels[np.argsort(-scores[labels], kind="stable")].tolist()
    kinds = {label: "false" if not targets[label] else "right" if predictions[label] else "missed" for label in labels}
    verdicts = [_Verdict(measured.level.label_names[label], float(scores[label]), kinds[label]) for label in labels]
    if look is None:
        return _Card(shown, f1, verdicts)
    order = sorted(labels, key=lambda label: ("missed", "false", "right").index(kinds[label]))  # mistakes first
    veils = []
    for label in order[:_MOST_MAPS]:
        found = label_map(photo, look, loaded.labels, len(loaded.labels.levels) - 1, label)
        note = f"{kinds[label]}, {scores[label]:.2f}"
        veils.append(pictures.make_veil(shown, found.name, found.attention_map, note=note))
    return _Card(shown, f1, verdicts, veils)


def scene_facts(evaluation: Evaluation, loaded: LoadedModel, failures: list[Failure]) -> Scenes | None:
    """What the scenes of a model are about, and which images of the split are in them; None without scenes."""
    counts: Any = loaded.recipe.model.cooccurrence(loaded.model)
    probs = evaluation.scores.scene_probs
    if counts is None or probs is None:
        return None
    numbers = counts.detach().double().cpu().numpy()  # [S, L, L]
    seen = numbers.diagonal(axis1=1, axis2=2)  # [S, L]
    shares = seen / np.maximum(seen.sum(axis=0), np.finfo(np.float64).tiny)
    names, adjacency, typical = scene_names(numbers, loaded.labels), heat_map(numbers), typical_labels(seen)
    given = np.bincount(probs.argmax(axis=1), minlength=len(seen)) / len(probs)
    surest = np.argsort(-probs.max(axis=0), kind="stable")[:_MOST_SCENE_PHOTOS].tolist()
    scenes = []
    for scene, name in enumerate(names):
        top = list(most_frequent(seen[scene]))[:_SCENE_LABELS]
        rows = [int(probs[:, scene].argmax())] if scene in surest else []
        scenes.append(
            Scene(
                name,
                float(given[scene]),
                [(loaded.labels.label_names[i], float(shares[scene, i])) for i in typical[scene][:_SCENE_LABELS]],
                [loaded.labels.label_names[i] for i in top],
                adjacency[scene][np.ix_(top, top)].tolist(),
                [(photo, float(probs[row, scene])) for photo, row in _photos(evaluation, rows, scene, failures)],
            )
        )
    return Scenes(scenes, scene_entropy(probs), float(np.log(len(seen))))


def _photos(
    evaluation: Evaluation, rows: Sequence[int], scene: int, failures: list[Failure]
) -> list[tuple[pictures.Photo, int]]:
    items = Items([evaluation.records[row].image_id for row in rows], lambda number: _item(evaluation, rows[number]))
    return [
        (pictures.make_photo(f"scene-{scene}-{number}", Path(item.name).name, image), rows[number])
        for number, (item, image) in items.photos(range(len(rows)), failures)
    ]
