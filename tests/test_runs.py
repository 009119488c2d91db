"""The folder of a run."""

from __future__ import annotations

import fcntl
import json
import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from tiny import tiny_recipe

from hlcli.errors import CheckpointError, HlcliError, RecipeError
from hlcli.recipe import Recipe
from hlcli.runs import Run, choose_folder, environment, log_to_file


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "é 漢")
    run.start(tiny_recipe(), "cpu", 1)
    return run


def started(*names: str) -> None:
    for name in names:
        (Path("runs") / name).mkdir(parents=True)
        (Path("runs") / name / "recipe.yaml").write_text("")


def test_a_started_run_says_what_and_where(run: Run):
    assert Recipe.from_yaml(run.recipe_path()) == tiny_recipe()
    facts = json.loads((run.folder / "environment.json").read_text())
    assert (facts["device"], facts["num_processes"]) == ("cpu", 1)
    assert facts["packages"]["torch"] != "not installed"
    assert json.loads(run.status_file.read_text())["state"] == "running"
    assert run.events() == []
    assert repr(run).startswith("Run(")


def test_a_lock_that_is_given_back_meanwhile_lets_in_one_and_no_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second comes between the first's opening of the file and its removal, a third after that."""
    first, second, third = (Run(tmp_path) for _ in range(3))
    first.lock()
    real = fcntl.flock

    def leave_first(*arguments: object) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        first.unlock()
        real(*arguments)

    monkeypatch.setattr(fcntl, "flock", leave_first)
    second.lock()
    with pytest.raises(CheckpointError, match="Another process trains"):
        third.lock()
    second.unlock()
    third.lock()
    third.unlock()
    assert list(tmp_path.iterdir()) == []


def test_a_forked_process_does_not_hold_its_parents_run(tmp_path: Path):
    """Loader processes outlive a kill of their parent for seconds."""
    run = Run(tmp_path)
    run.lock()
    assert run._lock is not None
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    try:
        os.close(run._lock.fileno())  # as when this process ends: nothing is removed
        deadline = time.monotonic() + 30
        while True:
            try:
                return Run(tmp_path).lock()
            except CheckpointError:  # the other one is not quite there yet
                assert time.monotonic() < deadline
    finally:
        process.kill()
        process.join()


def test_names_count_up_and_only_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def chosen(name: str) -> str:
        return choose_folder(None, name, resume=False).folder.name

    assert chosen("coco") == "coco"
    started("coco2014", "coco-x", "coco-1", "coco-01", "cocoa-7", "coco--5", "coco-²")
    assert chosen("coco") == "coco"
    started("coco", "coco-2", "coco-9", "coco-10")
    assert chosen("coco") == "coco-11"
    assert choose_folder(None, "coco", resume=True).folder == Path("runs/coco-10")
    assert chosen("coco2014") == "coco2014-2"


@pytest.mark.parametrize("name", ["my[1]", "a*", "?", "ü 漢", "(x"])
def test_any_name_of_a_recipe_file_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    started(name)
    assert choose_folder(None, name, resume=False).folder.name == f"{name}-2"


def test_used_folders_are_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        choose_folder(tmp_path, "x", resume=True)
    assert choose_folder(tmp_path, "x", resume=False).folder == tmp_path
    (tmp_path / "status.json").write_text("{}")  # left by a run that failed at once
    assert choose_folder(tmp_path, "x", resume=False).folder == tmp_path
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CheckpointError, match="is not empty") as caught:
        choose_folder(tmp_path, "x", resume=False)
    assert caught.value.hint == "Give --resume to go on, --overwrite to start anew."
    assert choose_folder(tmp_path, "x", resume=False, overwrite=True).folder == tmp_path
    (tmp_path / "recipe.yaml").write_text("")
    assert choose_folder(tmp_path, "x", resume=True).folder == tmp_path


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}])
def test_a_file_is_no_folder_for_a_run(tmp_path: Path, options: dict[str, bool]):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(CheckpointError, match="file is a file; a run needs a folder"):
        choose_folder(path, "x", **{"resume": False, **options})
    assert path.read_text() == "precious"


def test_nothing_to_resume_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no run runs/x to resume"):
        choose_folder(None, "x", resume=True)


def test_only_settings_that_move_no_weight_may_change_on_resuming(run: Run):
    run.check_same_recipe(tiny_recipe())
    run.check_same_recipe(
        tiny_recipe("train.log_every_steps=7", "train.checkpoint_every_steps=null", "data.root=x", "data.workers=3")
    )
    with pytest.raises(RecipeError) as caught:
        run.check_same_recipe(tiny_recipe("optim.lr=0.5", "data.seed=3", "train.log_every_steps=7"))
    assert "data.seed (was 0, now 3); optim.lr (was 0.001, now 0.5)." in caught.value.message
    other = {**tiny_recipe().to_dict(), "schedule": {"schedule": "constant"}}
    with pytest.raises(RecipeError, match=r"schedule.schedule \(was 'onecycle', now 'constant'\)"):
        run.check_same_recipe(Recipe.from_dict(other))


STEP = {"event": "step", "epoch": 1, "weights": "regular", "metrics": {"loss": 0.5}}


def test_metrics_are_lines_and_half_ones_are_left_out(run: Run):
    for step in range(3):
        run.log_event({**STEP, "step": step, "name": "é"})
    length = run.metrics_length()
    run.log_event({**STEP, "step": 3})
    with open(run.metrics_file, "a") as handle:
        handle.write('{"event": "st')
    assert [event["step"] for event in run.events()] == [0, 1, 2, 3]
    run.cut_metrics(length)
    assert [event["step"] for event in run.events()] == [0, 1, 2]
    run.cut_metrics(10**6)
    assert run.metrics_length() == length


def test_what_is_not_there_is_named(tmp_path: Path):
    run = Run(tmp_path)
    with pytest.raises(CheckpointError, match="is not a run"):
        run.recipe_path()
    with pytest.raises(CheckpointError, match="has no model yet"):
        run.best_model()
    with pytest.raises(CheckpointError, match=r"no metrics.jsonl"):
        run.events()
    assert run.metrics_length() == 0


def test_a_damaged_model_is_not_called_a_missing_one(run: Run):
    run.model_folder.mkdir(exist_ok=True)
    (run.model_folder / "model.json").write_text("{half")
    with pytest.raises(CheckpointError, match=r"model\.json cannot be read: JSONDecodeError"):
        run.best_model()


def test_a_folder_that_cannot_be_made_is_our_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HlcliError, match="cannot be written"):
        Run(tmp_path / "file" / "run").start(tiny_recipe(), "cpu", 1)


def test_the_log_goes_to_one_run_at_a_time(tmp_path: Path):
    for name in ("first", "second"):
        log_to_file(tmp_path / name / "log.txt")
        logging.getLogger("hlcli.x").info("Line of the %s.", name)
    texts = [(tmp_path / name / "log.txt").read_text() for name in ("first", "second")]
    assert [text.count("Line of the") for text in texts] == [1, 1]
    log_to_file(tmp_path / "third" / "log.txt").close()


def test_the_environment_is_enough_for_a_bug_report():
    facts = environment("cpu", 2)
    assert {"python", "platform", "cpu_count", "packages", "command"} <= set(facts)
    json.dumps(facts)
