"""What this machine is, for bug reports."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from hlcli.plain_text import counted
from hlcli.runs import environment

PROBE = """
import sys, torch, torch.distributed as dist
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
value = torch.tensor([rank + 1.0])
dist.all_reduce(value)
dist.destroy_process_group()
sys.exit(0 if value.item() == 3.0 else 1)
"""
PROBE_SECONDS = 10
_EXTRA = re.compile(r"(?P<package>[\w.-]+).*;.*extra == ['\"](?P<extra>\w+)['\"]")


def describe_system(*, distributed: bool = False) -> dict[str, Any]:
    """Versions, devices, caches, data; `distributed` also lets two processes add numbers for a few seconds."""
    facts = environment(_devices())
    facts.pop("command")
    facts.pop("num_processes")
    root = Path(os.environ.get("HLCLI_DATA", "data"))
    found = [path.name for path in sorted(root.glob("*")) if path.is_dir()] if root.is_dir() else []
    described = {
        **facts,
        "extras": _extras(),
        "java": shutil.which("java") or "not found (only needed for SPICE and METEOR)",
        "data root": str(root),
        "data found": ", ".join(found) or "none",
        "hub cache": os.environ.get("HF_HOME", str(Path.home() / ".cache" / "huggingface")),
    }
    return {**described, "distributed": probe_processes()} if distributed else described


def probe_processes() -> str:
    """Whether two processes on this machine can add numbers: `ok`, or what went wrong."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        command = [sys.executable, "-c", PROBE]
        processes = [
            subprocess.Popen([*command, str(rank), meeting], stderr=subprocess.PIPE, text=True) for rank in range(2)
        ]
        try:
            errors = [process.communicate(timeout=PROBE_SECONDS + 20)[1] for process in processes]
        except subprocess.TimeoutExpired:
            for process in processes:
                process.kill()
            return "the two processes did not meet in time"
    if any(process.returncode for process in processes):
        lines = "".join(errors).strip().splitlines()
        return f"failed: {lines[-1] if lines else 'no message'}"
    return "ok (two processes, gloo)"


def _devices() -> str:
    """GPUs, or the CPU with the threads it uses; what is wrong where torch is broken: that is what `env` is for."""
    try:
        import torch

        if not torch.cuda.is_available():
            threads = torch.get_num_threads()
            return f"cpu ({os.cpu_count()} cores, {counted(threads, 'thread')})"
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    except Exception as error:  # noqa: BLE001 - a broken library can raise anything
        return f"unknown: torch does not work ({type(error).__name__}: {error})"


def _extras() -> dict[str, str]:
    """What the optional parts of hlcli have of their packages, by extra: versions, or `missing`."""
    try:
        wanted = [_EXTRA.match(line) for line in requires("hlcli") or ()]
    except PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for match in wanted:
        if match is None or match["package"] == "hlcli" or match["extra"] in ("test", "dev"):
            continue
        try:
            state = f"{match['package']} {version(match['package'])}"
        except PackageNotFoundError:
            state = f"{match['package']} missing"
        found.setdefault(match["extra"], []).append(state)
    return {f"[{extra}]": ", ".join(states) for extra, states in sorted(found.items())}
