"""SIGTERM and Ctrl-C: what is worth saving is saved, the exit code is 130, and nobody waits for work that is not."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from effort import IS_LONG
from killed_runs import assert_same_end
from programs import program_environment
from tiny import tiny_recipe
from tiny_captions import tiny_captions
from torch.utils.data import Dataset
from warm_programs import run_warm, start_group

import hlcli
from hlcli.data.loader_processes import batches as load_batches
from hlcli.data.loader_processes import loading, make_loader
from hlcli.interrupts import STOPS, Interrupts
from hlcli.recipe import Recipe
from hlcli.runs import Run
from hlcli.worker_processes import worker_processes

_LABELS = tiny_recipe("data.num_train=16", "data.num_val=8", "train.log_every_steps=1")
_CAPTIONS = tiny_captions("data.num_train=12", "data.num_val=4", "train.epochs=1", "train.log_every_steps=1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of each recipe that nobody stopped; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        "labels": hlcli.train(_LABELS, folder / "labels"),
        "captions": hlcli.train(_CAPTIONS, folder / "captions"),
    }


def stopped(recipe: Recipe, folder: Path, before: str) -> tuple[Run, str]:
    """A training that is asked to stop: its run and what it said."""
    path = folder / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    done = run_warm("train", "--recipe", path, "--run", folder / "run", before=f"import sudden_death as s; {before}")
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "nobody was stopped" not in done.stderr
    run = Run(folder / "run")
    assert (run.state(), json.loads(run.status_file.read_text())["exit_code"]) == ("interrupted", 130)
    return run, done.stderr


_EVALUATIONS = {
    "model": ("labels", "hlcli.models.folder:save_file"),
    "caption metrics": ("captions", "hlcli.evaluation.caption_scoring:caption_metrics"),
}
_MORE_EVALUATIONS = {
    "scores": ("labels", "hlcli.evaluation.label_scoring:_columns"),
    "metrics": ("labels", "hlcli.tasks.labels:measure"),
    "search": ("captions", "hlcli.captioning.search:beam_search"),
}


@pytest.mark.parametrize("moment", [*_EVALUATIONS, *(_MORE_EVALUATIONS if IS_LONG else ())])
def test_a_stop_during_an_evaluation_does_not_wait_for_its_end(
    moment: str, whole: dict[str, Run], tmp_path: Path
) -> None:
    """Whatever it is at; the state from before the evaluation is saved."""
    task, where = (_EVALUATIONS | _MORE_EVALUATIONS)[moment]
    recipe = {"labels": _LABELS, "captions": _CAPTIONS}[task]
    run, said = stopped(recipe, tmp_path, f"s.ask_at({where!r}, 1)")
    assert f"All is saved; go on with: hlcli train --run {run.folder} --resume" in said
    assert_same_end(whole[task], hlcli.train(recipe, run.folder, resume=True))


@pytest.mark.parametrize("ranks", [[0, 1], [1]])
def test_a_stop_during_an_evaluation_of_two_processes(ranks: list[int], tmp_path: Path) -> None:
    """Of both, or of the second alone, whose end the first one meets in the middle of common work."""
    (tmp_path / "recipe.yaml").write_text(_LABELS.to_yaml())
    words = ("train", "--recipe", tmp_path / "recipe.yaml", "--run", tmp_path / "run")
    asked = "import sudden_death as s; s.ask_at('hlcli.evaluation.label_scoring:_columns', 1)"
    programs = start_group(2, *words, only=dict.fromkeys(ranks, asked))
    while all(program.is_running() for program in programs):
        time.sleep(0.05)
    begun = time.monotonic()
    for done in [program.wait() for program in programs]:
        assert done.returncode == 130, done.stderr
        assert "Traceback" not in done.stderr
        assert "nobody was stopped" not in done.stderr
    assert time.monotonic() - begun < 100
    assert Run(tmp_path / "run").state() == "interrupted"
    assert Run(tmp_path / "run").checkpoint_file.is_file()


class _ProcessNumbers(Dataset):
    """Items say who loads them; the one of that number takes for ever."""

    def __init__(self, endless: int = -1) -> None:
        self.endless = endless

    def __getitem__(self, key: int) -> int:
        time.sleep(600 if key == self.endless else 0)
        return os.getpid()


def test_loaders_leave_stops_to_their_parent() -> None:
    device = torch.device("cpu")
    loader = make_loader(_ProcessNumbers(), [[key] for key in range(9)], workers=1, device=device, collate=list)
    with loading(loader) as batches:
        worker = next(batches)[0]
        for number in [*STOPS, *STOPS]:
            os.kill(worker, number)
            time.sleep(0.1)
        assert list(batches) == [[worker]] * 8


def _fail_beside_a_stuck_loader() -> None:
    device = torch.device("cpu")
    loader = make_loader(_ProcessNumbers(3), [[key] for key in range(9)], workers=1, device=device, collate=list)
    next(load_batches(loader))
    raise SystemExit(3)


def test_a_process_that_fails_ends_its_loaders() -> None:
    process = multiprocessing.get_context("fork").Process(target=_fail_beside_a_stuck_loader)
    process.start()
    process.join(100)
    assert process.exitcode == 3


@pytest.mark.parametrize("times", [1, 2])
def test_a_stop_during_a_save_waits_for_it_and_so_does_a_second_one_that_a_launcher_hands_on(
    times: int, whole: dict[str, Run], tmp_path: Path
) -> None:
    recipe = tiny_recipe("data.num_train=16", "data.num_val=8", "train.log_every_steps=1",
                         "train.checkpoint_every_steps=1")  # fmt: skip
    run, said = stopped(recipe, tmp_path, f"s.ask_at('torch:save', 1, times={times}, wait=0)")
    assert "All is saved" in said
    assert len(run.events()) == 1, "the stop is looked at after the save"


def test_a_second_stop_after_a_while_ends_a_step_that_hangs(tmp_path: Path) -> None:
    recipe = tiny_recipe("data.num_train=16", "data.num_val=8", "train.checkpoint_every_steps=1")
    _, said = stopped(recipe, tmp_path, "s.ask_at('hlcli.training.loop:_backward', 2, times=2, gap=1.1)")
    assert "The last checkpoint is kept; go on with" in said


def test_a_stop_during_set_up_ends_it(tmp_path: Path) -> None:
    run, said = stopped(_LABELS, tmp_path, "s.ask_at('hlcli.tasks.labels:build_model', 1)")
    assert "Nothing was saved yet." in said
    assert not run.checkpoint_file.exists()


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (
            ["eval", "labels", "--images", "PHOTOS", "--out", "OUT.jsonl", "--workers", "0"],
            "hlcli.data.images:load_image",
        ),
        (["eval", "labels", "--images", "PHOTOS", "--workers", "0"], "hlcli.models.folder:load_weights"),
        (["caption", "captions", "PHOTOS", "--out", "OUT.jsonl"], "hlcli.captioning.search:beam_search"),
    ],
    ids=["eval", "opening", "caption"],
)
def test_any_command_ends_with_130_and_a_word(
    words: list[str], where: str, whole: dict[str, Run], photos: Path, tmp_path: Path
) -> None:
    given = {"labels": whole["labels"].folder, "captions": whole["captions"].folder, "PHOTOS": photos,
             "OUT.jsonl": tmp_path / "out.jsonl"}  # fmt: skip
    done = run_warm(
        *(given.get(word, word) for word in words), before=f"import sudden_death as s; s.ask_at({where!r}, 1)"
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "Interrupted." in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


_WHILE_LOADING = """
import importlib.abc, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start what runs beside them with it ignored
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["hlcli", "--help"]
from hlcli.__main__ import start
start()
"""


def test_ctrl_c_while_python_is_still_loading_shows_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WHILE_LOADING], capture_output=True, text=True, env=program_environment(), timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_signals_that_follow_within_a_moment_are_one() -> None:
    with Interrupts() as interrupts:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert interrupts.requested
        assert not interrupts.is_urgent
        with pytest.raises(KeyboardInterrupt), interrupts.at_once():
            pytest.fail("a block that is not to begin")


@pytest.mark.parametrize("number", STOPS)
def test_a_second_stop_does_not_break_into_the_end_of_shared_work(number: int) -> None:
    def work() -> None:
        with worker_processes(1) as pool:
            parts.append(pool.submit(time.sleep, 0.5))
            while not parts[0].running():
                time.sleep(0.01)
            threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
            raise KeyboardInterrupt("the first")

    parts: list[Future[None]] = []
    signal.signal(number, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt, match="the first"):
        work()
    assert parts[0].done()


def test_processes_that_share_work_leave_stops_to_their_parent() -> None:
    with worker_processes(1) as pool:
        kept = [number for number in STOPS if pool.submit(signal.getsignal, number).result() != signal.SIG_IGN]
    assert kept == [signal.SIGTERM]
