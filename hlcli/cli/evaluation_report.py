"""What `hlcli eval` reads and shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hlcli
from hlcli import InputError
from hlcli.cli.commands import SOME_FAILED
from hlcli.cli.failure_report import show_failures
from hlcli.cli.image_places import refuse_models
from hlcli.cli.json_output import print_json
from hlcli.cli.next_steps import asked_images, figures_of, say, suggest
from hlcli.launching import is_first_process
from hlcli.progress import waiting

if TYPE_CHECKING:
    from hlcli.data.failures import Failure
    from hlcli.evaluation.labels import Evaluation
    from hlcli.models.folder import LoadedModel
    from hlcli.prediction.label_rows import Prediction
    from hlcli.recipe import Recipe
    from hlcli.thresholds import ThresholdRule


def sort_out(
    model: Path | None, images: Sequence[Path], more_images: Sequence[Path], recipe: Recipe | None
) -> tuple[Path | None, list[Path]]:
    """Which model, and which images: a recipe whose method needs no training stands for the model, so that what the
    shell makes of `--images *.jpg` has no model in front.

    Raises:
        InputError: for a model among the images.
    """
    refuse_models(
        [*images, *more_images],
        "The model comes first: `hlcli eval MODEL --images …`. For several models: `hlcli compare MODEL MODEL`.",
    )
    if model is not None and images and recipe is not None and not recipe.model.needs_training:
        return None, [*images, model, *more_images]
    return model, [*images, *more_images]


def read_recipe(recipe: str | None, overrides: Sequence[str]) -> Recipe | None:
    """`--recipe` with `--set`; None without.

    Raises:
        RecipeError: listing every mistake.
    """
    return None if recipe is None else hlcli.Recipe.from_yaml(recipe, overrides)


def check_options(
    places: Sequence[Path],
    labels: Path | None,
    out: Path | None,
    page: Path | None,
    *,
    split: str | None,
    top_k: int | None,
    per_label: bool,
    resume: bool,
) -> None:
    """Refuse options that would have no effect.

    Raises:
        InputError: naming the option.
    """
    if labels is not None and len(places) != 1:
        raise InputError("--labels needs one folder of images.", "Give --images FOLDER.")
    if places and split is not None:
        raise InputError("--split and --images exclude each other.", "Leave one of them out.")
    measures = not places or labels is not None
    if measures and top_k is not None:
        raise InputError("--top-k is for images without labels.", "Leave it out, or give --images without --labels.")
    if resume and (measures or out is None):
        raise InputError("--resume goes on with a file of predictions.", "Give --images FOLDER --out FILE.jsonl.")
    for option, is_given in (("--per-label", per_label), ("--report", page is not None)):
        if not measures and is_given:
            raise InputError(f"{option} measures, which needs labels.", "Give --labels FILE.csv, or leave it out.")


def check_metrics_option(metrics: str | None) -> None:
    """Refuse `--metrics` for models.

    Raises:
        InputError: always when it is given.
    """
    if metrics is not None:
        raise InputError("--metrics is for --captions FILE.", "For a captioner: --set eval.caption_metrics=[CIDEr].")


def check_caption_overrides(overrides: Sequence[str]) -> None:
    """Refuse `--set` for files of captions.

    Raises:
        InputError: always when it is given.
    """
    if overrides:
        raise InputError(
            "Files of captions are scored as they are; --set has no use.",
            "Use --metrics METEOR,SPICE." if any("caption_metrics" in text for text in overrides) else "Leave it out.",
        )


def predict_images(
    loaded: LoadedModel,
    places: list[Path],
    out: Path | None,
    *,
    resume: bool,
    thresholds: ThresholdRule | None,
    batch_size: int | None,
    workers: int | None,
    top_k: int | None,
    as_json: bool,
) -> int:
    """Predict and show; returns the exit code."""
    workers = loaded.recipe.data.workers if workers is None else workers
    with waiting("Loading"):
        predictor = hlcli.Predictor(loaded, thresholds=thresholds, batch_size=batch_size, workers=workers, top_k=top_k)
        predictions, failures = hlcli.predict(predictor, places, out=out, resume=resume)
    if is_first_process():
        _show_predictions(predictions, failures, out, as_json=as_json)
    return SOME_FAILED if failures else 0


def _show_predictions(
    predictions: list[Prediction], failures: list[Failure], out: Path | None, *, as_json: bool
) -> None:
    if as_json:
        told: dict[str, Any] = {"failures": [row.to_json() for row in failures]}
        print_json(
            {"predictions": [row.to_json() for row in predictions], **told}
            if out is None
            else {"out": str(out), **told}
        )
    elif out is None:
        from rich.console import Console

        from hlcli.cli.tables import prediction_table

        Console().print(prediction_table(predictions))
    else:
        say(f"Predictions: {out}")
    show_failures(failures, "predicted", None if out is None else hlcli.failures_file(out))


def suggest_more(
    model: Path | None, recipe: Recipe, places: Sequence[Path], labels: Path | None, out: Path | None, page: Path | None
) -> None:
    """What to type after `hlcli eval MODEL` of labels."""
    if model is None:
        return
    figures = [kind for kind in figures_of(recipe) if kind != "scenes"]
    if places and labels is None:
        where = ["--images", asked_images(places)]
        if out is None:
            suggest("eval", model, *where, "--out", "predictions.jsonl")
        elif figures:
            suggest("visualize", figures[0], model, *where)
    elif page is None and not places:
        suggest("eval", model, "--report", "report.html")
    else:
        suggest("eval", model, "--images", "FOLDER")


def measure_split(
    loaded: LoadedModel,
    split: str | None,
    places: list[Path],
    labels: Path | None,
    protocol: ThresholdRule | None,
    *,
    out: Path | None,
    page: Path | None,
    batch_size: int | None,
    workers: int | None,
    per_label: bool,
    as_json: bool,
) -> None:
    """Measure and show."""
    with waiting("Loading"):
        result = hlcli.evaluate(
            loaded,
            split=split,
            images=places[0] if places else None,
            labels_file=labels,
            thresholds=protocol,
            out=out,
            report=page,
            batch_size=batch_size,
            workers=workers,
        )
    if is_first_process():
        if out is not None:
            say(f"Predictions: {out}")
        if page is not None:
            say(f"Report: {page}")
        _show_metrics(result, per_label=per_label, as_json=as_json)


def _show_metrics(result: Evaluation, *, per_label: bool, as_json: bool) -> None:
    metrics = result.metrics
    if as_json:
        document: dict[str, Any] = {"split": result.split, "images": metrics.num_images, "metrics": metrics.to_json()}
        if per_label:
            document["labels"] = metrics.labels_to_json()
        print_json(document)
        return
    from rich.console import Console

    from hlcli.cli.tables import metrics_report

    Console().print(metrics_report(metrics, title=result.split, per_label=per_label))
