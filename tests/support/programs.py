"""Running the real program in tests."""

from __future__ import annotations

import os
from pathlib import Path


def program_environment(**extra: str) -> dict[str, str]:
    """The environment for a child process: this source tree first, one thread, no stray launcher variables."""
    dropped = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    environment = {
        key: value for key, value in os.environ.items() if key not in dropped and not key.startswith("ACCELERATE_")
    }
    source = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [environment.get("PYTHONPATH")])])
    return environment | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | extra
