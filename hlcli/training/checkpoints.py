"""All training state in one file that is either whole or not there; the one before it stays, should it be damaged."""

from __future__ import annotations

import logging
import os
import pickle
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from hlcli import __version__
from hlcli.errors import CheckpointError, named
from hlcli.files import sync_folder, whole_file
from hlcli.runs import Run
from hlcli.torch_files import DAMAGE, check_sums, without_advice

logger = logging.getLogger(__name__)

_CHECKPOINT_VERSION = 1


@dataclass
class Progression:
    """How far a run has come, and the best it has seen.

    `epoch` and `step_in_epoch` name the next step; `step` counts optimiser steps since the start. `patience_epoch` is
    when patience was last given anew. `threads` is how many the CPU uses: the same bits need the same number.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    best_value: float | None = None
    best_epoch: int = -1
    best_weights: str = "regular"
    best_regular_value: float | None = None
    best_regular_epoch: int = -1
    best_ema_value: float | None = None
    patience_epoch: int = -1
    metrics_length: int = 0
    is_finished: bool = False
    threads: int = 0


def save_checkpoint(
    path: Path, progression: Progression, states: dict[str, Any], *, former: Path | None = None
) -> None:
    """Write model, optimiser, scaler and averaged weights with the run's progression.

    Args:
        path: the file; it replaces one that is there.
        progression: how far the run is.
        states: by name.
        former: where the one that is replaced goes; without, it is gone.
    """
    content = {"version": _CHECKPOINT_VERSION, "hlcli": __version__, "progression": asdict(progression), **states}
    with whole_file(path, "wb", former=former) as handle:
        torch.save(content, handle)
    logger.debug("Saved %s at step %d.", path, progression.step)


def last_state(run: Run) -> Path | None:
    """The last whole state; None for a run that was broken off before it saved one.

    Raises:
        CheckpointError: when none is whole, or all are gone.
    """
    checkpoint = _newest_whole(run.checkpoint_file, run.former_checkpoint_file)
    if checkpoint is not None or not run.metrics_file.is_file():
        return checkpoint
    evaluations = [event for event in run.events() if event["event"] == "evaluation"]
    if evaluations:
        raise CheckpointError(
            f"{run.folder} was evaluated after epoch {evaluations[-1]['epoch']}, but its state is gone: "
            f"{run.checkpoint_file} is missing.",
            "Bring it back from a copy. Or start anew with --overwrite; or a new run from the best weights: "
            f"--set train.init_weights={run.folder}.",
        )
    return None


def best_state(run: Run) -> Path:
    """The state of the best epoch.

    Raises:
        CheckpointError: when it was not kept, or is damaged.
    """
    if not run.best_checkpoint_file.is_file():
        raise CheckpointError(
            f"{run.folder} did not keep the state of its best epoch.",
            "Train with train.keep_best_state=true; or take the best weights into a new run by train.init_weights.",
        )
    _check_whole(run.best_checkpoint_file)
    return run.best_checkpoint_file


def _newest_whole(path: Path, former: Path) -> Path | None:
    """The last state, if it is whole; else the one before takes its place, and the log says so.

    Args:
        path: of the last state.
        former: of the one before.

    Returns:
        `path`; None when nothing was saved yet.

    Raises:
        CheckpointError: when neither is whole.
    """
    if not path.exists() and not former.exists():
        return None
    fault = _fault(path)
    if not fault:
        return path
    if other := _fault(former):
        raise CheckpointError(
            f"{path} {fault}, and {former.name} beside it {other}.",
            "Bring one of them back from a copy, or start the run anew with --overwrite.",
        )
    kept = path.with_suffix(".damaged")
    if path.exists():
        os.replace(path, kept)
    os.replace(former, path)
    sync_folder(path.parent)
    logger.warning("%s %s: going on from the state before it. The damaged file is now %s.", path, fault, kept.name)
    return path


def _check_whole(path: Path) -> None:
    """Refuse a damaged file.

    Raises:
        CheckpointError: when it is.
    """
    if fault := _fault(path):
        raise CheckpointError(f"{path} {fault}.", "Go on from the last state: hlcli train --run DIR --resume.")


def _fault(path: Path) -> str:
    """What is wrong with a file that torch wrote; empty when it is whole."""
    if not path.is_file():
        return "is missing"
    try:
        check_sums(path)
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:  # torch's own message tells how to run the code all the same
        return "is damaged, or asks to run code, which is refused"
    except DAMAGE as error:
        return f"is damaged ({without_advice(error)})"
    return ""


def load_checkpoint(path: Path) -> tuple[Progression, dict[str, Any]]:
    """Read what `save_checkpoint` wrote; code inside the file is never run.

    Raises:
        CheckpointError: when the file is no checkpoint, or of another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        version, writer = content["version"], content.get("hlcli", "an older hlcli, named in environment.json")
        unknown = sorted(set(content["progression"]) - {field.name for field in fields(Progression)})
        if version != _CHECKPOINT_VERSION or unknown:
            raise CheckpointError(
                f"{path} has format {version}{f' with {named(unknown)}' if unknown else ''}, as {writer} writes it; "
                f"hlcli {__version__} reads format {_CHECKPOINT_VERSION}.",
                "Resume with that version.",
            )
        return Progression(**content["progression"]), content
    except DAMAGE as error:
        raise CheckpointError(
            f"{path} cannot be read: {without_advice(error)}.", "Start the run anew with --overwrite."
        ) from error
