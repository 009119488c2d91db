"""Metrics also go to TensorBoard, Weights & Biases or MLflow, by Accelerate's trackers; their files lie in the run.

Nothing leaves this machine unless the user's environment says so: `WANDB_MODE=online`, `MLFLOW_TRACKING_URI`.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hlcli.errors import CheckpointError, InputError, MissingDependencyError, TrainingError, in_a_line
from hlcli.files import write_json
from hlcli.json_text import read_json
from hlcli.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

    from hlcli.runs import Run


class _Tracker(NamedTuple):
    """What a tracker needs; it has the name of its package, of its folder in a run, and of Accelerate's tracker."""

    extra: str  # of hlcli, that brings it
    open: Callable[[Path, str | None, int], GeneralTracker]  # run folder, what it called the run, steps taken
    name_of: Callable[[Any], str]  # what the tracker calls the run
    finish: Callable[[Any, Path, str], None]  # tracker, run folder, state as in status.json


logger = logging.getLogger(__name__)

_PROJECT = "hlcli"
_WANDB_MODES = ("online", "offline", "disabled", "shared")
_NAMES_FILE = "trackers.json"
"""In a run's folder: the names under which its trackers know it."""


def check_trackers(names: Sequence[str]) -> None:
    """Before anything is loaded: are the trackers' packages here, and the environment's words such as they know?

    Raises:
        MissingDependencyError: naming the extra that brings the missing one.
        InputError: when WANDB_MODE is none.
    """
    for name in names:
        if find_spec(name) is None:
            raise MissingDependencyError(
                f"train.trackers: {name} is not installed.",
                f"Install it: pip install 'hlcli[{_TRACKERS[name].extra}]'.",
            )
    if "wandb" in names and _wandb_mode() not in _WANDB_MODES:
        raise InputError(
            f"train.trackers: WANDB_MODE is {_wandb_mode()!r}.", f"It can be {', '.join(_WANDB_MODES)}; or unset it."
        )


def start_trackers(accelerator: Accelerator, run: Run, recipe: Recipe, step: int) -> None:
    """Open the recipe's trackers on the first process; a resumed run goes on under the name that it had.

    Args:
        accelerator: gets the trackers.
        run: whose folder they write to.
        recipe: noted as the settings of a new run.
        step: optimiser steps taken so far; what was noted of later ones before a kill is hidden.

    Raises:
        TrainingError: when one cannot start.
        CheckpointError: when their names in the run are damaged.
    """
    if not recipe.train.trackers or not accelerator.is_main_process:
        return
    path = run.folder / _NAMES_FILE
    known = _known_names(path)
    for name in recipe.train.trackers:
        try:
            tracker = _TRACKERS[name].open(run.folder, known.get(name), step)
            tracker.start()
            accelerator.trackers.append(tracker)
            if not known:
                tracker.store_init_configuration(_flat(recipe))
        except Exception as error:  # a service that is not there can raise anything
            message = f"train.trackers: {name} cannot start: {in_a_line(error)}."
            raise TrainingError(message, "Check where it writes to, or leave it out.") from error
    names = {tracker.name: _TRACKERS[tracker.name].name_of(tracker) for tracker in accelerator.trackers}
    write_json(path, {**known, **names})


def _known_names(path: Path) -> dict[str, str]:
    """What trackers call a run that was begun, by tracker; empty for a new run.

    Raises:
        CheckpointError: when the file is damaged.
    """
    try:
        known = read_json(path) if path.is_file() else {}
        if not isinstance(known, dict) or not all(isinstance(name, str) for name in known.values()):
            raise TypeError("it does not hold names")
        return known
    except (OSError, ValueError, TypeError) as error:
        hint = "Delete it: the trackers then begin new runs of their own."
        raise CheckpointError(f"{path} cannot be read: {error}.", hint) from error


