"""The `evaluate` verb: a model and a split → metrics, with the threshold protocols of the specification."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hlcli.building import eval_transform, normalize
from hlcli.data.loader import EvaluationImages, make_loader, whole_batches
from hlcli.data.records import Records
from hlcli.data.store import open_label_space, open_records, split_names
from hlcli.errors import DataError, InputError
from hlcli.evaluation.label_scoring import Scored, score_split
from hlcli.launching import Processes, find_processes
from hlcli.metrics.hierarchy import lift_targets
from hlcli.metrics.results import Metrics
from hlcli.metrics.summary import MetricOptions, summarise
from hlcli.model_folder import LoadedModel
from hlcli.model_opening import GivenModel, open_model
from hlcli.prediction.image_stream import check_at_least
from hlcli.prediction.label_files import check_prediction_file, write_predictions
from hlcli.prediction.label_rows import Prediction, make_prediction
from hlcli.prediction.labels import Predictor
from hlcli.thresholds import ThresholdRule, read_thresholds, thresholds_to_exceed

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    from hlcli.data.labels import LabelSpace
    from hlcli.evaluation.label_scoring import SplitScores
    from hlcli.recipe import Recipe
    from hlcli.sections import Eval


class Evaluation(NamedTuple):
    """Metrics of a split, with what they were computed from."""

    split: str
    metrics: Metrics
    scores: SplitScores
    records: Records


def evaluate(
    model: GivenModel | Predictor | None = None,
    *,
    split: str | None = None,
    images: str | Path | None = None,
    labels_file: str | Path | None = None,
    thresholds: Sequence[float] | ThresholdRule | None = None,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
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
    loaded, processes = _open(model, recipe, overrides)
    active = loaded.recipe
    protocol = active.eval.threshold if thresholds is None else thresholds
    values = read_thresholds(protocol, loaded.labels)
    workers = active.data.workers if workers is None else workers
    batch_size = batch_size or active.eval.batch_size

    def score(records: Records, title: str) -> Scored:
        loader = evaluation_loader(records, active, loaded.labels, processes, batch_size, workers)
        to_floats = normalize(active.data).to(processes.device)
        return score_split(
            [loaded.model], loader, to_floats, processes, loaded.labels, num_rows=len(records), title=title
        )

    split, records = _find_records(active, split, images, labels_file, loaded.labels)
    scored = score(records, f"Evaluating {split}")
    if protocol == "val" and split != "val":
        values = loaded.thresholds or _tune(score(open_records(active.data, "val"), "Tuning thresholds on val"), loaded)
    result = Evaluation(split, measure(scored, 0, loaded.labels, active.eval, values), scored.models[0], records)
    if out is not None and processes.is_main_process:
        _write_predictions(result, loaded, out)
    return result


def _open(
    model: GivenModel | Predictor | None, recipe: Recipe | None, overrides: Sequence[str]
) -> tuple[LoadedModel, Processes]:
    """The model on its device, and who works on it: a predictor's network stays where it is."""
    is_on_cpu = isinstance(model, Predictor) and model.device.type == "cpu"
    loaded = open_model(model.loaded if isinstance(model, Predictor) else model, recipe, overrides, task="labels")
    train = loaded.recipe.train
    processes = find_processes(cpu=is_on_cpu or train.cpu, precision=train.precision)
    return loaded._replace(model=loaded.model.to(processes.device)), processes


def _tune(scored: Scored, loaded: LoadedModel) -> tuple[float, ...]:
    return measure(scored, 0, loaded.labels, loaded.recipe.eval, None).thresholds


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
    scored: Scored, index: int, labels: LabelSpace, section: Eval, thresholds: Sequence[float] | None
) -> Metrics:
    """Metrics of one of the scored models; `thresholds` per level, None tunes them on these scores."""
    known = scored.targets if scored.ignore is None else scored.targets & ~scored.ignore
    return summarise(
        scored.models[index].levels,
        lift_targets(known, labels.parents),
        labels,
        MetricOptions(
            section.average_precision,
            section.empty_labels,
            consistent=section.consistent,
            undefined_as_one=section.undefined_as_one,
            at_threshold=section.at_threshold,
        ),
        thresholds=thresholds,
        ignore=scored.ignore,
        scene_probs=scored.models[index].scene_probs,
    )


def check_labels(recipe: Recipe, labels: LabelSpace) -> None:
    """Refuse to measure a model on a data set with other labels.

    Raises:
        DataError: naming the first label that differs.
    """
    theirs = open_label_space(recipe.data)
    if theirs.levels == labels.levels:
        return
    for level, other in zip(labels.levels, theirs.levels, strict=False):
        for index, (name, other_name) in enumerate(zip(level.label_names, other.label_names, strict=False)):
            if name != other_name:
                raise DataError(
                    f"Label {index} of level {level.name} is {name!r} in the model but {other_name!r} in the data set."
                )
    raise DataError(
        f"The model has {labels.level_sizes} labels per level, the data set {theirs.level_sizes}, or other parents."
    )


def _labelled(images: str | Path, labels_file: str | Path | None, labels: LabelSpace) -> Records:
    from hlcli.data.datasets.folder import labelled_records

    if labels_file is None:
        raise InputError("Measuring on images needs their labels.", "Give --labels FILE.csv.")
    return labelled_records(Path(images), Path(labels_file), labels)
