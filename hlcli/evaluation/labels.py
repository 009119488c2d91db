"""The `evaluate` verb: a model and a split → metrics, at thresholds given, tuned on it, or on another split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hlcli.building import eval_transform, normalize
from hlcli.data.labels import LabelSpace, refuse_other_labels
from hlcli.data.loader import EvaluationImages, whole_batches
from hlcli.data.loader_processes import make_loader
from hlcli.data.records import Records
from hlcli.data.store import open_label_space, open_records, split_names
from hlcli.errors import InputError
from hlcli.evaluation.label_scoring import Scored, score_split
from hlcli.launching import Processes, find_processes
from hlcli.metrics.hierarchy import lift_targets
from hlcli.metrics.multilabel import LevelThreshold
from hlcli.metrics.results import Metrics
from hlcli.metrics.summary import Measured, MetricOptions, measure_levels, summarise
from hlcli.models.folder import LoadedModel
from hlcli.models.opening import GivenModel, open_model
from hlcli.prediction.image_stream import check_at_least
from hlcli.prediction.label_files import check_prediction_file, write_predictions
from hlcli.prediction.label_rows import Prediction, make_prediction
from hlcli.prediction.labels import Predictor
from hlcli.profiling import phase
from hlcli.report.files import check_report_file
from hlcli.thresholds import ThresholdRule, read_thresholds, thresholds_to_exceed

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    from hlcli.evaluation.label_scoring import SplitScores
    from hlcli.recipe import Recipe
    from hlcli.sections import Eval


class Evaluation(NamedTuple):
    """Metrics of a split, with what they were computed from.

    Shapes: targets, ignore [N, L] bool of the fine labels; ignore None where no label of no image is left out.
    """

    split: str
    metrics: Metrics
    scores: SplitScores
    records: Records
    targets: np.ndarray
    ignore: np.ndarray | None


def evaluate(
    model: GivenModel | Predictor | None = None,
    *,
    split: str | None = None,
    images: str | Path | None = None,
    labels_file: str | Path | None = None,
    thresholds: Sequence[LevelThreshold] | ThresholdRule | None = None,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    report: str | Path | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
) -> Evaluation:
    """Measure a model on a split of its data set, or on a labelled folder.

    Args:
        model: whatever `open_model` opens, or what it gave; or a predictor, whose network is measured on its device.
            None for a recipe whose method needs no training.
        split: default test where there is one, else val.
        images: a folder to measure on instead, with `labels_file`.
        labels_file: CSV file, `image,labels`.
        thresholds: see `ThresholdRule`, or numbers of all levels; default what the recipe says, for a predictor too.
        recipe: for an upstream checkpoint, or to measure on another data set of the same labels.
        overrides: `section.key=value`, changes of the recipe.
        out: also write the predictions of all images, `.jsonl`, `.csv` or `.parquet`.
        report: also write a page about it, `.html`.
        batch_size: images per step; default the recipe's.
        workers: loader processes; default the recipe's.

    Raises:
        InputError: when the model, the split or the thresholds cannot be used.

    Examples:
        >>> hlcli.evaluate("runs/shapes", split="val").metrics.num_images
        21
    """
    check_at_least(1, batch_size=batch_size)
    check_at_least(0, workers=workers)
    out = None if out is None else check_prediction_file(Path(out))
    report = None if report is None else check_report_file(report)
    loaded, processes = _open(model, recipe, overrides)
    split, records = _find_records(loaded.recipe, split, images, labels_file, loaded.labels)
    [result] = measure_together(
        [loaded], split, records, processes, thresholds=thresholds, batch_size=batch_size, workers=workers
    )
    if out is not None and processes.is_main_process:
        _write_predictions(result, loaded, out)
    if report is not None and processes.is_main_process:
        from hlcli.report.labels import write_label_report  # it needs this module

        write_label_report(report, result, loaded)
    return result


def measure_together(
    models: Sequence[LoadedModel],
    split: str,
    records: Records,
    processes: Processes,
    *,
    thresholds: Sequence[LevelThreshold] | ThresholdRule | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
) -> list[Evaluation]:
    """Measure models that see the same images in the same way; each image is decoded once.

    Args:
        models: one or more, on the processes' device; their data sections show images alike.
        split: what the records are called.
        records: of the first model's data set.
        processes: device, precision, shares of the work.
        thresholds: default what each model's recipe says.
        batch_size: images per step; default that of the first model's recipe.
        workers: loader processes; likewise.
    """
    active = models[0].recipe
    workers = active.data.workers if workers is None else workers
    batch_size = batch_size or active.eval.batch_size
    to_floats = normalize(active.data).to(processes.device)

    def score(chosen: Sequence[LoadedModel], records: Records, title: str) -> Scored:
        labels, networks = chosen[0].labels, [loaded.model for loaded in chosen]
        loader = evaluation_loader(records, active, labels, processes, batch_size, workers)
        scored = score_split(networks, loader, to_floats, processes, labels, num_rows=len(records), title=title)
        for scores, loaded in zip(scored.models, chosen, strict=True):
            scores.check_finite(str(loaded.folder or "The model"))
        return scored._replace(models=[_calibrated(*pair) for pair in zip(scored.models, chosen, strict=True)])

    rules = [loaded.recipe.eval.threshold if thresholds is None else thresholds for loaded in models]
    values = [read_thresholds(rule, loaded.labels) for rule, loaded in zip(rules, models, strict=True)]
    scored = score(models, records, f"Evaluating {split}")
    by_val = [row for row, rule in enumerate(rules) if rule == "val" and (split != "val" or _is_tuned(models[row]))]
    values = [loaded.thresholds if row in by_val else values[row] for row, loaded in enumerate(models)]
    untuned = [row for row in by_val if values[row] is None]
    if untuned:
        on_val = score([models[row] for row in untuned], open_records(active.data, "val"), "Tuning thresholds on val")
        for place, row in enumerate(untuned):
            values[row] = measure(on_val, place, models[row].labels, models[row].recipe.eval, None).thresholds
    found = []
    for row, loaded in enumerate(models):
        metrics = measure(scored, row, loaded.labels, loaded.recipe.eval, values[row])
        found.append(Evaluation(split, metrics, scored.models[row], records, scored.targets, scored.ignore))
    return found


def _is_tuned(loaded: LoadedModel) -> bool:
    """Whether `calibrate` chose its thresholds, so that they hold on val too."""
    return loaded.calibration is not None and loaded.thresholds is not None


def _calibrated(scores: SplitScores, loaded: LoadedModel) -> SplitScores:
    if loaded.calibration is None:
        return scores
    return scores._replace(levels=loaded.calibration.apply(scores.levels))


def _open(
    model: GivenModel | Predictor | None, recipe: Recipe | None, overrides: Sequence[str]
) -> tuple[LoadedModel, Processes]:
    """The model on its device, and who works on it: a predictor's network stays where it is."""
    is_on_cpu = isinstance(model, Predictor) and model.device.type == "cpu"
    loaded = open_model(model.loaded if isinstance(model, Predictor) else model, recipe, overrides, task="labels")
    train = loaded.recipe.train
    processes = find_processes(cpu=is_on_cpu or train.cpu, precision=train.precision)
    return loaded._replace(model=loaded.model.to(processes.device)), processes


