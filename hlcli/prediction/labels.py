"""The `load` and `predict` verbs: a model on anybody's images; whatever cannot be decoded is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from hlcli.building import eval_transform, normalize
from hlcli.data.failures import Failure, printable_path
from hlcli.data.image_files import find_images
from hlcli.data.images import load_image
from hlcli.data.labels import LabelSpace
from hlcli.data.records import ImageSource
from hlcli.data.transforms import EvalTransform
from hlcli.errors import DataError, InputError
from hlcli.features.extractors import weights_sum
from hlcli.launching import find_processes
from hlcli.methods.outputs import level_scores, scene_probs_of
from hlcli.metrics.multilabel import LevelThreshold
from hlcli.models.folder import LoadedModel
from hlcli.models.opening import GivenModel, open_model, refuse_beside_predictor
from hlcli.models.tasks import check_task
from hlcli.prediction.given_images import Images, named_sources
from hlcli.prediction.image_stream import check_at_least, in_order
from hlcli.prediction.label_files import check_prediction_file, prediction_file
from hlcli.prediction.label_rows import PredictedLabel, Prediction, Predictions, Scene, make_prediction
from hlcli.profiling import phase
from hlcli.progress import Progress
from hlcli.recipe import Recipe
from hlcli.thresholds import ThresholdRule, choose_thresholds, thresholds_to_exceed

__all__ = ["Failure", "PredictedLabel", "Prediction", "Predictions", "Predictor", "Scene", "load", "predict"]


class Predictor:
    """A model ready for images.

    Args:
        loaded: what `open_model` gives.
        thresholds: coarse → fine, one per level or a tuple of one per label; or one for all, a file of them by name,
            or `val` for the model's own, tuned on val; default the recipe's fixed one, the model's own, or 0.5.
        batch_size: images per step.
        workers: loader processes.
        cpu: stay on the CPU.
        top_k: list this many labels per level instead of those above the thresholds.

    Raises:
        InputError: for a model that makes no labels, or thresholds that cannot be used.
        ValueError: for numbers that cannot be meant.

    Examples:
        >>> predictor = hlcli.Predictor(hlcli.open_model("runs/shapes"), top_k=1)
        >>> [label.level for label in predictor.predict("photos/cat0.jpg")[0].labels]
        ['coarse', 'middle', 'fine']
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        thresholds: Sequence[LevelThreshold] | ThresholdRule | None = None,
        batch_size: int | None = None,
        workers: int = 0,
        cpu: bool = False,
        top_k: int | None = None,
    ) -> None:
        check_task(loaded.recipe.model, "labels")
        check_at_least(1, batch_size=batch_size, top_k=top_k)
        check_at_least(0, workers=workers)
        self.loaded, recipe = loaded, loaded.recipe
        self.labels: LabelSpace = loaded.labels
        self.thresholds = _choose_thresholds(thresholds, loaded)
        self.batch_size, self.workers, self.top_k = batch_size or recipe.eval.batch_size, workers, top_k
        self.processes = find_processes(cpu=cpu or recipe.train.cpu, precision=recipe.train.precision)
        self.device, self.autocast = self.processes.device, self.processes.autocast
        self.model = loaded.model.to(self.device).eval()
        self.normalize = normalize(recipe.data).to(self.device)
        self.transform = eval_transform(recipe.data)
        self.is_consistent = recipe.eval.consistent
        self.tells_scenes = recipe.model.offers("cooccurrence")

    def predict(self, images: Images) -> Predictions:
        """Predict one image or many: paths, URLs, encoded bytes, PIL images, arrays, tensors; see `GivenImage`.

        Raises:
            DataError: for an image that cannot be read, fetched or decoded; `stream` goes on with the next one.
            TypeError: for what is no image.
            ValueError: for arrays and tensors of another shape, or with numbers outside [0, 1].
        """
        results = Predictions()
        for result in self.stream(images):
            if isinstance(result, Failure):
                raise DataError(result.error)
            results.append(result)
        return results

    def stream(self, images: Images) -> Iterator[Prediction | Failure]:
        """One result per image, in order, for any number of images: they are taken when they are needed.

        Raises:
            TypeError: for what is no image.
            ValueError: for arrays and tensors of another shape, or with numbers outside [0, 1].
        """
        return self._stream(named_sources(images))

    def _stream(self, sources: Iterable[tuple[str, ImageSource]]) -> Iterator[Prediction | Failure]:
        """One result per named source, in order; several processes share the work, and each gets all results."""
        return in_order(
            sources,
            _Decoder(self.transform),
            self._predict_batch,
            self.processes,
            batch_size=self.batch_size,
            workers=self.workers,
        )

    def level_scores(self, output: NamedTuple) -> list[np.ndarray]:
        """Scores [B, L] of every level, coarse → fine, of what the network answers; calibrated, if the model is."""
        calibration = self.loaded.calibration
        return level_scores(output, self.labels, consistent=self.is_consistent, calibration=calibration)

    @torch.inference_mode()
    def _predict_batch(self, items: list[tuple[str, Tensor | str]]) -> list[Prediction | Failure]:
        tensors = [item for _, item in items if isinstance(item, Tensor)]
        scores = iter(self._score(torch.stack(tensors))) if tensors else iter(())
        return [self._predict_one(name, *next(scores)) if isinstance(item, Tensor) else Failure(name, item)
                for name, item in items]  # fmt: skip

    def _predict_one(
        self, name: str, levels: tuple[np.ndarray, ...], scene_probs: np.ndarray | None
    ) -> Prediction | Failure:
        if not all(np.isfinite(scores).all() for scores in levels):
            why = "its scores are not finite. The model's weights or the precision are at fault."
            return Failure(name, f"Image {name} cannot be predicted: {why}")
        return make_prediction(name, levels, self.labels, self.thresholds, top_k=self.top_k, scene_probs=scene_probs)

    def _score(self, images: Tensor) -> list[tuple[tuple[np.ndarray, ...], np.ndarray | None]]:
        """Per image its scores of every level, and the probabilities of scenes from a network that tells them."""
        with phase("forward"):
            with self.autocast():
                output = self.model(self.normalize(images.to(self.device)))
            levels = self.level_scores(output)
            scene_probs = scene_probs_of(output)
            scenes = [None] * len(images) if scene_probs is None else list(scene_probs.float().cpu().numpy())
        return list(zip(zip(*levels, strict=True), scenes, strict=True))


