"""All training state in one file that is either whole or not there."""

from __future__ import annotations

import logging
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hlcli.errors import CheckpointError
from hlcli.files import whole_file

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


def save_checkpoint(path: Path, progression: Progression, states: dict[str, Any]) -> None:
    """Write model, optimiser, scaler and averaged weights with the run's progression; replaces the last one."""
    with whole_file(path, "wb") as handle:
        torch.save({"version": _CHECKPOINT_VERSION, "progression": asdict(progression), **states}, handle)
    logger.debug("Saved %s at step %d.", path, progression.step)


def load_checkpoint(path: Path) -> tuple[Progression, dict[str, Any]]:
    """Read what `save_checkpoint` wrote; code inside the file is never run.

    Raises:
        CheckpointError: when the file is damaged or from another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if content["version"] != _CHECKPOINT_VERSION:
            raise CheckpointError(
                f"{path} has format {content['version']}; this hlcli reads format {_CHECKPOINT_VERSION}.",
                "Resume with the hlcli version named in the run's environment.json.",
            )
        return Progression(**content["progression"]), content
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", "Start the run anew with --overwrite.") from error