def split_predictions(
    evaluation: Evaluation, labels: LabelSpace, *, at_threshold: bool = False
) -> Iterator[Prediction]:
    """Predictions of a split that was measured, at the thresholds it was measured with."""
    cuts = thresholds_to_exceed(evaluation.metrics.thresholds, at_threshold=at_threshold)
    for row in range(len(evaluation.records)):
        levels = tuple(level[row] for level in evaluation.scores.levels)
        scene_probs = None if evaluation.scores.scene_probs is None else evaluation.scores.scene_probs[row]
        name = evaluation.records[row].image_id
        yield make_prediction(name, levels, labels, cuts, scene_probs=scene_probs)


def _write_predictions(result: Evaluation, loaded: LoadedModel, out: Path) -> None:
    with_scenes = result.scores.scene_probs is not None
    predictions = split_predictions(result, loaded.labels, at_threshold=loaded.recipe.eval.at_threshold)
    write_predictions(out, predictions, loaded.labels, with_scenes=with_scenes)


def _find_records(
    recipe: Recipe, split: str | None, images: str | Path | None, labels_file: str | Path | None, labels: LabelSpace
) -> tuple[str, Records]:
    """What is measured, and its name: a split, or a folder of images with their labels."""
    if images is not None:
        return "images", _labelled(images, labels_file, labels)
    check_labels(recipe, labels)
    split = split or default_split(recipe)
    return split, open_records(recipe.data, split)


