"""Metrics also go to TensorBoard, Weights & Biases or MLflow, by Accelerate's trackers; their files lie in the run.

Nothing leaves this machine unless the user's environment says so: `WANDB_MODE=online`, `MLFLOW_TRACKING_URI`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlcli.errors import MissingDependencyError
from hlcli.files import write_json
from hlcli.recipe import Recipe
from hlcli.training.log import flat

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

    from hlcli.runs import Run

_EXTRAS = {"tensorboard": "track", "wandb": "wandb", "mlflow": "mlflow"}
_PROJECT = "hlcli"
_NAMES_FILE = "trackers.json"
"""In a run's folder: the names under which its trackers know it."""


def check_trackers(names: Sequence[str]) -> None:
    """Before anything is loaded: are the trackers' packages here?

    Raises:
        MissingDependencyError: naming the extra that brings the missing one.
    """
    for name in names:
        if find_spec(name) is None:
            raise MissingDependencyError(
                f"train.trackers: {name} is not installed.", f"Install it: pip install 'hlcli[{_EXTRAS[name]}]'."
            )


def start_trackers(accelerator: Accelerator, run: Run, recipe: Recipe, step: int) -> None:
    """Open the recipe's trackers on the first process; a resumed run goes on under the name that it had.

    Args:
        accelerator: gets the trackers; `accelerator.log` writes to them.
        run: whose folder they write to.
        recipe: noted as the settings of a new run.
        step: optimiser steps taken so far; what was noted of later ones before a kill is hidden.
    """
    if not recipe.train.trackers or not accelerator.is_main_process:
        return
    path = run.folder / _NAMES_FILE
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    makers = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
    accelerator.log_with = [makers[name](run.folder, known.get(name), step) for name in recipe.train.trackers]
    accelerator.init_trackers(_PROJECT, config=None if known else flat(recipe))
    write_json(path, {**known, **{tracker.name: _name_of(tracker) for tracker in accelerator.trackers}})


def finish_trackers(accelerator: Accelerator, folder: Path, state: str) -> None:
    """Close them.

    Args:
        accelerator: that was given trackers, or not.
        folder: of the run.
        state: finished, interrupted or failed, as in status.json.
    """
    for tracker in accelerator.trackers:
        if tracker.name == "wandb":
            tracker.tracker.finish(exit_code={"finished": 0, "interrupted": 130}.get(state, 1))
        elif tracker.name == "mlflow":
            _finish_mlflow(folder, {"finished": "FINISHED", "interrupted": "KILLED"}.get(state, "FAILED"))
        else:
            tracker.finish()
    accelerator.trackers = []


def forget_trackers(folder: Path) -> None:
    """Remove what trackers wrote of an earlier run in this folder."""
    (folder / _NAMES_FILE).unlink(missing_ok=True)
    for name in _EXTRAS:
        shutil.rmtree(folder / name, ignore_errors=True)


def _name_of(tracker: GeneralTracker) -> str:
    """What the tracker calls the run."""
    if tracker.name == "wandb":
        return str(tracker.tracker.id)
    return str(tracker.tracker.info.run_id) if tracker.name == "mlflow" else tracker.name


def _tensorboard(folder: Path, known: str | None, step: int) -> GeneralTracker:
    """Event files in RUN/tensorboard; TensorBoard hides what an earlier start wrote of steps that come again."""
    from accelerate.tracking import TensorBoardTracker

    return TensorBoardTracker("tensorboard", folder, purge_step=step + 1 if known else None)


def _wandb(folder: Path, known: str | None, step: int) -> GeneralTracker:
    """RUN/wandb, for `wandb sync`; online only if WANDB_MODE says so."""
    mode = os.environ.get("WANDB_MODE", "offline")
    if mode != "online":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb
    from accelerate.tracking import WandBTracker

    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    more: dict[str, Any] = {"resume": "allow"} if mode == "online" else {}
    return WandBTracker(
        os.environ.get("WANDB_PROJECT", _PROJECT),
        dir=str(folder),
        id=known,
        name=os.environ.get("WANDB_NAME", folder.resolve().name),
        mode=mode,
        settings=wandb.Settings(console="off", silent=True),
        **more,
    )


def _mlflow(folder: Path, known: str | None, step: int) -> GeneralTracker:
    """RUN/mlflow/mlflow.db, unless MLFLOW_TRACKING_URI names a server or a database."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow
    from accelerate.tracking import MLflowTracker

    artifacts = None
    if "MLFLOW_TRACKING_URI" not in os.environ:
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        (folder / "mlflow").mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(_database(folder))
        artifacts = (folder.resolve() / "mlflow" / "artifacts").as_uri()
    return MLflowTracker(_PROJECT, logging_dir=artifacts, run_id=known, run_name=folder.resolve().name)


def _finish_mlflow(folder: Path, status: str) -> None:
    """End the run; the run's own database is forgotten, so that another run gets its own."""
    import mlflow

    is_own = mlflow.get_tracking_uri() == _database(folder)
    mlflow.end_run(status)
    if is_own:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def _database(folder: Path) -> str:
    """Where MLflow writes unless it is told."""
    return f"sqlite:///{folder.resolve() / 'mlflow' / 'mlflow.db'}"
