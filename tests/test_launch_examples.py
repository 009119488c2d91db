"""The examples of docs/launching.md: what they hold can be read, and a job goes on where the scheduler stopped it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from programs import SOURCE, program_environment

EXAMPLES = SOURCE / "docs" / "examples"

SRUN = """#!/bin/bash
# One task, in a process group of its own: what the scheduler signals.
while [[ $1 == --* ]]; do shift; done
SLURM_PROCID=0 SLURM_LOCALID=0 setsid "$@" &
echo $! > "$PLACE/task"
wait $!
"""
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then echo 127.0.0.1; else echo "$@" >> "$PLACE/asked"; fi
"""


@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("setsid") is None, reason="needs bash and setsid")
def test_a_job_that_is_stopped_saves_asks_for_another_turn_and_goes_on(tiny, tmp_path: Path):
    """The signal goes to all processes of the task, loader processes among them, as schedulers do it."""
    write_program(tmp_path / "srun", SRUN)
    write_program(tmp_path / "scontrol", SCONTROL)
    write_program(tmp_path / "hlcli", f'#!/bin/sh\nexec "{sys.executable}" -m hlcli "$@"\n')
    recipe, run = tmp_path / "long.yaml", tmp_path / "run"
    recipe.write_text(tiny("train.epochs=500", "data.workers=1").to_yaml())
    job = start_job(tmp_path, recipe, run)
    metrics, deadline = run / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(int((tmp_path / "task").read_text()), signal.SIGTERM)
    said = job.communicate(timeout=60)[0]
    assert job.returncode == 130, said
    assert torch.load(run / "checkpoints" / "last" / "training.pt", weights_only=True)["progression"]["step"] > 0
    write_program(tmp_path / "hlcli", '#!/bin/sh\necho "$RANK of $WORLD_SIZE at $MASTER_ADDR:" "$@"; exit 2\n')
    again = start_job(tmp_path, recipe, run, "--set", "data.workers=2")
    said = again.communicate(timeout=60)[0]
    assert said == f"0 of 1 at 127.0.0.1: train --recipe {recipe} --run {run} --set data.workers=2 --resume\n"
    assert again.returncode == 2
    assert (tmp_path / "asked").read_text() == "requeue 17\n", "only a job that was interrupted is to go on"


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def start_job(folder: Path, *words: object) -> subprocess.Popen[str]:
    """What sbatch would start."""
    environment = program_environment(
        PATH=f"{folder}{os.pathsep}{os.environ['PATH']}", PLACE=str(folder),
        SLURM_JOB_ID="17", SLURM_NTASKS="1", SLURM_JOB_NODELIST="a[1-2]",
    )  # fmt: skip
    command = ["bash", str(EXAMPLES / "slurm.sh"), *map(str, words)]
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
