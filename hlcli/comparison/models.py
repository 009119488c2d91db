"""The `compare` verb: models on the same images, with what is chance and what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hlcli.comparison.results import Comparison, ItemScores, MetricDifference
from hlcli.comparison.sides import Side, caption_sides, check_same_labels, label_sides
from hlcli.errors import InputError, nearest
from hlcli.evaluation.labels import default_split
from hlcli.files import check_out_file, whole_file, write_json
from hlcli.metrics.bootstrap import difference, holm, resample
from hlcli.metrics.captioning.names import METRICS, spelt_out
from hlcli.metrics.summary import metric_names
from hlcli.models.folder import LoadedModel
from hlcli.models.opening import GivenModel, open_model
from hlcli.prediction.image_stream import check_at_least
from hlcli.progress import Progress
from hlcli.recipe import Recipe, change_section

_FINEST = ("mAP", "F1_micro", "F1_macro", "F1_samples", "CF1")
_ABOVE = ("mAP", "F1_macro")
"""Metrics of labels that are compared where nobody asks for others."""

_ENDINGS = (".json", ".md")


def compare(
    models: Sequence[GivenModel],
    *,
    split: str | None = None,
    metrics: Sequence[str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
) -> Comparison:
    """Measure models on the same images, and tell differences from chance.

    Each model is measured as `evaluate` does it, at its own thresholds. Every difference to the first model has an
    interval and a p value of the paired bootstrap over images; p values are corrected for all of them together by
    Holm's procedure.

    Args:
        models: two or more of what `open_model` opens, or gave; all of labels, or all captioners.
        split: default test where there is one, else the first recipe's.
        metrics: which to compare; default mAP and the F1s of every level, or all scores of captions that the first
            recipe asks for.
        resamples: how often images are drawn anew.
        confidence: of the intervals.
        seed: of the draws.
        recipe: what upstream checkpoints among the models are; other models keep their own.
        overrides: `section.key=value`, changes of all recipes.
        out: also write the comparison, `.json` or `.md`.
        batch_size: images per step; default the recipe's.
        workers: loader processes; default the recipe's.

    Raises:
        InputError: for fewer than two models, other kinds of them, a metric that is not known, or a file of another
            ending.
        DataError: when the models have other labels, or their data other images.

    Examples:
        >>> found = hlcli.compare(["runs/shapes", "runs/shapes"], split="val", resamples=100)
        >>> found.differences[0].metric, found.differences[0].value, found.differences[0].p_value
        ('mAP', 0.0, 1.0)
    """
    check_at_least(1, resamples=resamples, batch_size=batch_size)
    check_at_least(0, workers=workers)
    if not 0 < confidence < 1:
        raise InputError(f"The confidence must lie between 0 and 1 (got {confidence:g}).", "0.95 is usual.")
    out = None if out is None else check_out_file(Path(out), _ENDINGS)
    if isinstance(models, str | Path | LoadedModel) or len(models) < 2:
        raise InputError("Two models at least are needed to compare them.", "Give two runs, or more.")
    opened = [_open(model, recipe, overrides) for model in models]
    names = [_name(model, row) for row, model in enumerate(models)]
    task = _shared_task(opened, names)
    split = split or default_split(opened[0].recipe)
    if task == "captions":
        opened = _with_caption_metrics(opened, metrics)
        chosen = _choose(metrics, spelt_out(opened[0].recipe.eval.caption_metrics), [])
        sides = caption_sides(opened, names, split, batch_size, workers)
    else:
        check_same_labels(opened, names)
        chosen = _choose(metrics, _label_metrics(opened), [level.name for level in opened[0].labels.levels])
        sides = label_sides(opened, names, split, batch_size, workers)
    found = Comparison(
        models=tuple(names),
        split=split,
        num_images=sides[0].num_images,
        values={name: tuple(float(side.numbers[name]) for side in sides) for name in chosen},
        differences=_differences(sides, chosen, resamples, confidence, seed),
        items=_items(sides),
        recipes=_recipe_differences(opened),
        resamples=resamples,
        confidence=confidence,
    )
    if out is not None:
        _write(found, out)
    return found


def _write(found: Comparison, out: Path) -> None:
    if out.suffix == ".json":
        write_json(out, found.to_json())
        return
    with whole_file(out) as handle:
        handle.write(found.to_markdown())


def _open(model: GivenModel, recipe: Recipe | None, overrides: Sequence[str]) -> LoadedModel:
    is_upstream = isinstance(model, str | Path) and Path(model).is_file()
    return open_model(model, recipe if is_upstream else None, overrides)


def _name(model: GivenModel, row: int) -> str:
    """What a model is called: its place as it was given."""
    if not isinstance(model, LoadedModel):
        return str(model)
    return f"model {row + 1}" if model.folder is None else str(model.folder)


def _shared_task(models: Sequence[LoadedModel], names: Sequence[str]) -> str:
    """What all models make."""
    tasks = [loaded.recipe.model.task for loaded in models]
    for task, name in zip(tasks, names, strict=True):
        if task != tasks[0]:
            raise InputError(f"{names[0]} makes {tasks[0]}, {name} makes {task}.", "Compare models of one kind.")
    return tasks[0]


def _with_caption_metrics(models: Sequence[LoadedModel], metrics: Sequence[str] | None) -> list[LoadedModel]:
    """The captioners with recipes that ask for the same scores."""
    wanted: Sequence[str] = models[0].recipe.eval.caption_metrics
    if metrics is not None and "all" not in metrics:
        chosen = _choose(metrics, spelt_out(METRICS), [])
        wanted = [name for name in METRICS if any(one in chosen for one in spelt_out([name]))]
    changed = []
    for loaded in models:
        section = change_section("eval", loaded.recipe.eval, {"caption_metrics": list(wanted)})
        changed.append(loaded._replace(recipe=loaded.recipe.model_copy(update={"eval": section})))
    return changed


def _label_metrics(models: Sequence[LoadedModel]) -> list[str]:
    """Names of what is measured of all models of labels, known before they are."""
    each = [metric_names(loaded.labels, tells_scenes=loaded.recipe.model.offers("cooccurrence")) for loaded in models]
    return [name for name in each[0] if all(name in names for names in each)]


def _choose(metrics: Sequence[str] | None, known: Sequence[str], levels: Sequence[str]) -> list[str]:
    """Names of the metrics that are compared, among those that are known.

    Raises:
        InputError: for one that is not measured, or none at all.
    """
    if metrics is None:
        above = [f"{level}/{name}" for level in reversed(levels[:-1]) for name in _ABOVE]
        return [name for name in (*_FINEST, *above) if name in known] or [*known]
    if not metrics:
        raise InputError("--metrics names no metric.", f"Metrics are {', '.join(known)}; or all.")
    chosen = [name for wanted in metrics for name in (known if wanted == "all" else _find_metric(wanted, known))]
    return list(dict.fromkeys(chosen))


def _find_metric(wanted: str, known: Sequence[str]) -> list[str]:
    """A metric's name, or all four of BLEU."""
    found = [name for name in known if name in (spelt_out([wanted]) or [wanted])]
    if not found:
        near = nearest(wanted, known)
        hint = f"Did you mean {near[0]}?" if near else f"Metrics are {', '.join(known)}; or all."
        raise InputError(f"--metrics {wanted}: it is not measured of these models.", hint)
    return found