def _choose_thresholds(given: Any, loaded: LoadedModel) -> tuple[LevelThreshold, ...]:
    """Those given, else the recipe's fixed one, else those tuned on val, else 0.5 with a warning."""
    if isinstance(given, str) and given == "self":
        raise InputError("--thresholds self needs labels.", "Give --labels FILE.csv, a number, or `val`.")
    rule: Sequence[LevelThreshold] | ThresholdRule = loaded.recipe.eval.threshold if given is None else given
    chosen = choose_thresholds(rule, loaded.labels, loaded.thresholds)
    return thresholds_to_exceed(chosen, at_threshold=loaded.recipe.eval.at_threshold)


@dataclass(frozen=True)
class _Decoder:
    """Decodes a named image, or says why it cannot."""

    transform: EvalTransform

    def __call__(self, named: tuple[str, ImageSource]) -> tuple[str, Tensor | str]:
        """The image's name, with the image [3, H, W] or the reason."""
        name, source = named
        try:
            return name, self.transform(load_image(source, name=name, shrink_to=self.transform.decode_size))
        except DataError as error:
            return name, error.message


class PredictorOptions(TypedDict, total=False):
    """What a `Predictor` can be asked for; it says what each means."""

    thresholds: Sequence[LevelThreshold] | ThresholdRule | None
    batch_size: int | None
    workers: int
    cpu: bool
    top_k: int | None


