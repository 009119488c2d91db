"""The `calibrate` verb: scores that are probabilities, thresholds that suit them, kept with the model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from hlcli.calibration.results import Calibration
from hlcli.calibration.splits import (
    ThresholdScope,
    compare_scores,
    score_raw,
    shared_labels,
    splits_to_score,
    tune,
)
from hlcli.errors import CheckpointError, InputError, nearest
from hlcli.files import check_writable
from hlcli.hub.names import hub_name
from hlcli.launching import is_first_process
from hlcli.metrics.calibration_fit import fit_calibration
from hlcli.metrics.calibration_maps import CalibrationMethod
from hlcli.metrics.threshold_tuning import TunedMetric
from hlcli.models.conversion import check_model_folder
from hlcli.models.description import read_description, write_description
from hlcli.models.folder import LoadedModel, model_in, save_model
from hlcli.models.opening import GivenModel, open_model
from hlcli.plain_text import counted
from hlcli.recipe import Recipe, change_section

logger = logging.getLogger(__name__)

_FEW_IMAGES = 50


def calibrate(
    model: GivenModel,
    *,
    method: CalibrationMethod = "temperature",
    thresholds: ThresholdScope = "global",
    by: TunedMetric = "F1_macro",
    split: str = "val",
    min_examples: int = 10,
    out: str | Path | None = None,
    overwrite: bool = False,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    batch_size: int | None = None,
    workers: int | None = None,
) -> Calibration:
    """Fit calibration and thresholds on a split, and keep them in the model folder; the weights stay as they are.

    Whatever calibration the model has is replaced: raw scores are fitted.

    Args:
        model: whatever `open_model` opens; one that is loaded is only written with `out`.
        method: `temperature`, one per level; `platt`, slope and intercept for every label; `none`, raw scores.
        thresholds: tune one per level (`global`) or one per label; or `keep` those there are, moved with the scores, so
            that the same labels are predicted as before.
        by: the F1 that they are tuned for; per label F1_micro or F1_macro.
        split: where labels are known and training was not.
        min_examples: labels with fewer positives, or for Platt negatives, share what is found for their whole level.
        out: a new model folder; default the model's own, of which `model.json` is replaced.
        overwrite: replace a model folder that is there; never a folder with anything else in it.
        recipe: what an upstream checkpoint is, or where the data is.
        overrides: `section.key=value`, changes of the recipe for this work alone.
        batch_size: images per step; default the recipe's.
        workers: loader processes; default the recipe's.

    Raises:
        InputError: for a captioner, what cannot be asked for, or a model that has no folder to write to.

    Examples:
        >>> found = hlcli.calibrate("runs/shapes", method="temperature", out="calibrated")
        >>> found.map.method, len(found.map.levels), str(found.folder)
        ('temperature', 3, 'calibrated')
        >>> hlcli.evaluate("calibrated").metrics["mAP"] == hlcli.evaluate("runs/shapes").metrics["mAP"]
        True
    """
    _check_choices(method, thresholds, by)
    out = None if out is None else Path(out)
    _check_place(model, out, overwrite)
    opened = open_model(model, recipe, overrides, task="labels")
    raw = opened._replace(calibration=None)
    known = {name: score_raw(raw, name, batch_size, workers) for name in splits_to_score(raw.recipe, split)}
    _warn_of_split(split, len(known[split].scores[0]))
    fitted = fit_calibration(method, *known[split], min_examples=min_examples)
    tuned = tune(opened, fitted.map, known[split], thresholds, by, min_examples)
    pairs = [compare_scores(opened, name, data, fitted.map, tuned, by) for name, data in known.items()]
    rows = tuple(row for pair in pairs for row in pair)
    shared = shared_labels(opened, fitted.shared, known[split], thresholds, min_examples)
    section = opened.recipe.eval
    if thresholds != "keep":
        section = change_section("eval", section, {"threshold": "val"})
    kept = None if method == "none" and thresholds == "keep" else fitted.map
    done = opened._replace(
        calibration=kept, thresholds=tuned, recipe=opened.recipe.model_copy(update={"eval": section})
    )
    found = Calibration(done, fitted.map, tuned, by, split, rows, shared, None)
    return found._replace(folder=_write(model, found, opened, out))


def _warn_of_split(split: str, num_images: int) -> None:
    """Say where what is fitted will mislead."""
    if split == "train":
        logger.warning("train: the model has learned from these images, so that its scores will stay too sure.")
    if num_images < _FEW_IMAGES:
        logger.warning(
            "%s: %s to fit anything on; look at the measures before and after.",
            split,
            counted(num_images, "image is little", "images are few"),
        )


def _check_choices(method: str, thresholds: str, by: str) -> None:
    """Refuse words that mean nothing here.

    Raises:
        InputError: listing those that do.
    """
    for option, word, known in (
        ("method", method, get_args(CalibrationMethod)),
        ("thresholds", thresholds, get_args(ThresholdScope)),
        ("by", by, get_args(TunedMetric)),
    ):
        if word not in known:
            near = nearest(str(word), known)
            hint = f"Did you mean {near[0]}?" if near else None
            raise InputError(f"--{option} must be one of {', '.join(known)} (got {word}).", hint)
    if thresholds == "per-label" and by == "F1_samples":
        raise InputError(
            "Thresholds per label cannot be tuned for F1_samples, which mixes the labels of an image.",
            "Take --by F1_macro or F1_micro, or --thresholds global.",
        )


def _check_place(model: GivenModel, out: Path | None, overwrite: bool) -> None:
    """Refuse, before any work, what could not be written in the end."""
    if out is not None:
        check_model_folder(out, overwrite)
    elif not isinstance(model, LoadedModel) and (hub_name(model) is not None or Path(model).is_file()):
        raise InputError(f"{model} is no folder of yours: it cannot be changed.", "Give a new folder with --out.")
    elif not isinstance(model, LoadedModel) and Path(model).is_dir():
        check_writable(model_in(Path(model)))


def _write(model: GivenModel, found: Calibration, opened: LoadedModel, out: Path | None) -> Path | None:
    """Write the model, or its description alone; the folder.

    A model folder keeps its recipe, whatever data this work was told to use; only the rule of thresholds changes.

    Raises:
        CheckpointError: when another model took this one's place in the meantime.
    """
    folder = None if isinstance(model, LoadedModel) or not Path(model).is_dir() else model_in(Path(model))
    done, facts = found.model, {**opened.facts, "calibration": found.to_json()}
    if not is_first_process():
        return out or folder
    there = None if folder is None else read_description(folder)
    if there is not None and there.facts != opened.facts:
        raise _changed_meanwhile(folder, there.facts, opened.facts)
    recipe = done.recipe
    if there is not None:
        section = change_section("eval", there.recipe.eval, {"threshold": done.recipe.eval.threshold})
        recipe = there.recipe.model_copy(update={"eval": section})
    if out is not None:
        save_model(
            out,
            done.model.state_dict(),
            recipe,
            done.labels,
            thresholds=done.thresholds,
            facts=facts,
            calibration=done.calibration,
        )
    elif folder is not None and there is not None:
        new = there._replace(recipe=recipe, thresholds=done.thresholds, facts=facts, calibration=done.calibration)
        write_description(folder, new)
    return out or folder


def _changed_meanwhile(folder: Path | None, now: Mapping[str, Any], before: Mapping[str, Any]) -> CheckpointError:
    """The error of a model folder that was written to since it was opened: by a calibration, or by a training."""
    if {**now, "calibration": None} == {**before, "calibration": None}:
        return CheckpointError(
            f"{folder} was calibrated by another command meanwhile, and keeps what that found.",
            "Calibrate again to replace it, or give a folder of your own with --out.",
        )
    return CheckpointError(f"{folder} holds another model than a moment ago.", "Calibrate when training is over.")
