"""Trackers, the real ones: what they note, where, and how they end. Nothing here may reach a network."""

from __future__ import annotations

import json
import socket
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import wandb_files
from tiny import tiny_recipe

import hlcli
from hlcli.errors import MissingDependencyError
from hlcli.training import loop, trackers
from hlcli.training.state import save

pytest.importorskip("tensorboard", reason="the extra `test` brings it")
pytest.importorskip("wandb", reason="the extra `test` brings it")
pytest.importorskip("mlflow", reason="the extra `test` brings it")

SETTINGS = ("train.trackers=[tensorboard, wandb, mlflow]", "train.epochs=1", "eval.empty_labels=skip")
INTERRUPTED_AT, FAILED_AT = 2, 4


class Tracked(NamedTuple):
    """A run that was interrupted, resumed, failed, and was resumed to its end."""

    folder: Path
    working_folder: Path
    mlflow_states: list[str]
    wandb_codes: list[int]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """Three starts of one run; connections to anywhere but this machine are refused."""
    work = tmp_path_factory.mktemp("work")
    recipe, folder = tiny_recipe(*SETTINGS), work / "runs" / "ü run"
    states, codes = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        patch.setattr(socket.socket, "connect", _local_only(socket.socket.connect))
        patch.setattr(loop, "_stop_if_asked", _stop_at(INTERRUPTED_AT, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            hlcli.train(recipe, folder)
        states.append(mlflow_state(folder))
        patch.setattr(loop, "_stop_if_asked", _stop_at(FAILED_AT, RuntimeError("nobody foresaw it")))
        with pytest.raises(RuntimeError, match="nobody foresaw it"):
            hlcli.train(recipe, folder, resume=True)
        states.append(mlflow_state(folder))
        patch.setattr(loop, "_stop_if_asked", lambda training: None)
        hlcli.train(recipe, folder, resume=True)
        states.append(mlflow_state(folder))
    for records in wandb_files.records(folder / "wandb").values():
        codes += [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"]
    return Tracked(folder, work, states, codes)


def _local_only(connect: Any) -> Any:
    def checked(self: socket.socket, address: Any) -> Any:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "localhost", "::1"), address
        return connect(self, address)

    return checked


def _stop_at(step: int, error: BaseException) -> Any:
    def stop(training: Any) -> None:
        if training.progression.step == step:
            if isinstance(error, KeyboardInterrupt):
                save(training)
            raise error

    return stop


def expected(folder: Path) -> dict[tuple[str, int], float]:
    """What metrics.jsonl says, by tracker's name and step."""
    values = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        event = json.loads(line)
        split = event["split"] if event["weights"] == "regular" else f"{event['split']}-{event['weights']}"
        values |= {(f"{split}/{k}", event["step"]): v for k, v in event["metrics"].items() if v is not None}
    assert {INTERRUPTED_AT, 6} <= {step for _, step in values}
    return values


def mlflow_rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "mlflow" / "mlflow.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def mlflow_state(folder: Path) -> str:
    """How the one run stands."""
    [(state,)] = mlflow_rows(folder, "select status from runs")
    return str(state)


def test_tensorboard_shows_what_metrics_jsonl_says(tracked: Tracked):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracked.folder / "tensorboard"))
    events.Reload()
    shown = {(tag, value.step): value.value for tag in events.Tags()["scalars"] for value in events.Scalars(tag)}
    assert shown == pytest.approx(expected(tracked.folder), rel=1e-6)


def test_weights_and_biases_keeps_what_metrics_jsonl_says(tracked: Tracked):
    shown: dict[tuple[str, int], float] = {}
    for records in wandb_files.records(tracked.folder / "wandb").values():
        for record in records:
            if record.WhichOneof("record_type") == "history":
                pairs = [("/".join(item.nested_key) or item.key, item.value_json) for item in record.history.item]
                items = {name: json.loads(value) for name, value in pairs}
                step = record.history.step.num
                shown |= {(name, step): value for name, value in items.items() if not name.startswith("_")}
    assert shown == pytest.approx(expected(tracked.folder), rel=1e-12)


def test_mlflow_keeps_what_metrics_jsonl_says(tracked: Tracked):
    rows = mlflow_rows(tracked.folder, "select key, step, value from metrics")
    assert {(key, step): value for key, step, value in rows} == pytest.approx(expected(tracked.folder), rel=1e-12)
    settings = dict(mlflow_rows(tracked.folder, "select key, value from params"))
    assert (settings["model.method"], settings["train.epochs"]) == ("hleg", "1")


def test_a_resumed_run_goes_on_and_every_end_is_called_what_it_was(tracked: Tracked):
    assert tracked.mlflow_states == ["KILLED", "FAILED", "FINISHED"]
    assert tracked.wandb_codes == [130, 1, 0]
    starts = wandb_files.records(tracked.folder / "wandb").values()
    names = [{record.run.run_id for record in records} - {""} for records in starts]
    assert names == [{json.loads((tracked.folder / "trackers.json").read_text())["wandb"]}] * 3


def test_all_of_it_lies_in_the_run(tracked: Tracked):
    assert [path.name for path in tracked.working_folder.iterdir()] == ["runs"]
    assert [path.name for path in tracked.folder.parent.iterdir()] == ["ü run"]


@pytest.mark.parametrize(("name", "extra"), [("tensorboard", "track"), ("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_tracker_that_is_not_installed_is_told_with_its_extra(name: str, extra: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda wanted: None)
    with pytest.raises(MissingDependencyError, match=rf"{name} is not installed. .*'hlcli\[{extra}\]'"):
        hlcli.train(tiny_recipe(f"train.trackers=[{name}]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_starts_anew_forgets_what_trackers_wrote(tiny, tmp_path: Path):
    folder = tmp_path / "run"
    hlcli.train(tiny("train.epochs=1"), folder)
    left = [folder / name for name in ("tensorboard", "wandb", "mlflow", "trackers.json")]
    for path in left[:3]:
        path.mkdir()
    left[3].write_text("{}")
    hlcli.train(tiny("train.epochs=1"), folder, overwrite=True)
    assert not [path for path in left if path.exists()]
