"""Raw scores of a split, thresholds for calibrated ones, and what was gained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from hlcli.calibration.results import CalibrationScores
from hlcli.data.store import split_names
from hlcli.evaluation.labels import evaluate, measured_levels
from hlcli.metrics.arguments import Flags, Floats
from hlcli.metrics.calibration import brier_score, expected_calibration_error, negative_log_likelihood
from hlcli.metrics.calibration_maps import IDENTITY, CalibrationMap
from hlcli.metrics.hierarchy import consistent_scores
from hlcli.metrics.multilabel import LevelThreshold, above_threshold, f1_scores
from hlcli.metrics.threshold_tuning import TunedMetric, tune_label_thresholds, tune_shared_threshold
from hlcli.models.folder import LoadedModel
from hlcli.recipe import Recipe
from hlcli.thresholds import thresholds_to_exceed

ThresholdScope = Literal["global", "per-label", "keep"]

_UNTUNED = 0.5


class _SplitData(NamedTuple):
    """A split: raw scores, targets without ignored ones, and what is ignored, of every level, [N, L_level]."""

    scores: list[Floats]
    targets: list[Flags]
    ignore: list[Flags | None]


def splits_to_score(recipe: Recipe, split: str) -> list[str]:
    """What is measured: the split that is fitted on, and test where that is another."""
    return [split, *(["test"] if split != "test" and "test" in split_names(recipe.data) else [])]


def score_raw(raw: LoadedModel, split: str, batch_size: int | None, workers: int | None) -> _SplitData:
    """What a network says about a split."""
    found = evaluate(raw, split=split, thresholds=_UNTUNED, batch_size=batch_size, workers=workers)
    levels = measured_levels(found, raw)
    return _SplitData(found.scores.levels, [level.targets for level in levels], [level.ignore for level in levels])


def _used(loaded: LoadedModel, scores: Sequence[Floats]) -> Sequence[Floats]:
    """Scores as they are compared with thresholds."""
    return consistent_scores(scores, loaded.labels.parents) if loaded.recipe.eval.consistent else scores


def tune(
    loaded: LoadedModel,
    found: CalibrationMap,
    data: _SplitData,
    scope: ThresholdScope,
    by: TunedMetric,
    min_examples: int,
) -> tuple[LevelThreshold, ...] | None:
    """Thresholds for calibrated scores."""
    if scope == "keep":
        return _moved_thresholds(loaded, found)
    chosen: list[LevelThreshold] = []
    for scores, targets, ignore in zip(_used(loaded, found.apply(data.scores)), *data[1:], strict=True):
        inclusive = loaded.recipe.eval.at_threshold
        shared = tune_shared_threshold(scores, targets, by=by, ignore=ignore, inclusive=inclusive)
        if scope == "per-label":
            assert by != "F1_samples", "refused before"
            own = tune_label_thresholds(scores, targets, shared, by=by, ignore=ignore, min_examples=min_examples)
            chosen.append(own)
        else:
            chosen.append(shared)
    return tuple(chosen)


def _moved_thresholds(loaded: LoadedModel, found: CalibrationMap) -> tuple[LevelThreshold, ...] | None:
    """The model's thresholds where scores are now, so that the same labels are above them."""
    if loaded.thresholds is None:
        return None
    former = loaded.calibration.levels if loaded.calibration else (IDENTITY,) * len(found.levels)
    moves = zip(former, found.levels, loaded.thresholds, strict=True)
    return tuple(
        threshold if before == after else after.move(before.inverse().move(threshold))
        for before, after, threshold in moves
    )


def compare_scores(
    loaded: LoadedModel,
    split: str,
    data: _SplitData,
    found: CalibrationMap,
    tuned: tuple[LevelThreshold, ...] | None,
    by: str,
) -> list[CalibrationScores]:
    """What was, with raw scores and the former thresholds, and what is."""
    untuned = (_UNTUNED,) * len(data.scores)
    before = _used(loaded, data.scores), _raw_thresholds(loaded) or untuned
    after = _used(loaded, found.apply(data.scores)), tuned or untuned
    cuts = [thresholds_to_exceed(values, at_threshold=loaded.recipe.eval.at_threshold) for _, values in (before, after)]
    rows = []
    for depth, level in enumerate(loaded.labels.levels):
        targets, ignore = data.targets[depth], data.ignore[depth]
        sides = before[0][depth], after[0][depth]
        counts = True if ignore is None else ~ignore
        f1 = [
            getattr(f1_scores(above_threshold(scores, cut[depth]) & counts, targets), by.removeprefix("F1_"))
            for scores, cut in zip(sides, cuts, strict=True)
        ]
        ece, nll, brier = (
            (measure(sides[0], targets, ignore=ignore), measure(sides[1], targets, ignore=ignore))
            for measure in (expected_calibration_error, negative_log_likelihood, brier_score)
        )
        rows.append(CalibrationScores(split, level.name, ece, nll, brier, (float(f1[0]), float(f1[1]))))
    return rows


def _raw_thresholds(loaded: LoadedModel) -> tuple[LevelThreshold, ...] | None:
    """The model's thresholds for raw scores, whatever calibration it had."""
    identity = CalibrationMap("none", (IDENTITY,) * len(loaded.labels.levels))
    return _moved_thresholds(loaded, identity)


def shared_labels(
    loaded: LoadedModel, rare: Sequence[Sequence[int]], data: _SplitData, scope: ThresholdScope, min_examples: int
) -> dict[str, tuple[str, ...]]:
    """Labels, by level, that got something of their level instead of their own."""
    found = {}
    for level, own, targets in zip(loaded.labels.levels, rare, data.targets, strict=True):
        few = {*own, *((targets.sum(axis=0) < min_examples).nonzero()[0].tolist() if scope == "per-label" else ())}
        if few:
            found[level.name] = tuple(level.label_names[label] for label in sorted(few))
    return found