def load(
    model: GivenModel,
    *,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    **options: Unpack[PredictorOptions],
) -> Predictor:
    """Load a model of labels for prediction.

    Args:
        model: run folder, model folder, `hf://owner/name`, or upstream checkpoint (then with `recipe`); or a loaded
            model.
        recipe: what an upstream checkpoint is; for a model of ours the data and the evaluation to use instead.
        overrides: `section.key=value`, changes of the recipe.
        **options: those of `Predictor`.

    Raises:
        InputError: when the model cannot be used; the kind says why.

    Examples:
        >>> predictor = hlcli.load("runs/shapes", thresholds=0.5)
        >>> [[(name, score)]] = predictor.predict("photos/cat0.jpg").top(1)
        >>> 0 < score < 1
        True
    """
    return Predictor(open_model(model, recipe, overrides), **options)


class Predicted(NamedTuple):
    """What was found in images, and the images that could not be decoded."""

    predictions: Predictions
    failures: list[Failure]


def predict(
    model: GivenModel | Predictor,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    resume: bool = False,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    **options: Unpack[PredictorOptions],
) -> Predicted:
    """Predict files, folders and globs; write the results to a file, or return them.

    Args:
        model: whatever `load` takes, or a ready predictor.
        images: files, folders (searched with everything below) and patterns.
        out: `.jsonl`, `.csv` or `.parquet`; failures go to `….failures.jsonl` beside it.
        resume: go on with a file that was begun with the same images and options.
        recipe: as for `load`.
        overrides: `section.key=value`, changes of the recipe.
        **options: those of `Predictor`.

    Returns:
        The predictions (empty with `out`), and the images that could not be decoded.

    Raises:
        InputError: when there is no image, the file has another ending or was begun, or the model cannot be used.

    Examples:
        >>> predictions, failures = hlcli.predict("runs/shapes", "photos/cat*.jpg")
        >>> predictions[0].image, len(predictions), failures
        ('photos/cat0.jpg', 4, [])
    """
    out = None if out is None else check_prediction_file(Path(out))
    sources = [(printable_path(path), path) for path in find_images(images)]
    if isinstance(model, Predictor):
        refuse_beside_predictor(recipe, overrides, options)
        predictor = model
    else:
        predictor = load(model, recipe=recipe, overrides=overrides, **options)
    if out is None:
        results = list(_results(predictor, sources, 0))
        kept = Predictions(result for result in results if isinstance(result, Prediction))
        return Predicted(kept, [result for result in results if isinstance(result, Failure)])
    names, is_scenic = [name for name, _ in sources], predictor.tells_scenes
    work, processes = _work_of(predictor), predictor.processes
    with prediction_file(out, names, work, processes, predictor.labels, with_scenes=is_scenic) as file:
        start = file.begin(resume=resume, batch_size=predictor.batch_size)
        for result in _results(predictor, sources, start):
            file.write(result)
        return Predicted(Predictions(), file.finish(keep=False)[1])


def _work_of(predictor: Predictor) -> dict[str, Any]:
    """What decides the predictions, beside the images."""
    recipe, data = predictor.loaded.recipe, predictor.loaded.recipe.data
    calibration = predictor.loaded.calibration
    return {
        "calibration": calibration and calibration.to_json(),
        "model": weights_sum(predictor.model),
        "labels": [[level.name, *level.label_names] for level in predictor.labels.levels],
        "thresholds": list(predictor.thresholds),
        "number of labels": predictor.top_k,
        "consistency": predictor.is_consistent,
        "image size": [*data.height_width, data.resize, data.normalization, data.pixels],
        "precision": recipe.train.precision,
        "batch size": predictor.batch_size,
    }


def _results(
    predictor: Predictor, sources: Sequence[tuple[str, ImageSource]], start: int
) -> Iterator[Prediction | Failure]:
    """The results from image `start` on."""
    with Progress("Predicting", total=len(sources), unit="image", start=start) as bar:
        for result in predictor._stream(islice(sources, start, None)):
            yield result
            bar.advance()