def default_split(recipe: Recipe) -> str:
    """Test where there is one, else the recipe's own."""
    return "test" if "test" in split_names(recipe.data) else recipe.eval.split


def evaluation_loader(
    records: Records,
    recipe: Recipe,
    labels: LabelSpace,
    accelerator: Accelerator | Processes,
    batch_size: int,
    workers: int,
) -> DataLoader:
    """This process's share of a split, in whole batches."""
    batches = whole_batches(len(records), batch_size, accelerator.process_index, accelerator.num_processes)
    images = EvaluationImages(records, labels.num_labels, eval_transform(recipe.data))
    return make_loader(images, batches, workers=workers, device=accelerator.device)


def measure(
    scored: Scored, index: int, labels: LabelSpace, section: Eval, thresholds: Sequence[LevelThreshold] | None
) -> Metrics:
    """Metrics of one of the scored models; `thresholds` per level, None tunes them on these scores."""
    levels, options = scored.models[index], _metric_options(section)
    with phase("metrics"):
        return summarise(
            levels.levels,
            _level_targets(scored, labels),
            labels,
            options,
            thresholds=thresholds,
            ignore=scored.ignore,
            scene_probs=levels.scene_probs,
        )


def measured_levels(evaluation: Evaluation, loaded: LoadedModel) -> list[Measured]:
    """What the metrics of a split were made of, coarse → fine: scores, targets, predictions of all images."""
    return measure_levels(
        evaluation.scores.levels,
        _level_targets(evaluation, loaded.labels),
        loaded.labels,
        _metric_options(loaded.recipe.eval),
        thresholds=evaluation.metrics.thresholds,
        ignore=evaluation.ignore,
    )


def _level_targets(known: Scored | Evaluation, labels: LabelSpace) -> list[np.ndarray]:
    """Targets of all levels, of which those that are left out are 0."""
    targets = known.targets if known.ignore is None else known.targets & ~known.ignore
    return lift_targets(targets, labels.parents)


def _metric_options(section: Eval) -> MetricOptions:
    return MetricOptions(
        section.average_precision,
        section.empty_labels,
        consistent=section.consistent,
        undefined_as_one=section.undefined_as_one,
        at_threshold=section.at_threshold,
    )


def check_labels(recipe: Recipe, labels: LabelSpace) -> None:
    """Refuse to measure a model on a data set with other labels.

    Raises:
        DataError: naming the first label that differs.
    """
    refuse_other_labels(labels, open_label_space(recipe.data), "the model", "the data set")


def _labelled(images: str | Path, labels_file: str | Path | None, labels: LabelSpace) -> Records:
    from hlcli.data.datasets.folder import labelled_records

    if labels_file is None:
        raise InputError("Measuring on images needs their labels.", "Give --labels FILE.csv.")
    return labelled_records(Path(images), Path(labels_file), labels)
