"""A run folder: the resolved recipe, the environment, metrics, log, status, checkpoints and the best model."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from hlcli.errors import CheckpointError, RecipeError, named
from hlcli.files import whole_file, write_json, writing
from hlcli.json_text import parse_json, read_json
from hlcli.locks import give_back, take
from hlcli.recipe import Recipe

_PACKAGES = ("hlcli", "torch", "torchvision", "timm", "accelerate", "datasets", "numpy", "pillow")

_logger = logging.getLogger(__name__)

_MAY_CHANGE = {
    "data": {"root", "store", "workers"},
    "train": {"log_every_steps", "checkpoint_every_steps", "trackers"},
    "eval": {"batch_size"},
}
"""Recipe keys that may differ when a run is resumed: the weights do not depend on them."""


class Run:
    """Paths and small files of one run; only the first process writes.

    Examples:
        >>> run = hlcli.Run("runs/shapes")
        >>> run.state(), run.events()[-1]["event"]
        ('finished', 'evaluation')
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder = Path(folder)
        self.recipe_file = folder / "recipe.yaml"
        self.metrics_file = folder / "metrics.jsonl"
        self.status_file = folder / "status.json"
        self.checkpoint_file = folder / "checkpoints" / "last" / "training.pt"
        self.former_checkpoint_file = self.checkpoint_file.with_name("former.pt")
        self.best_checkpoint_file = folder / "checkpoints" / "best" / "training.pt"
        self.model_folder = folder / "model"
        self.stopped_file = folder / ".stopped"
        self._lock_file = folder / ".lock"
        self._lock: IO[str] | None = None

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def start(
        self,
        recipe: Recipe,
        device: str,
        num_processes: int,
        files: Mapping[str, str] | None = None,
        *,
        fsdp: bool = False,
    ) -> None:
        """Write what is known before the first step; `files` are those the network was built from, in words."""
        with whole_file(self.recipe_file) as handle:
            handle.write(recipe.to_yaml())
        facts = {**environment(device, num_processes), "fsdp": fsdp, "files": dict(files or {})}
        write_json(self.folder / "environment.json", facts)
        with writing(self.metrics_file):
            self.metrics_file.touch()
        self.write_status("running", exit_code=None)

    def recipe_path(self) -> Path:
        """The recipe the run was started with.

        Raises:
            CheckpointError: when the folder is not a run.
        """
        if not self.recipe_file.is_file():
            raise CheckpointError(
                f"{self.folder} is not a run: it has no recipe.yaml.",
                "Name the folder that `hlcli train` wrote, as runs/NAME.",
            )
        return self.recipe_file

    def best_model(self) -> dict[str, Any]:
        """Where the best model comes from, and its metrics.

        Raises:
            CheckpointError: when there is none yet.
        """
        try:
            return dict(read_json(self.model_folder / "model.json")["facts"])
        except FileNotFoundError as error:
            raise CheckpointError(f"{self.folder} has no model yet.", "It is made by the first evaluation.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.model_folder / 'model.json'} cannot be read: {error!r}.", "The file is damaged; train anew."
            ) from error

    def check_same_recipe(self, recipe: Recipe) -> None:
        """Refuse to resume with a recipe that would lead elsewhere.

        Raises:
            RecipeError: naming the keys that differ.
        """
        old, new = Recipe.from_yaml(self.recipe_path()).model_dump(mode="json"), recipe.model_dump(mode="json")
        differences = [
            f"{section}.{key} (was {old[section].get(key)!r}, now {new[section].get(key)!r})"
            for section in new
            for key in sorted({*old[section], *new[section]} - _MAY_CHANGE.get(section, set()))
            if old[section].get(key) != new[section].get(key)
        ]
        if differences:
            raise RecipeError(
                f"{self.folder} was started with another recipe: {'; '.join(differences)}.",
                f"Resume with --recipe {self.recipe_file}, or start a new run.",
            )

    def state(self) -> str:
        """What status.json says: running, finished, interrupted, failed; empty where there is none."""
        try:
            return str(read_json(self.status_file)["state"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def lock(self) -> None:
        """Keep other trainings out of the folder until `unlock`, or until this process ends.

        Raises:
            CheckpointError: when another process trains there.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = take(self._lock_file)
        if self._lock is None:
            raise CheckpointError(f"Another process trains in {self.folder}.", "Wait for it, or choose another --run.")

    @property
    def is_ours(self) -> bool:
        """Whether this process trains here."""
        return self._lock is not None

    def unlock(self) -> None:
        """Let others in."""
        if self._lock is not None:
            give_back(self._lock, self._lock_file)
            self._lock = None

    def log_event(self, event: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with writing(self.metrics_file), open(self.metrics_file, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(event, ensure_ascii=False) + "\n")

    def metrics_length(self) -> int:
        """Bytes of metrics.jsonl, kept in checkpoints so that a resumed run repeats no line; they are on the disk when
        this returns, lest a checkpoint outlive them."""
        if not self.metrics_file.exists():
            return 0
        with writing(self.metrics_file), open(self.metrics_file, "r+b") as handle:
            os.fsync(handle.fileno())
            return os.fstat(handle.fileno()).st_size

    def cut_metrics(self, length: int) -> None:
        """Forget lines that a resumed run will write again."""
        if self.metrics_length() > length:
            with writing(self.metrics_file):
                os.truncate(self.metrics_file, length)

    def events(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl; a line cut off by a kill is left out."""
        if not self.metrics_file.is_file():
            raise CheckpointError(f"{self.folder} has no metrics.jsonl.", "Is it the folder of a run?")
        events, damaged = [], []
        for number, line in enumerate(self.metrics_file.read_bytes().split(b"\n"), 1):
            try:
                if line.strip():
                    events.append(_checked_event(parse_json(line)))
            except (ValueError, TypeError):
                damaged.append(number)
        if damaged:
            _logger.warning("%s: damaged lines are left out: %s.", self.metrics_file, named(damaged))
        return events

    def write_status(self, state: str, *, exit_code: int | None, message: str = "", **facts: Any) -> None:
        """Say how the run stands; launchers lose exit codes, this file keeps them."""
        write_json(self.status_file, {"state": state, "exit_code": exit_code, "message": message, **facts})


def _checked_event(event: Any) -> dict[str, Any]:
    """A line of metrics.jsonl.

    Raises:
        TypeError: when it is something else.
    """
    if not isinstance(event, dict) or not isinstance(event.get("metrics"), dict):
        raise TypeError("no event with its metrics")
    texts, counts = [event.get(key) for key in ("event", "weights")], [event.get(key) for key in ("epoch", "step")]
    numbers = [value for value in event["metrics"].values() if value is not None]
    if not all(type(value) in (int, float) for value in numbers):
        raise TypeError("a metric is no number")
    if not all(isinstance(text, str) for text in texts) or not all(type(count) is int for count in counts):
        raise TypeError("no event of an epoch and a step")
    return event


def choose_folder(run_dir: Path | None, name: str, *, resume: bool, overwrite: bool = False) -> Run:
    """The folder for a run: the one asked for, or the next free `runs/NAME`, `runs/NAME-2`, ….

    Raises:
        CheckpointError: when the folder is in use and neither `resume` nor `overwrite` is given, or when
            there is nothing to resume.
    """
    if run_dir is not None:
        if run_dir.exists() and not run_dir.is_dir():
            raise CheckpointError(f"{run_dir} is a file; a run needs a folder.")
        if _is_used(run_dir) and not (resume or overwrite):
            raise CheckpointError(f"{run_dir} is not empty.", "Give --resume to go on, --overwrite to start anew.")
        if resume and not (run_dir / "recipe.yaml").is_file():
            raise CheckpointError(f"{run_dir} holds no run to resume.", "Leave --resume out to start one.")
        return Run(run_dir)
    root = Path("runs")
    numbers = _taken_numbers(root, name)
    if resume:
        if not numbers:
            raise CheckpointError(f"There is no run {root / name} to resume.", "Name its folder with --run.")
        return Run(root / _numbered(name, max(numbers)))
    return Run(root / _numbered(name, max(numbers, default=0) + 1))


def _is_used(folder: Path) -> bool:
    """Whether a run has begun there; the word that one failed to begin does not count."""
    return folder.is_dir() and any(
        path.name != "status.json" and not path.name.startswith(".") for path in folder.iterdir()
    )


def _taken_numbers(root: Path, name: str) -> list[int]:
    """Numbers of the runs of that name: 1 for NAME, 2 for NAME-2."""
    form = re.compile(rf"{re.escape(name)}(?:-([2-9]|[1-9][0-9]+))?")
    found = [form.fullmatch(path.name) for path in root.iterdir() if _is_used(path)] if root.is_dir() else []
    return [int(match[1] or 1) for match in found if match is not None]


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def environment(device: str = "", num_processes: int = 1) -> dict[str, Any]:
    """Versions and machine, for `environment.json` and bug reports."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "device": device,
        "num_processes": num_processes,
        "packages": versions,
        "command": " ".join(sys.argv),
    }


class _RunLog(logging.FileHandler):
    """The log file of a run."""

    def handleError(self, record: logging.LogRecord) -> None:
        """A disk that is full: say so once, and go on without the file."""
        error = sys.exc_info()[1]
        logger = logging.getLogger("hlcli")
        logger.removeHandler(self)
        logger.warning("%s cannot be written and is not continued: %s.", self.baseFilename, error)


def log_to_file(path: Path) -> logging.Handler:
    """Copy the log of hlcli to a file as well, and no longer to that of an earlier run."""
    logger = logging.getLogger("hlcli")
    for earlier in [handler for handler in logger.handlers if isinstance(handler, _RunLog)]:
        logger.removeHandler(earlier)
        earlier.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path):
        handler = _RunLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    if logger.level == logging.NOTSET:  # started from Python: the log tells the story all the same
        logger.setLevel(logging.INFO)
    return handler
