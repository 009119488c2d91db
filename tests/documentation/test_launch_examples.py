"""The examples of docs/launching.md: what they hold can be read, and a job goes on where the scheduler stopped it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from programs import SOURCE, program_environment

EXAMPLES = SOURCE / "docs" / "examples"

SRUN = """#!/bin/bash
# Two tasks, each in a process group of its own: what the scheduler signals. The worse exit code counts.
while [[ $1 == --* ]]; do shift; done
for rank in 0 1; do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank setsid "$@" &
    echo $! > "$PLACE/task$rank"
done
worst=0
for rank in 0 1; do
    wait "$(< "$PLACE/task$rank")"
    code=$?
    ((code > worst)) && worst=$code
done
exit $worst
"""
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then echo 127.0.0.1; else echo "$@" >> "$PLACE/asked"; fi
"""


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("setsid") is None, reason="needs bash and setsid")
def test_a_job_that_is_stopped_saves_asks_for_another_turn_and_goes_on(tiny, tmp_path: Path):
    """The signal goes to all processes of both tasks, loader processes among them, as schedulers do it."""
    write_program(tmp_path / "srun", SRUN)
    write_program(tmp_path / "scontrol", SCONTROL)
    write_program(tmp_path / "hlcli", f'#!/bin/sh\nexec "{sys.executable}" -m hlcli "$@"\n')
    recipe, run = tmp_path / "long.yaml", tmp_path / "run"
    recipe.write_text(tiny("train.epochs=500", "data.workers=1").to_yaml())
    number = free_job()
    job = start_job(number, tmp_path, recipe, run)
    metrics, deadline = run / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for rank in range(2):
        os.killpg(int((tmp_path / f"task{rank}").read_text()), signal.SIGTERM)
    said = job.communicate(timeout=60)[0]
    assert job.returncode == 130, said
    assert json.loads((run / "environment.json").read_text())["num_processes"] == 2
    assert torch.load(run / "checkpoints" / "last" / "training.pt", weights_only=True)["progression"]["step"] > 0
    write_program(tmp_path / "hlcli", '#!/bin/sh\necho "$RANK of $WORLD_SIZE at $MASTER_ADDR:" "$@"; exit 2\n')
    again = start_job(number, tmp_path, recipe, run, "--set", "data.workers=2")
    said = again.communicate(timeout=60)[0]
    words = f"train --recipe {recipe} --run {run} --set data.workers=2 --resume"
    assert sorted(said.splitlines()) == [f"{rank} of 2 at 127.0.0.1: {words}" for rank in range(2)]
    assert again.returncode == 2
    assert (tmp_path / "asked").read_text() == f"requeue {number}\n", "only a job that was interrupted is to go on"


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def free_job() -> int:
    """A job whose number gives a port that nobody listens at."""
    for number in range(os.getpid() % 10_000, 20_000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", 20_000 + number)):
                return number
    raise RuntimeError("no port is free")


def start_job(number: int, folder: Path, *words: object) -> subprocess.Popen[str]:
    """What sbatch would start."""
    environment = program_environment(
        PATH=f"{folder}{os.pathsep}{os.environ['PATH']}", PLACE=str(folder),
        SLURM_JOB_ID=str(number), SLURM_NTASKS="2", SLURM_JOB_NODELIST="a[1-2]",
    )  # fmt: skip
    command = ["bash", str(EXAMPLES / "slurm.sh"), *map(str, words)]
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
