"""Several processes: the launch forms that people type, the traps, and the same numbers as one process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from programs import SOURCE, TWO, program_environment
from two_processes import in_two_processes
from warm_programs import WarmProgram, launch_warm, run_two, run_warm

import hlcli
from hlcli.errors import DataError
from hlcli.launching import find_processes, from_first
from hlcli.runs import Run


def test_folder_runs_as_a_script_from_a_clone(tmp_path: Path):
    environment = program_environment()
    environment.pop("PYTHONPATH")
    done = subprocess.run(
        [sys.executable, "-I", "hlcli", "--version"], cwd=SOURCE, env=environment, capture_output=True, text=True
    )
    assert done.stdout == f"hlcli {hlcli.__version__}\n", done.stderr


def test_accelerate_launch_of_the_folder_trains(tiny_file: Path, tmp_path: Path):
    done = launch_warm("hlcli", "train", "--recipe", tiny_file, "--run", tmp_path / "run", "--set", "train.epochs=1")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "finished"


def ask_the_first() -> None:
    processes = find_processes(cpu=True)
    assert from_first(processes, lambda: processes.process_index) == 0

    def fail() -> None:
        raise DataError(f"Process {processes.process_index} has no data.", "Give some.")

    with pytest.raises(DataError, match=r"Process 0 has no data\. Give some\."):
        from_first(processes, fail)


def test_what_the_first_process_finds_or_fails_with_is_told_to_all():
    in_two_processes(ask_the_first)


def test_two_processes_train_as_one(tiny, tmp_path: Path):
    settings = ("backbone.freeze_batch_norm=true", "model.dropout=0", "optim.optimizer=sgd", "optim.lr=0.01")
    recipe = tmp_path / "sgd.yaml"
    recipe.write_text(tiny(*settings).to_yaml())
    done = run_two("train", "--recipe", recipe, "--run", tmp_path / "two", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(tmp_path / "two"), "one of them says it"
    alone, both = hlcli.train(tiny(*settings), tmp_path / "one"), Run(tmp_path / "two")
    assert json.loads((both.folder / "environment.json").read_text())["num_processes"] == 2
    for one, two in zip(alone.events(), both.events(), strict=True):
        assert (one["event"], one["step"], one["weights"]) == (two["event"], two["step"], two["weights"])
        if one["event"] == "step":
            assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-4)
    weights = [torch.load(run.checkpoint_file, weights_only=True) for run in (alone, both)]
    for part in ("model", "ema"):
        for name, value in weights[0][part].items():
            torch.testing.assert_close(weights[1][part][name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_two_processes_measure_a_model_exactly_like_one(tiny, tmp_path: Path):
    model = hlcli.train(tiny("train.epochs=1"), tmp_path / "run").folder
    arguments = ["eval", model, "--split", "val", "--json", "--per-label"]
    alone = run_warm(*arguments, "--out", tmp_path / "one.jsonl")
    assert alone.returncode == 0, alone.stderr
    both = run_two(*arguments, "--out", tmp_path / "two.jsonl")
    assert both.returncode == 0, both.stderr
    assert json.loads(both.stdout) == json.loads(alone.stdout)
    assert json.loads(alone.stdout)["images"] == 21
    assert (tmp_path / "two.jsonl").read_text() == (tmp_path / "one.jsonl").read_text()


def test_processes_with_statistics_of_their_own_measure_the_model_that_is_kept(tiny, tmp_path: Path):
    """Batch norm sees another part of the batch in each; the first one's statistics are written."""
    recipe = tmp_path / "live.yaml"
    recipe.write_text(tiny("backbone.freeze_batch_norm=false", "train.epochs=1", "train.ema_decay=null").to_yaml())
    done = run_two("train", "--recipe", recipe, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    (measured,) = [event["metrics"] for event in Run(tmp_path / "run").events() if event["event"] == "evaluation"]
    for name, value in hlcli.evaluate(tmp_path / "run", split="val", thresholds="self").metrics.items():
        assert measured[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name


def test_two_machines_train_together(tiny_file: Path, tmp_path: Path):
    """As in docs/launching.md: the same line on each, with its own rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = ("--main_process_ip", "127.0.0.1", "--main_process_port", free.getsockname()[1])
    words = ("-m", "hlcli", "train", "--recipe", tiny_file, "--run", tmp_path / "run")
    short = ("--set", "train.epochs=1", "--set", "data.num_train=8")

    def machine(rank: int) -> subprocess.CompletedProcess[str]:
        number = ("--multi_gpu", "--num_machines", "2", "--num_processes", "2", "--machine_rank", rank)
        return launch_warm(*number, *meeting, *words, *short, ACCELERATE_USE_CPU="true")

    with ThreadPoolExecutor() as pool:
        for done in pool.map(machine, range(2)):
            assert done.returncode == 0, done.stderr
    run = Run(tmp_path / "run")
    assert run.state() == "finished"
    assert json.loads((run.folder / "environment.json").read_text())["num_processes"] == 2
    assert [event["step"] for event in run.events() if event["event"] == "step"] == [1]


def test_num_processes_relaunches_and_keeps_the_exit_code(tiny_file: Path, tmp_path: Path):
    settings = ["--set", "train.batch_size=7", "--run", tmp_path / "run"]
    failed = run_warm("train", "--recipe", tiny_file, *settings, "--num-processes=2")
    assert failed.returncode == 2
    assert "cannot be cut into 2 processes" in failed.stderr
    assert json.loads((tmp_path / "run/status.json").read_text())["exit_code"] == 2
    words = ["recipes", "validate", str(tiny_file)]  # a command that starts at once
    done = run_warm(before=f"from hlcli.launching import relaunch\nraise SystemExit(relaunch({words}, 2, cpu=True))\n")
    assert (done.returncode, done.stdout.count(tiny_file.name)) == (0, 2), done.stderr


PRINT_VARIABLES = """
import json, os, sys
line = json.dumps(dict(os.environ)) + "\\n"
os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), line.encode())
"""


@pytest.mark.parametrize(
    "options", [["--cpu", "--num_processes", "2"], ["--num_processes", "2"], TWO], ids=["cpu", "plain", "multi-gpu"]
)
def test_launches_that_would_silently_do_something_else_are_stopped(tiny_file: Path, tmp_path: Path, options):
    """A launcher tells programs who they are by variables alone: a small program notes them, training gets them."""
    if torch.cuda.is_available():
        pytest.skip("these launches are right where there are GPUs")
    recipe, script = tmp_path / "anywhere.yaml", tmp_path / "script.py"
    recipe.write_text(tiny_file.read_text().replace("cpu: true", "cpu: false"))
    script.write_text(PRINT_VARIABLES)
    launched = launch_warm(*options, script, tmp_path / "variables")
    assert launched.returncode == 0, launched.stderr
    told = [json.loads(line) for line in (tmp_path / "variables").read_text().splitlines()]
    assert len(told) == (2 if options is TWO else 1)
    for one in [WarmProgram("train", "--recipe", recipe, "--run", tmp_path / "run", **variables) for variables in told]:
        done = one.wait()
        assert done.returncode == 2, done.stderr
        assert "--num-processes N" in done.stderr
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
