"""Running the real program in tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch"]
TWO = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
       "--dynamo_backend", "no", "--main_process_port", "0"]  # fmt: skip
"""Options of the launcher for two processes; on the CPU with ACCELERATE_USE_CPU=true."""


def program_environment(**extra: str) -> dict[str, str]:
    """The environment for a child process: this source tree first, one thread, no stray launcher variables."""
    dropped = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {
        key: value for key, value in os.environ.items() if key not in dropped and not key.startswith("ACCELERATE_")
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(SOURCE), *filter(None, [environment.get("PYTHONPATH")])])
    return environment | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | extra


def launch(*arguments: object, cwd: Path = SOURCE, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `accelerate launch` with these words."""
    return subprocess.run(
        [*LAUNCH, *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=program_environment(**environment), timeout=300,
    )  # fmt: skip


def group_variables(count: int) -> list[dict[str, str]]:
    """What a launcher tells each of so many processes on the CPU, by rank; they meet at a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}  # fmt: skip
    return [{"RANK": str(rank), "LOCAL_RANK": str(rank), **shared} for rank in range(count)]
