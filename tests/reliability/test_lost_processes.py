"""A process that dies, hangs or leaves ends the others with a message; the run says failed, and goes on bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from effort import IS_LONG, effort
from programs import SOURCE, TWO, program_environment
from tiny import tiny_recipe
from warm_programs import WarmProgram, run_two, start_group

from hlcli.runs import Run

STEPS = 6
AT_STEP = """
import os, signal, sys, time
import hlcli.training.loop as loop
real = loop._step
def step(training, batches):
    if training.progression.step == {step}: {happens}
    real(training, batches)
loop._step = step
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
SHORT = {"HLCLI_TIMEOUT": "0.03"}
"""Minutes, for processes that wait for one that never comes."""
MEETING = {"HLCLI_TIMEOUT": "0.1"}
"""For such as do come, on a machine that has much to do, and are lost afterwards."""


def write_recipe(folder: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(
        tiny_recipe(
            "train.checkpoint_every_steps=2", "train.last_batch=keep", "data.num_train=22", "data.num_val=9"
        ).to_yaml()
    )
    return path


def ended(programs: list[WarmProgram]) -> list[subprocess.CompletedProcess[str]]:
    return [program.wait() for program in programs]


def status_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())  # type: ignore[no-any-return]


def assert_lost(done: subprocess.CompletedProcess[str], folder: Path, *texts: str) -> None:
    """A process ended because of another one, and said so without a traceback."""
    assert done.returncode == 1, done.stderr
    for text in ("error: Process ", *texts):
        assert text in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    status = status_of(folder)
    assert (status["state"], status["exit_code"]) == ("failed", 1)
    assert all(text in status["message"] for text in texts), status


