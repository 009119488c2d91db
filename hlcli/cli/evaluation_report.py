"""What `hlcli eval` reads and shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hlcli.launching import is_first_process

if TYPE_CHECKING:
    from hlcli.data.failures import Failure
    from hlcli.evaluation.labels import Evaluation
    from hlcli.model_folder import LoadedModel
    from hlcli.prediction.label_rows import Prediction
    from hlcli.recipe import Recipe
    from hlcli.thresholds import ThresholdRule

FAILED_SOME = 3


def sort_out(
    model: Path | None, images: Sequence[Path], more_images: Sequence[Path], recipe: Recipe | None
) -> tuple[Path | None, list[Path]]:
    """Which model, and which images: a recipe whose method needs no training stands for the model, so that what the
    shell makes of `--images *.jpg` has no model in front."""
    if model is not None and images and recipe is not None and not recipe.model.needs_training:
        return None, [*images, model, *more_images]
    return model, [*images, *more_images]


def read_recipe(recipe: str | None, overrides: Sequence[str]) -> Recipe | None:
    """`--recipe` with `--set`; None without.

    Raises:
        RecipeError: listing every mistake.
    """
    from hlcli.recipe import Recipe

    return None if recipe is None else Recipe.from_yaml(recipe, overrides)


def open_for(model: Path | None, given: Recipe | None, overrides: Sequence[str]) -> LoadedModel:
    """The model, with the recipe it was trained with, changed where asked; without a model that of the recipe.

    Raises:
        InputError: when the model or the recipe cannot be used.
    """
    from hlcli.errors import InputError
    from hlcli.evaluation.labels import check_recipe, open_untrained
    from hlcli.model_folder import open_model
    from hlcli.recipe import Recipe

    if model is None:
        return open_untrained(given)
    loaded = open_model(model, given)
    if given is None and overrides:
        given = Recipe.from_dict(loaded.recipe.to_dict(), overrides, source=f"recipe of {model}")
        if (given.model, given.backbone) != (loaded.recipe.model, loaded.recipe.backbone):
            raise InputError(
                f"{model} is trained: its model and backbone are what they are.", "Change data, train or eval settings."
            )
    if given is None:
        return loaded
    check_recipe(given, loaded)
    if loaded.recipe.model.task == "captions":  # its section knows the widths of stored features
        given = given.model_copy(update={"model": loaded.recipe.model})
    return loaded._replace(recipe=given)


def check_options(
    places: Sequence[Path], labels: Path | None, *, split: str | None, top_k: int | None, per_label: bool
) -> None:
    """Refuse options that would have no effect.

    Raises:
        InputError: naming the option.
    """
    from hlcli.errors import InputError

    if labels is not None and len(places) != 1:
        raise InputError("--labels needs one folder of images.", "Give --images FOLDER.")
    if places and split is not None:
        raise InputError("--split and --images exclude each other.", "Leave one of them out.")
    measures = not places or labels is not None
    if measures and top_k is not None:
        raise InputError("--top-k is for images without labels.", "Leave it out, or give --images without --labels.")
    if not measures and per_label:
        raise InputError("--per-label measures, which needs labels.", "Give --labels FILE.csv, or leave it out.")


def check_metrics_option(metrics: str | None) -> None:
    """Refuse `--metrics` for models.

    Raises:
        InputError: always when it is given.
    """
    from hlcli.errors import InputError

    if metrics is not None:
        raise InputError("--metrics is for --captions FILE.", "For a captioner: --set eval.caption_metrics=[CIDEr].")


def check_caption_overrides(overrides: Sequence[str]) -> None:
    """Refuse `--set` for files of captions.

    Raises:
        InputError: always when it is given.
    """
    from hlcli.errors import InputError

    if overrides:
        raise InputError(
            "Files of captions are scored as they are; --set has no use.",
            "Use --metrics METEOR,SPICE." if any("caption_metrics" in text for text in overrides) else "Leave it out.",
        )


def read_protocol(text: str | None) -> ThresholdRule | None:
    """`--thresholds` as a protocol, a number or a file."""
    if text is None or text in ("self", "val"):
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        return Path(text)


def prediction_thresholds(loaded: LoadedModel, protocol: ThresholdRule | None) -> tuple[float, ...] | None:
    """Thresholds for images without labels; None stands for the model's own.

    Raises:
        InputError: for `self`, which needs labels, or for thresholds that cannot be read.
    """
    from hlcli.errors import InputError
    from hlcli.thresholds import read_thresholds

    if protocol == "self":
        raise InputError("--thresholds self needs labels.", "Give --labels FILE.csv, a number, or `val`.")
    return None if protocol is None else read_thresholds(protocol, loaded.labels)


def predict_images(
    loaded: LoadedModel,
    places: list[Path],
    out: Path | None,
    *,
    thresholds: tuple[float, ...] | None,
    batch_size: int | None,
    workers: int | None,
    top_k: int | None,
    as_json: bool,
) -> int:
    """Predict and show; returns the exit code."""
    import hlcli
    from hlcli.prediction.label_files import check_ending

    if out is not None:
        check_ending(out)
    workers = loaded.recipe.data.workers if workers is None else workers
    predictor = hlcli.Predictor(loaded, thresholds=thresholds, batch_size=batch_size, workers=workers, top_k=top_k)
    predictions, failures = hlcli.predict(predictor, places, out)
    if is_first_process():
        _show_predictions(predictions, failures, out, as_json=as_json)
    return FAILED_SOME if failures else 0


def _show_predictions(
    predictions: list[Prediction], failures: list[Failure], out: Path | None, *, as_json: bool
) -> None:
    from hlcli.data.failures import failures_file

    if as_json:
        rows: dict[str, Any] = {
            "predictions": [row.to_json() for row in predictions],
            "failures": [row.to_json() for row in failures],
        }
        typer.echo(json.dumps({**rows, "out": str(out)} if out else rows, ensure_ascii=False))
    elif out is None:
        from rich.console import Console

        from hlcli.report import prediction_table

        Console().print(prediction_table(predictions))
    else:
        typer.echo(f"Predictions: {out}", err=True)
    for failure in failures if out is None else failures[:5]:
        typer.echo(f"failed: {failure.error}", err=True)
    if failures:
        where = f"; all are listed in {failures_file(out)}" if out is not None else ""
        typer.echo(f"{len(failures)} images could not be decoded{where}.", err=True)


def measure_split(
    loaded: LoadedModel,
    split: str | None,
    places: list[Path],
    labels: Path | None,
    protocol: ThresholdRule | None,
    *,
    out: Path | None,
    batch_size: int | None,
    workers: int | None,
    per_label: bool,
    as_json: bool,
) -> None:
    """Measure and show."""
    import hlcli
    from hlcli.prediction.label_files import check_ending

    if out is not None:
        check_ending(out)
    result = hlcli.evaluate(
        loaded,
        split=split,
        images=places[0] if places else None,
        labels_file=labels,
        thresholds=protocol,
        batch_size=batch_size,
        workers=workers,
    )
    if is_first_process():
        if out is not None:
            _write_split(result, loaded, out)
        _show_metrics(result, per_label=per_label, as_json=as_json)


def _write_split(result: Evaluation, loaded: LoadedModel, out: Path) -> None:
    """Predictions of a split's images."""
    from hlcli.prediction.label_files import open_writer
    from hlcli.prediction.labels import split_predictions

    with_scenes = result.scores.scene_probs is not None
    with open_writer(out, loaded.labels, lambda row: None, with_scenes=with_scenes) as write:
        for prediction in split_predictions(result, loaded.labels, at_threshold=loaded.recipe.eval.at_threshold):
            write(prediction)
    typer.echo(f"Predictions: {out}", err=True)


def _show_metrics(result: Evaluation, *, per_label: bool, as_json: bool) -> None:
    metrics = result.metrics
    if as_json:
        document: dict[str, Any] = {"split": result.split, "images": metrics.num_images, "metrics": metrics.to_json()}
        if per_label:
            document["labels"] = metrics.labels_to_json()
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    from rich.console import Console

    from hlcli.report import metrics_report

    Console().print(metrics_report(metrics, title=result.split, per_label=per_label))