def _differences(
    sides: Sequence[Side], chosen: Sequence[str], resamples: int, confidence: float, seed: int
) -> tuple[MetricDifference, ...]:
    """Differences to the first side; the same seed draws the same images for each."""
    drawn = []
    with Progress("Drawing images anew", total=len(sides) * resamples, unit="draw") as bar:
        for side in sides:

            def measure(rows: Any, side: Side = side) -> Mapping[str, float]:
                bar.advance()
                return side.measure(rows)

            drawn.append(resample(measure, side.num_images, resamples=resamples, seed=seed))
    nothing = np.full(resamples, np.nan)
    rows = []
    for model in range(1, len(sides)):
        for name in chosen:
            values = sides[0].numbers[name], sides[model].numbers[name]
            pair = [drawn[one].get(name, nothing) for one in (0, model)]
            rows.append((model, name, *difference(*values, *pair, confidence=confidence)))
    corrected = holm([row[-1] for row in rows])
    return tuple(MetricDifference(*row, p) for row, p in zip(rows, corrected, strict=True))


def _items(sides: Sequence[Side]) -> tuple[ItemScores, ...]:
    """Labels or images, with the scores of all models."""
    return tuple(
        ItemScores(
            same[0].level,
            same[0].name,
            same[0].positives,
            tuple(item.score for item in same),
            tuple(item.f1 for item in same if item.f1 is not None),
        )
        for same in zip(*(side.items for side in sides), strict=True)
    )


def _recipe_differences(models: Sequence[LoadedModel]) -> dict[str, tuple[Any, ...]]:
    """Keys of recipes whose values differ, and how scores are calibrated."""
    flat = [
        {
            f"{section}.{key}": value
            for section, values in loaded.recipe.to_dict().items()
            for key, value in values.items()
        }
        for loaded in models
    ]
    for one, loaded in zip(flat, models, strict=True):
        one["calibration"] = None if loaded.calibration is None else loaded.calibration.method
    keys = dict.fromkeys(key for one in flat for key in one)
    found = {key: tuple(one.get(key) for one in flat) for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}