def final_state(folder: Path) -> dict[str, Any]:
    return torch.load(Run(folder).checkpoint_file, weights_only=True)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing disturbs; not to be changed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = run_two("train", "--recipe", write_recipe(folder), "--run", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_killed_processes_end_the_job_which_goes_on_bit_for_bit(uninterrupted: Path, tmp_path: Path):
    draw = random.Random(8)
    deaths = [(1, 2), (0, 4)] if not IS_LONG else [(draw.randrange(2), draw.randrange(STEPS)) for _ in range(30)]
    recipe, more = write_recipe(tmp_path), []
    for number, (rank, step) in enumerate(sorted(deaths, key=lambda death: death[1])):
        folder = tmp_path / "run"
        dying = {rank: AT_STEP.format(step=step, happens=KILLED)}
        found = ended(start_group(2, "train", "--recipe", recipe, "--run", folder, *more, only=dying))
        assert found[rank].returncode == -signal.SIGKILL, (number, rank, step, found[rank].stderr)
        assert_lost(found[1 - rank], folder, "has lost another one", "goes on with --resume")
        more = ["--resume"]
    done = run_two("train", "--recipe", recipe, "--run", folder, "--resume")
    assert done.returncode == 0, done.stderr
    one, other = final_state(uninterrupted), final_state(folder)
    for part in ("model", "ema"):
        assert [name for name in one[part] if not torch.equal(one[part][name], other[part][name])] == []
    assert (folder / "metrics.jsonl").read_text() == (uninterrupted / "metrics.jsonl").read_text()
    assert status_of(folder)["state"] == "finished"


@pytest.mark.parametrize(
    ("happens", "code", "said"),
    [
        ("raise ValueError('on one alone')", 1, "ValueError: on one alone"),
        (
            "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 1 TiB')",
            1,
            "error: There is too little",
        ),
        ("raise DataError('one.jpg is broken.')", 2, "error: one.jpg is broken."),
    ],
    ids=["unforeseen", "memory", "data"],
)
def test_an_error_of_one_process_ends_all(tmp_path: Path, happens: str, code: int, said: str):
    imports = "import torch\nfrom hlcli.errors import DataError\n"
    failing = {1: imports + AT_STEP.format(step=1, happens=happens)}
    words = ("train", "--recipe", write_recipe(tmp_path), "--run", tmp_path / "run")
    first, second = ended(start_group(2, *words, only=failing))
    assert_lost(first, tmp_path / "run", "Process 0 has lost another one")
    assert second.returncode == code
    assert said in second.stderr


@pytest.mark.parametrize("happens", ["time.sleep(600)", "loop._leave_early()"][: effort(1, 2)])
def test_a_process_that_does_not_come_is_given_up(tmp_path: Path, happens: str):
    """One that leaves the loop goes on to what comes after it, where it waits for the others in its turn."""
    leaving = "\ndef _leave_early(): raise StopIteration\nloop._leave_early = _leave_early\n"
    leaving += "real_epoch = loop._train_epoch\ndef epoch(training):\n    try: real_epoch(training)\n"
    leaving += "    except StopIteration: training.accelerator.wait_for_everyone(); time.sleep(600)\n"
    leaving += "loop._train_epoch = epoch\n"
    words = ("train", "--recipe", write_recipe(tmp_path), "--run", tmp_path / "run")
    program = AT_STEP.format(step=1, happens=happens) + leaving
    first, second = start_group(2, *words, only={1: program}, **MEETING)
    done = first.wait()
    second.send(signal.SIGKILL)
    second.wait()
    assert_lost(done, tmp_path / "run")
    assert "HLCLI_TIMEOUT" in done.stderr or "See what that one said last" in done.stderr


@pytest.mark.parametrize("rank", [0, 1][: effort(1, 2)])
def test_a_process_that_fails_before_all_have_met_is_not_waited_for_for_ever(tmp_path: Path, rank: int):
    recipe = write_recipe(tmp_path)
    broken = {rank: f"open({str(recipe)!r}, 'a').close(); import sys; sys.argv += ['--set', 'train.epochs=none']\n"}
    found = ended(start_group(2, "train", "--recipe", recipe, "--run", tmp_path / "run", only=broken, **SHORT))
    assert found[rank].returncode == 2
    assert "train.epochs" in found[rank].stderr
    assert found[1 - rank].returncode == 1
    assert "has waited for another one in vain" in found[1 - rank].stderr
    assert "Traceback" not in found[1 - rank].stderr
    assert not (tmp_path / "run").exists()


def test_other_commands_say_it_too(uninterrupted: Path):
    dying = {1: "import os\nimport hlcli.evaluation.labels as l\nl.measure = lambda *_: os.kill(os.getpid(), 9)\n"}
    dying[1] += "import hlcli.evaluation.label_scoring as s\ns._gather_rows = l.measure\n"
    first, second = ended(start_group(2, "eval", uninterrupted, "--split", "val", only=dying))
    assert second.returncode == -signal.SIGKILL
    assert first.returncode == 1
    assert "error: Process 0 has lost another one" in first.stderr
    assert "Traceback" not in first.stderr


def test_time_outs_are_numbers_of_minutes(tmp_path: Path):
    words = ("train", "--recipe", write_recipe(tmp_path), "--run", tmp_path / "run")
    (done,) = ended(start_group(1, *words, HLCLI_TIMEOUT="soon"))
    assert done.returncode == 2
    assert "HLCLI_TIMEOUT=soon is no number of minutes" in done.stderr


LAUNCHERS = {
    "hlcli": [sys.executable, "-m", "hlcli", "train", "--num-processes", "2"],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m",
                 "hlcli", "--", "train"],
    "accelerate": [sys.executable, "-m", "accelerate.commands.launch", *TWO, "-m", "hlcli", "train"],
}  # fmt: skip


def descendants(parent: int) -> Iterator[int]:
    for text in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        yield int(text)
        yield from descendants(int(text))


def rank_of(process: int) -> str | None:
    try:
        pairs = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((pair[5:].decode() for pair in pairs if pair.startswith(b"RANK=")), None)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the processes of a launcher")
@pytest.mark.parametrize(("launcher", "rank"), [("hlcli", "1"), ("torchrun", "0"), ("accelerate", "1")][: effort(1, 3)])
def test_launchers_end_with_the_process_that_was_killed(tmp_path: Path, launcher: str, rank: str):
    recipe, folder = tmp_path / "long.yaml", tmp_path / "run"
    recipe.write_text(tiny_recipe("train.epochs=500", "eval.every_epochs=100").to_yaml())
    command = [*LAUNCHERS[launcher], "--recipe", str(recipe), "--run", str(folder)]
    environment = program_environment(ACCELERATE_USE_CPU="true")
    with open(tmp_path / "said", "w") as said:
        started = subprocess.Popen(command, cwd=SOURCE, env=environment, stdout=said, stderr=said)
    metrics, deadline = folder / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert metrics.exists(), (tmp_path / "said").read_text()
    (process,) = [one for one in descendants(started.pid) if rank_of(one) == rank]
    os.kill(process, signal.SIGKILL)
    assert started.wait(120) == 1, (tmp_path / "said").read_text()
    assert "has lost another one" in (tmp_path / "said").read_text()
    assert status_of(folder)["state"] == "failed"
