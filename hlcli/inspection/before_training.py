"""What would spoil a training or its scores, found in the lists before the first step: refused, or said."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hlcli.data.labels import LabelSpace
from hlcli.data.records import Records
from hlcli.errors import DataError, RecipeError, named, nearest
from hlcli.inspection.files import listed_twice
from hlcli.inspection.findings import Finding
from hlcli.inspection.labels import caption_findings, count_positives, label_findings
from hlcli.inspection.rows import SplitRows, read_rows
from hlcli.metrics.summary import metric_names
from hlcli.recipe import Recipe

logger = logging.getLogger(__name__)


def check_labels(recipe: Recipe, labels: LabelSpace, train: Records, evaluated: Records) -> list[Finding]:
    """What people should know about the labels that they are about to train on.

    Args:
        recipe: data set, and what is measured.
        labels: the data set's labels, L of them.
        train: the training images, with the labels that the recipe leaves.
        evaluated: the images of `eval.split`.

    Raises:
        RecipeError: when the best model is to be chosen by what is not measured.
        DataError: for labels outside 0..L-1, and for a split in which no image has a label.
    """
    check_selection(recipe, labels)
    splits = _read_splits(recipe, train, evaluated)
    for rows in splits:
        if not any(rows.labels):
            raise DataError(
                f"No image of split {rows.split} of {recipe.data.name} has a label.", "Is it the right data set?"
            )
    findings = label_findings(splits, labels, count_positives(splits, labels.num_labels), 1)
    for finding in findings:
        if finding.level == "error":
            raise DataError(f"{recipe.data.name}: {finding.what} {named(finding.where)}.", finding.mend)
    return findings + listed_twice(splits)


def check_captions(recipe: Recipe, train: Records, evaluated: Records) -> list[Finding]:
    """The same of captions.

    Raises:
        DataError: for training images that nobody says a word about.
    """
    splits = _read_splits(recipe, train, evaluated)
    for finding in caption_findings(splits[:1], are_needed=True):
        raise DataError(f"{recipe.data.name}, train: {finding.what[:-1]}: {named(finding.where)}.", finding.mend)
    return caption_findings(splits[1:], are_needed=True) + listed_twice(splits)


def check_selection(recipe: Recipe, labels: LabelSpace) -> None:
    """Refuse, before any work, a recipe that chooses its best model of labels by what is not measured of them.

    Raises:
        RecipeError: naming what may be meant.
    """
    measured = metric_names(labels, tells_scenes=recipe.model.offers("cooccurrence"))
    refuse_unknown_metric(recipe.select_by, ["loss", *measured])


def refuse_unknown_metric(name: str, known: Sequence[str]) -> None:
    """Refuse a metric of `eval.select_by` that is none of those that are measured.

    Raises:
        RecipeError: naming what may be meant.
    """
    if name in known:
        return
    near = nearest(name, known)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
    raise RecipeError(f"eval.select_by: there is no metric {name!r}.", hint)


def _read_splits(recipe: Recipe, train: Records, evaluated: Records) -> list[SplitRows]:
    """The training images, and those of `eval.split` where these are others."""
    splits = [read_rows("train", train)]
    return splits if recipe.eval.split == "train" else [*splits, read_rows(recipe.eval.split, evaluated)]


def announce_findings(findings: Sequence[Finding]) -> None:
    """Say them in the log, a line each; those that spoil nothing as a message, not as a warning."""
    for finding in findings:
        level = logging.INFO if finding.level == "note" else logging.WARNING
        logger.log(level, "%s %s.", finding.what, named(finding.where))
