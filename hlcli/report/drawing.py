"""The report as a kind of figure: `hlcli visualize report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hlcli.data.failures import Failure
from hlcli.errors import InputError
from hlcli.evaluation.captions import evaluate_captions
from hlcli.evaluation.labels import evaluate
from hlcli.figures.files import Figures
from hlcli.models.folder import LoadedModel
from hlcli.models.opening import GivenModel, open_model
from hlcli.prediction.caption_inputs import FeatureSources
from hlcli.prediction.caption_predictor import CaptionPredictor
from hlcli.recipe import Recipe
from hlcli.report.captions import write_caption_report
from hlcli.report.files import PAGE_SUFFIXES
from hlcli.report.labels import write_label_report


def draw_report(
    model: GivenModel, out: Path, file_format: str, *, recipe: Recipe | None = None, split: str | None = None
) -> Figures:
    """Measure a model on a split and tell all of it on one page, `report.html`.

    Args:
        model: run folder (with its curves), model folder or upstream checkpoint; of labels or of captions.
        out: folder for the page, or its file, `.html`.
        file_format: it has none: anything but the default is refused.
        recipe: where the data is, or what an upstream checkpoint is.
        split: default test where there is one.

    Returns:
        The page, and the images that could not be decoded when they were drawn.

    Raises:
        InputError: when the model or the split cannot be used, or for a file format.
    """
    if file_format != "png":
        raise InputError("report is a page for browsers: it has no use for --format.", "Leave it out.")
    path = out if out.suffix.lower() in PAGE_SUFFIXES else out / "report.html"
    loaded = open_model(model, recipe)
    if loaded.recipe.model.task == "captions":
        return _of_captions(loaded, split, path)
    return _on_page(path, write_label_report(path, evaluate(loaded, split=split), loaded))


def _of_captions(loaded: LoadedModel, split: str | None, path: Path) -> Figures:
    predictor = CaptionPredictor(loaded, features=FeatureSources(of_data=True), workers=loaded.recipe.data.workers)
    return _on_page(path, write_caption_report(path, evaluate_captions(predictor, split), predictor))


def _on_page(path: Path, failures: Sequence[Failure]) -> Figures:
    """The page, which lists its failures itself."""
    return Figures([path], failures, path if failures else None)
