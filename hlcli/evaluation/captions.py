"""Captions of a split, measured against what people said of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Unpack

from hlcli.data.records import ImageSource, Records
from hlcli.data.store import open_records, split_captions, split_labels
from hlcli.errors import DataError, InputError
from hlcli.evaluation.labels import default_split
from hlcli.metrics.captioning.summary import CaptionMetrics, caption_metrics, check_metrics
from hlcli.models.opening import GivenModel
from hlcli.prediction.caption_inputs import FeatureSources, NamedImages
from hlcli.prediction.caption_predictor import CaptionOptions
from hlcli.prediction.caption_rows import Caption
from hlcli.prediction.captions import CaptionPredictor, as_captioner, caption_images
from hlcli.recipe import Recipe
from hlcli.report.files import check_report_file


class CaptionEvaluation(NamedTuple):
    """Captions of a split and their metrics; the latter None where nobody knows true captions.

    `references` are the true captions of each image.
    """

    split: str
    metrics: CaptionMetrics | None
    captions: list[Caption]
    references: list[tuple[str, ...]]


@dataclass(frozen=True)
class _RecordImages:
    """The image of a record, looked for when it is asked for."""

    records: Records

    def __call__(self, row: int) -> ImageSource:
        """The image of that number."""
        return self.records[row].image


def evaluate_captions(
    model: GivenModel | CaptionPredictor,
    split: str | None = None,
    *,
    out: str | Path | None = None,
    report: str | Path | None = None,
    resume: bool = False,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    **options: Unpack[CaptionOptions],
) -> CaptionEvaluation:
    """Caption every image of a split of the first model's data set and measure the captions.

    Args:
        model: whatever `open_model` opens, or what it gave; or a predictor, made with `FeatureSources(of_data=True)`
            where its models read stored features.
        split: default test where there is one, else the recipe's.
        out: file of the captions, `.jsonl` or `.json`; without true captions it is needed.
        report: also write a page about it, `.html`.
        resume: go on with that file.
        recipe: what an upstream checkpoint is.
        overrides: `section.key=value`, changes of the recipe.
        **options: those of `CaptionPredictor`.

    Returns:
        Captions and metrics; on other processes than the first one without metrics.

    Raises:
        DataError: when an image cannot be decoded, or some images have no true caption.
        MissingDependencyError: when a metric cannot be computed here.

    Examples:
        >>> list(hlcli.evaluate_captions("runs/captions", "val").metrics.values)
        ['BLEU-1', 'BLEU-2', 'BLEU-3', 'BLEU-4', 'ROUGE-L', 'CIDEr']
    """
    report = None if report is None else check_report_file(report)
    if not isinstance(model, CaptionPredictor):
        options.setdefault("features", FeatureSources(of_data=True))
    predictor = as_captioner(model, recipe, overrides, **options)
    recipe = predictor.recipe
    split = split or default_split(recipe)
    records = open_records(recipe.data, split)
    references = [tuple(texts) for texts in split_captions(records)]
    is_known = _check_references(references, split, has_file=out is not None)
    if is_known:
        check_metrics(recipe.eval.caption_metrics)
    images = NamedImages([image_id for image_id, _ in split_labels(records)], _RecordImages(records))
    done = caption_images(
        predictor, images, None if out is None else Path(out), resume=resume, keep=True, title=f"Captioning {split}"
    )
    if done.failures:
        shown = "; ".join(failure.error for failure in done.failures[:5])
        raise DataError(
            f"{len(done.failures)} of {len(records):,} images of split {split} cannot be captioned: {shown}",
            "Mend them, or list them under data.skip.",
        )
    metrics = None
    if is_known and predictor.processes.is_main_process:
        said = [caption.caption for caption in done.captions]
        metrics = caption_metrics(said, references, names=recipe.eval.caption_metrics)
    result = CaptionEvaluation(split, metrics, done.captions, references)
    if report is not None and predictor.processes.is_main_process:
        from hlcli.report.captions import write_caption_report  # it needs this module

        write_caption_report(report, result, predictor)
    return result


def _check_references(references: Sequence[Sequence[str]], split: str, *, has_file: bool) -> bool:
    """Whether there are true captions; of some images alone is an error."""
    silent = sum(not texts for texts in references)
    if not silent:
        return True
    if silent < len(references):
        raise DataError(f"{silent:,} of {len(references):,} images of split {split} have no caption to compare with.")
    if not has_file:
        raise InputError(f"No image of split {split} has a caption to compare with.", "Write captions with --out FILE.")
    return False
