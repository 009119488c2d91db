"""Trackers, the real ones: what they note, where, and how they end. Nothing here may reach a network."""

from __future__ import annotations

import json
import socket
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import wandb_files
from tiny import tiny_recipe

import hlcli
from hlcli import sections
from hlcli.errors import InputError, MissingDependencyError, TrainingError
from hlcli.training import loop, trackers
from hlcli.training.state import save

pytest.importorskip("tensorboard", reason="the extra `test` brings it")
pytest.importorskip("wandb", reason="the extra `test` brings it")
pytest.importorskip("mlflow", reason="the extra `test` brings it")

SETTINGS = (
    "train.trackers=[tensorboard, wandb, mlflow]",
    "train.epochs=1",
    "train.log_every_steps=1",
    "eval.empty_labels=skip",
)
INTERRUPTED_AT, FAILED_AT = 2, 4
REPEATED = {3, 4}
"""Steps that were noted before the failure, and come again: the last state is the interruption's."""

Rows = list[tuple[str, int, float]]
"""Sorted: what a tracker calls a number, step, value."""


class Tracked(NamedTuple):
    """A run that was interrupted, resumed, failed, and was resumed to its end."""

    folder: Path
    working_folder: Path
    mlflow_states: list[str]
    wandb_codes: list[int]


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that loses a tracker's tables on its way."""
    folder = tmp_path_factory.mktemp("lost") / "run"

    def lose_tables(training: Any) -> None:
        if training.progression.step == 2:
            mlflow_rows(folder, "drop table metrics")

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(loop, "_stop_if_asked", lose_tables)
        hlcli.train(tiny_recipe(*SETTINGS[1:], "train.trackers=[mlflow, tensorboard]"), folder)
    return folder


@pytest.fixture(scope="module")
def tracked(lost: Path, tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """Three starts of one run, after another run of this process has lost a tracker; connections to anywhere but this
    machine are refused."""
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


def expected(folder: Path, repeated: set[int] = frozenset()) -> Rows:  # type: ignore[assignment]
    """What metrics.jsonl says; numbers of repeated steps twice."""
    rows: Rows = []
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        event = json.loads(line)
        split = event["split"] if event["weights"] == "regular" else f"{event['split']}-{event['weights']}"
        found = [(f"{split}/{k}", event["step"], v) for k, v in event["metrics"].items() if v is not None]
        rows += found * (2 if event["step"] in repeated else 1)
    assert {step for _, step, _ in rows} == {1, 2, 3, 4, 5, 6}
    return sorted(rows)


def check_rows(shown: Rows, wanted: Rows, rel: float) -> None:
    """The same names and steps, as many times, and their values."""
    assert [row[:2] for row in shown] == [row[:2] for row in wanted]
    assert [row[2] for row in shown] == pytest.approx([row[2] for row in wanted], rel=rel)


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


def test_tensorboard_shows_what_metrics_jsonl_says_once(tracked: Tracked):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracked.folder / "tensorboard"))
    events.Reload()
    shown = [(tag, value.step, value.value) for tag in events.Tags()["scalars"] for value in events.Scalars(tag)]
    check_rows(sorted(shown), expected(tracked.folder), rel=1e-6)


def test_weights_and_biases_keeps_what_metrics_jsonl_says(tracked: Tracked):
    shown: Rows = []
    for records in wandb_files.records(tracked.folder / "wandb").values():
        for record in records:
            if record.WhichOneof("record_type") == "history":
                pairs = [("/".join(item.nested_key) or item.key, item.value_json) for item in record.history.item]
                step = record.history.step.num
                shown += [(name, step, json.loads(value)) for name, value in pairs if not name.startswith("_")]
    check_rows(sorted(shown), expected(tracked.folder, REPEATED), rel=1e-12)


def test_mlflow_keeps_what_metrics_jsonl_says(tracked: Tracked):
    rows = mlflow_rows(tracked.folder, "select key, step, value from metrics")
    check_rows(sorted(rows), expected(tracked.folder, REPEATED), rel=1e-12)
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


def test_a_recipe_can_name_every_tracker():
    written = get_args(sections.Train.model_fields["trackers"].annotation)[0]
    assert get_args(written) == tuple(trackers._TRACKERS)


@pytest.mark.parametrize(("name", "extra"), [("tensorboard", "track"), ("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_tracker_that_is_not_installed_is_told_with_its_extra(name: str, extra: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda wanted: None)
    with pytest.raises(MissingDependencyError, match=rf"{name} is not installed. .*'hlcli\[{extra}\]'"):
        hlcli.train(tiny_recipe(f"train.trackers=[{name}]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_cannot_start_is_told_in_words(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "bogus")
    with pytest.raises(InputError, match=r"WANDB_MODE is 'bogus'\. It can be online, offline, disabled, shared"):
        hlcli.train(tiny_recipe("train.trackers=[wandb]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrainingError, match=r"mlflow cannot start: .* Check where it writes to, or leave it out"):
        hlcli.train(tiny_recipe("train.trackers=[mlflow]"), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"


def test_a_tracker_that_is_gone_does_not_end_the_training(lost: Path, tracked: Tracked):
    said = (lost / "log.txt").read_text(encoding="utf-8")
    assert said.count("mlflow gets no more numbers") == 1
    assert "metrics.jsonl has all of them" in said
    assert expected(lost)
    assert tracked.mlflow_states[-1] == "FINISHED", "another run of this process has its own"


def test_a_run_that_starts_anew_forgets_what_trackers_wrote(tiny, tmp_path: Path):
    folder = tmp_path / "run"
    hlcli.train(tiny("train.epochs=1"), folder)
    left = [folder / name for name in ("tensorboard", "wandb", "mlflow", "trackers.json")]
    for path in left[:3]:
        path.mkdir()
    left[3].write_text("{}")
    hlcli.train(tiny("train.epochs=1"), folder, overwrite=True)
    assert not [path for path in left if path.exists()]
