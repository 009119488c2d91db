"""Processes: making the accelerator, catching launches that would silently do something else, relaunching."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from hlcli.errors import InputError

if TYPE_CHECKING:
    from accelerate import Accelerator

EXIT_CODE_FILE = "HLCLI_EXIT_CODE_FILE"
"""Environment variable: where the first process leaves its exit code, which launchers lose."""

_RIGHT_COMMAND = (
    "Use `hlcli train --num-processes N …`, or "
    "`ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes N -m hlcli train …` for N CPU processes."
)


def check_launch(cpu: bool) -> None:
    """Stop a launch that asked for several processes but gets one, or several that do not know each other.

    Args:
        cpu: whether the recipe asks for the CPU.

    Raises:
        InputError: naming the command that does what was meant.
    """
    for name in ("DeepSpeed", "Megatron_LM"):
        if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "").lower() == "true":
            raise InputError(
                f"The launcher's settings say {name}, which hlcli does not work with.",
                "FSDP shards a network in the same way: docs/examples/fsdp.yaml.",
            )
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    is_simple_launch = "ACCELERATE_USE_CPU" in os.environ and "WORLD_SIZE" not in os.environ
    has_mpi = any(name in os.environ for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"))
    if is_simple_launch and "MASTER_ADDR" in os.environ and not has_mpi:
        raise InputError("The launcher was asked for several processes but started one.", _RIGHT_COMMAND)
    if world_size > 1 and not cpu and not _env_says_cpu() and not _has_gpu():
        raise InputError(
            f"{world_size} processes were started for GPUs, but there is no GPU: each would train alone "
            "and all would write the same files.",
            _RIGHT_COMMAND,
        )


def make_accelerator(*, cpu: bool = False, precision: str | None = None) -> Accelerator:
    """The accelerator of this process; the only place where devices and precision are chosen.

    Args:
        cpu: stay on the CPU.
        precision: fp32, fp16, bf16, or None for what the launcher says.

    Raises:
        InputError: for launches that cannot be meant or are not supported, or fp16 on a CPU.
    """
    check_launch(cpu)
    import torch
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    on_cpu = cpu or _env_says_cpu() or not torch.cuda.is_available()
    wanted = {"fp32": "no"}.get(precision or "", precision) or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if on_cpu and wanted == "fp16":
        raise InputError("train.precision: fp16 needs a GPU.", "Use bf16 or fp32 on a CPU.")
    _forget_other_choice(wanted, on_cpu)
    try:
        accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision=wanted,
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        )
    except ValueError as error:
        raise InputError(f"The processes cannot be set up: {error}") from error
    accelerator.gradient_accumulation_steps = 1  # the loop cuts batches itself; the environment must not
    return accelerator


def share_cores(accelerator: Accelerator, workers: int) -> None:
    """On a CPU, leave a core to each loader process; `OMP_NUM_THREADS` has the last word."""
    import torch

    if accelerator.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, _usual_threads() - workers))


@cache
def _usual_threads() -> int:
    """Threads before anything was changed: asked once, however many runs one program makes."""
    import torch

    return torch.get_num_threads()


def relaunch(arguments: list[str], num_processes: int, *, cpu: bool) -> int:
    """Run this program again as several processes of one machine.

    Args:
        arguments: command line of the program, without the option that asked for this.
        num_processes: how many.
        cpu: whether they are to stay on the CPU.

    Returns:
        The exit code of the first process.
    """
    environment = dict(os.environ)
    if cpu or not _has_gpu():
        environment["ACCELERATE_USE_CPU"] = "true"
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
    launcher += ["--num_processes", str(num_processes), "--main_process_port", "0"]
    launcher += ["--mixed_precision", environment.get("ACCELERATE_MIXED_PRECISION", "no"), "--dynamo_backend", "no"]
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "exit_code"
        environment[EXIT_CODE_FILE] = str(note)
        process = subprocess.Popen([*launcher, "-q", "-m", "hlcli", *arguments], env=environment)
        previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            code = _wait(process)
        finally:
            signal.signal(signal.SIGTERM, previous)
        return int(note.read_text()) if note.is_file() else code


def is_first_process() -> bool:
    """Whether this is the process that shows and writes results."""
    return os.environ.get("RANK", "0") == "0"


def leave_exit_code(code: int) -> None:
    """Tell `relaunch` how the first process ended."""
    path = os.environ.get(EXIT_CODE_FILE)
    if path and is_first_process():
        Path(path).write_text(str(code))


def _wait(process: subprocess.Popen) -> int:
    """Wait through Ctrl-C: the children get it too and save their work."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def autocast_of(accelerator: Accelerator) -> Callable[[], AbstractContextManager[object]]:
    """Makes contexts of the accelerator's mixed precision as it is now, whatever is chosen for the next model."""
    import torch

    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(accelerator.mixed_precision)
    return nullcontext if dtype is None else partial(torch.autocast, accelerator.device.type, dtype=dtype)


def _forget_other_choice(precision: str, on_cpu: bool) -> None:
    """Let one process choose again: Accelerate keeps the first precision and device, but models follow one another."""
    from accelerate.state import AcceleratorState

    if not AcceleratorState._shared_state:
        return
    state = AcceleratorState()
    if state.num_processes == 1 and (state.mixed_precision, state.device.type == "cpu") != (precision, on_cpu):
        AcceleratorState._reset_state(reset_partial_state=True)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _env_says_cpu() -> bool:
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
