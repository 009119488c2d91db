"""Processes: which one this is, catching launches that would silently do something else, relaunching."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hlcli.errors import HlcliError, InputError
from hlcli.interrupts import STOPS
from hlcli.library_errors import TIMEOUT, as_ours

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator, PartialState

_Found = TypeVar("_Found")

EXIT_CODE_FILE = "HLCLI_EXIT_CODE_FILE"
"""Environment variable: where the first process leaves its exit code, which launchers lose."""

_WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")

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
    has_mpi = any(name in os.environ for name in _WORLD_SIZES[1:])
    if is_simple_launch and "MASTER_ADDR" in os.environ and not has_mpi:
        raise InputError("The launcher was asked for several processes but started one.", _RIGHT_COMMAND)
    if world_size > 1 and not cpu and not _env_says_cpu() and not _has_gpu():
        raise InputError(
            f"{world_size} processes were started for GPUs, but there is no GPU: each would train alone "
            "and all would write the same files.",
            _RIGHT_COMMAND,
        )


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many, where it computes and how exactly: all that work without training needs.

    It owns nothing and changes nothing of the program, so that any number of them live side by side. What they have in
    common with an accelerator has the same name.
    """

    device: torch.device
    mixed_precision: str = "no"
    process_index: int = 0
    num_processes: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this is the one that writes."""
        return self.process_index == 0

    def autocast(self) -> AbstractContextManager[object]:
        """A context of the precision."""
        import torch

        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.mixed_precision)
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensors of all processes, one after another."""
        if self.num_processes == 1:
            return tensor
        from accelerate.utils import gather

        return gather(tensor)  # type: ignore[no-any-return]

    def wait_for_everyone(self) -> None:
        """Go on when all processes are here."""
        if self.num_processes > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()


def find_processes(*, cpu: bool = False, precision: str | None = None) -> Processes:
    """This process among those that were launched together. One by itself leaves Accelerate's process-wide state alone.

    Args:
        cpu: stay on the CPU.
        precision: fp32, fp16, bf16, or None for what the launcher says.

    Raises:
        InputError: for launches that cannot be meant or are not supported, or fp16 on a CPU.
    """
    on_cpu, wanted = _choose(cpu, precision)
    import torch

    if all(int(os.environ.get(name, "1")) <= 1 for name in _WORLD_SIZES):
        return Processes(torch.device("cpu") if on_cpu else torch.device("cuda", torch.cuda.current_device()), wanted)
    state = _meet(on_cpu)
    return Processes(state.device, wanted, state.process_index, state.num_processes)


def make_accelerator(*, cpu: bool = False, precision: str | None = None) -> Accelerator:
    """The accelerator of this process, for training; Accelerate's process-wide state is made anew where it differs.

    Args:
        cpu: stay on the CPU.
        precision: fp32, fp16, bf16, or None for what the launcher says.

    Raises:
        InputError: for launches that cannot be meant or are not supported, or fp16 on a CPU.
    """
    on_cpu, wanted = _choose(cpu, precision)
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    _forget_other_choice(wanted, on_cpu)
    _meet(on_cpu)
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision=wanted,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    accelerator.gradient_accumulation_steps = 1  # the loop cuts batches itself; the environment must not
    return accelerator


def _choose(cpu: bool, precision: str | None) -> tuple[bool, str]:
    """Whether to stay on the CPU, and the precision as Accelerate calls it; the only place where they are chosen."""
    check_launch(cpu)
    import torch

    on_cpu = cpu or _env_says_cpu() or not torch.cuda.is_available()
    wanted = {"fp32": "no"}.get(precision or "", precision) or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if on_cpu and wanted == "fp16":
        raise InputError("train.precision: fp16 needs a GPU.", "Use bf16 or fp32 on a CPU.")
    return on_cpu, wanted


def _meet(on_cpu: bool) -> PartialState:
    """Join the processes that were launched together; Accelerate's state of this one.

    Raises:
        InputError: when the launcher's variables are wrong.
        LostProcessError: when the others do not come.
    """
    from accelerate import PartialState

    try:
        with as_ours():
            return PartialState(cpu=on_cpu, timeout=_timeout())
    except ValueError as error:
        raise InputError(f"The processes cannot be set up: {error}") from error


def _timeout() -> timedelta:
    """How long processes wait for each other before they give up: 30 minutes, unless `HLCLI_TIMEOUT` says it.

    Raises:
        InputError: when that is no number of minutes.
    """
    given = os.environ.get(TIMEOUT, "30")
    try:
        minutes = float(given)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 1e6:
        raise InputError(f"{TIMEOUT}={given} is no number of minutes.", f"Set {TIMEOUT}=30, or leave it out.")
    return timedelta(minutes=minutes)


def from_first(processes: Accelerator | Processes, work: Callable[[], _Found]) -> _Found:
    """What the first process finds, told to all; the HlcliError that it ends with is raised on all."""
    answer: list[Any] = [None]
    if processes.is_main_process:
        try:
            answer = [work()]
        except HlcliError as error:
            answer = [error]
    if processes.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(answer)
    if isinstance(answer[0], HlcliError):
        raise answer[0]
    return answer[0]  # type: ignore[no-any-return]


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
        previous = {number: signal.signal(number, lambda *_: process.terminate()) for number in STOPS[1:]}
        try:
            code = _wait(process)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
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


def _forget_other_choice(precision: str, on_cpu: bool) -> None:
    """Let one process choose again: Accelerate keeps the first precision and device, but trainings follow one
    another."""
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