def finish_trackers(accelerator: Accelerator, folder: Path, state: str) -> None:
    """Close them.

    Args:
        accelerator: that was given trackers, or not.
        folder: of the run.
        state: finished, interrupted or failed, as in status.json.
    """
    for tracker in accelerator.trackers:
        try:
            _TRACKERS[tracker.name].finish(tracker, folder, state)
        except Exception as error:  # noqa: BLE001 - a service that is gone can raise anything
            logger.warning("%s was not closed: %s.", tracker.name, in_a_line(error))
    accelerator.trackers = []


def tell_trackers(accelerator: Accelerator, folder: Path, numbers: Mapping[str, float], step: int) -> None:
    """Give them numbers; only the first process has trackers.

    One that fails is told nothing more, as each call could wait for minutes; it is closed at once, so that
    another run of this process can open its own.

    Args:
        accelerator: that has the trackers.
        folder: of the run.
        numbers: by name.
        step: optimiser steps taken so far.
    """
    for tracker in list(accelerator.trackers):
        try:
            tracker.log(dict(numbers), step=step)
        except Exception as error:  # noqa: BLE001 - a service that is gone can raise anything
            accelerator.trackers.remove(tracker)
            reason = in_a_line(error)
            logger.warning("%s gets no more numbers (%s); metrics.jsonl has all of them.", tracker.name, reason)
            with suppress(Exception):  # what is gone cannot be told that it is over
                _TRACKERS[tracker.name].finish(tracker, folder, "failed")


def forget_trackers(folder: Path) -> None:
    """Remove what trackers wrote of an earlier run in this folder."""
    (folder / _NAMES_FILE).unlink(missing_ok=True)
    for name in _TRACKERS:
        shutil.rmtree(folder / name, ignore_errors=True)


def _flat(recipe: Recipe) -> dict[str, str | int | float | bool]:
    """A recipe as trackers like it."""
    sections = recipe.model_dump(mode="json")
    return {
        f"{section}.{key}": value if isinstance(value, str | int | float | bool) else str(value)
        for section, values in sections.items()
        for key, value in values.items()
    }


def _open_tensorboard(folder: Path, known: str | None, step: int) -> GeneralTracker:
    """Event files in RUN/tensorboard; TensorBoard hides what an earlier start wrote of steps that come again."""
    from accelerate.tracking import TensorBoardTracker

    return TensorBoardTracker("tensorboard", folder, purge_step=step + 1 if known else None)


def _finish_tensorboard(tracker: Any, folder: Path, state: str) -> None:
    tracker.finish()


def _open_wandb(folder: Path, known: str | None, step: int) -> GeneralTracker:
    """RUN/wandb, for `wandb sync`; online only if WANDB_MODE says so."""
    mode = _wandb_mode()
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


def _wandb_mode() -> str:
    return os.environ.get("WANDB_MODE", "offline")


def _finish_wandb(tracker: Any, folder: Path, state: str) -> None:
    tracker.tracker.finish(exit_code={"finished": 0, "interrupted": 130}.get(state, 1))


def _open_mlflow(folder: Path, known: str | None, step: int) -> GeneralTracker:
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


def _finish_mlflow(tracker: Any, folder: Path, state: str) -> None:
    """The run's own database is forgotten, so that another run gets its own."""
    import mlflow

    is_own = mlflow.get_tracking_uri() == _database(folder)
    try:
        mlflow.end_run({"finished": "FINISHED", "interrupted": "KILLED"}.get(state, "FAILED"))
    finally:
        if is_own:
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def _database(folder: Path) -> str:
    """Where MLflow writes unless it is told."""
    return f"sqlite:///{folder.resolve() / 'mlflow' / 'mlflow.db'}"


_TRACKERS = {
    "tensorboard": _Tracker("track", _open_tensorboard, lambda tracker: tracker.name, _finish_tensorboard),
    "wandb": _Tracker("wandb", _open_wandb, lambda tracker: tracker.tracker.id, _finish_wandb),
    "mlflow": _Tracker("mlflow", _open_mlflow, lambda tracker: tracker.tracker.info.run_id, _finish_mlflow),
}
"""By the names of `train.trackers` in sections.py."""
