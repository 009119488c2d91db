"""A whole training step as the loop makes it, against the bare network or the plain one; the input is in memory.

    python benchmarks/training_step.py --out training_step.json
    python benchmarks/training_step.py --against plain --methods sgre --num-labels 80 500
    python benchmarks/training_step.py --sizes 64 --batch-size 4 --backbone test_resnet.r160_in1k   # a quick look

Ours is `hlcli.training.loop._step` with everything that belongs to it: schedule, random numbers of the step, images
from bytes to floats, loss terms and their log window, the look at all gradients, the optimiser, the averaged weights.
`bare` is the same network and loss with the same fused optimiser and nothing else: forward, sum of the terms, backward,
step, zero_grad, on images that are floats already. `--no-average` leaves the averaged weights out of ours too.
`plain` is the step of the papers' programs: the head of `plain_salgl.py`, `plain_sgre.py` or `plain_hleg.py` behind the
same backbone in torch's own memory layout, `torch.optim.AdamW` with its default settings, and averaged weights copied
entry by entry over the whole state (`--no-average` leaves them out of both). Without dropout and with the same weights
both must have the same loss before anything is timed.

Both sides make a step in turn, each first in every other round, so that a busy machine slows both; a ratio above 1
means that ours takes less time. The processor time of the process is given too, and the ratio of the floating-point
operations of matrix products and convolutions, as torch counts them: what could be had if nothing else took time.
Memory is measured in a process of its own for each side: how far the resident memory of two steps, gradients included,
rises above weights, averages and the optimiser's state (Linux only; `--memory`).
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from label_attention import resident, set_dropout
from plain_hleg import PlainHead as PlainHleg
from plain_hleg import plain_objective
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from training_sides import Case, Plain, plain_of, training_of

from hlcli.optim import build_optimizer
from hlcli.training import loop
from hlcli.training.state import Training

BARE_METHODS = ("linear", "query2label", "hleg", "salgl", "sgre", "hspnet", "hin")
PLAIN_METHODS = ("hleg", "salgl", "sgre")
LOSS_TOLERANCE = 1e-4
_DECAY = 0.9997
Step = Callable[[], object]
LossOf = Callable[[nn.Module], Tensor]


def loss_of(training: Training, batch: Any) -> LossOf:
    """The sum of the method's terms."""

    def loss(model: nn.Module) -> Tensor:
        if isinstance(model, Plain) and isinstance(model.head, PlainHleg):
            return plain_objective(model.head, model(batch.images), batch.targets.double())
        return sum(training.task.losses(model, batch, training.criterion, epoch=0).trained.values())  # type: ignore[return-value]

    return loss


def other_step(case: Case, training: Training, model: nn.Module, loss: LossOf) -> Step:
    """Forward, backward and optimiser, and nothing else."""
    recipe = training.recipe
    optimizer = build_optimizer(recipe.optim, model, recipe.model.lr_factors(), training.criterion)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16"):
            value = loss(model)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def plain_step(case: Case, model: nn.Module, loss: LossOf) -> Step:
    """What the papers' programs do in a step: torch's default optimiser, averaged weights entry by entry."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-2)
    average = copy.deepcopy(model).eval() if case.average else None

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16"):
            value = loss(model)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if average is not None:
            with torch.no_grad():
                pairs = zip(average.state_dict().values(), model.state_dict().values(), strict=True)
                for ours, theirs in pairs:
                    ours.copy_(_DECAY * ours + (1 - _DECAY) * theirs)

    return step


def steps_of(case: Case, folder: Path, sides: tuple[str, ...]) -> tuple[dict[str, Step], float]:
    """The steps of the sides asked for, and how far their losses differ before the first."""
    training, batch = training_of(case, folder)
    on_device = training.task.on_device(batch, 1)
    is_plain, difference = case.against == "plain", 0.0
    loss = loss_of(training, on_device)
    model = plain_of(training) if is_plain else copy.deepcopy(training.model)
    if is_plain and len(sides) > 1:
        without = [copy.deepcopy(network) for network in (model, training.model)]
        for network in without:
            set_dropout(network, False)
        values = [float(loss(network).detach()) for network in without]
        difference = abs(values[1] / values[0] - 1)
        if not difference < (LOSS_TOLERANCE if case.precision == "fp32" else 0.05):
            raise SystemExit(f"{case.method}: both sides differ, losses by {difference:.1e} of them.")
    found: dict[str, Step] = {}
    if "other" in sides:
        if is_plain:
            loss = loss_of(training, on_device._replace(images=on_device.images.contiguous()))
        found["other"] = plain_step(case, model, loss) if is_plain else other_step(case, training, model, loss)
    if "ours" in sides:
        supply = itertools.repeat(batch)
        found["ours"] = lambda: loop._step(training, supply)
    return found, difference


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Paired times of a case."""
    with tempfile.TemporaryDirectory() as folder:
        steps, difference = steps_of(case, Path(folder), ("other", "ours"))
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        processor: dict[str, list[float]] = {name: [] for name in steps}
        operations = {name: flops(step) for name, step in steps.items()}  # this warms up, too
        for repeat in range(repeats):
            for name in list(steps)[:: -1 if repeat % 2 else 1]:
                start, cpu_start = time.perf_counter(), time.process_time()
                steps[name]()
                seconds[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - cpu_start)
    ratios = [other / ours for other, ours in zip(seconds["other"], seconds["ours"], strict=True)]
    cpu_ratios = [other / ours for other, ours in zip(processor["other"], processor["ours"], strict=True)]
    return {
        **case._asdict(),
        "loss_difference": difference,
        "other_seconds": statistics.median(seconds["other"]),
        "our_seconds": statistics.median(seconds["ours"]),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "cpu_ratio": statistics.median(cpu_ratios),
        "flops_ratio": operations["other"] / operations["ours"],
    }


def flops(step: Step) -> int:
    """Floating-point operations of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def extra_peak(case: Case, side: str) -> int:
    """Bytes that a step of one side needs above what is resident before it."""
    with tempfile.TemporaryDirectory() as folder:
        steps, _ = steps_of(case, Path(folder), (side,))
        steps[side]()
        for thing in gc.get_objects():
            if isinstance(thing, nn.Parameter):
                thing.grad = None  # gradients belong to the step, wherever a program lets go of them
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM
        for _ in range(2):
            steps[side]()
        return resident("VmHWM") - before


def measure_memory(case: Case, threads: int) -> dict[str, Any]:
    """Extra peaks of both sides, each in its own process."""
    # Freed tensors go back to the system at once, so that the mark means tensors in use.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    peaks = {}
    for side in ("other", "ours"):
        command = [sys.executable, __file__, "--memory-of", side, json.dumps(case), "--threads", str(threads)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        peaks[side] = int(done.stdout.splitlines()[-1])
    share = peaks["ours"] / peaks["other"]
    return {"other_extra_bytes": peaks["other"], "our_extra_bytes": peaks["ours"], "memory_share": share}


def show(row: dict[str, Any]) -> None:
    """A line of the table."""
    low, high = row["ratio_range"]
    labels = row["num_labels"] or "-"
    memory = f"  memory {row['memory_share']:.2f}" if "memory_share" in row else ""
    print(
        f"{row['method']:<12}{row['backbone'][:20]:<21}{row['image_size']:>5}{row['batch_size']:>4}{labels:>5}"
        f" {row['other_seconds']:9.3f}s {row['our_seconds']:8.3f}s {row['ratio']:6.2f} ({low:.2f}–{high:.2f})"
        f" {row['cpu_ratio']:5.2f} {row['flops_ratio']:5.2f}"
        f"{memory}",
        flush=True,
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=("bare", "plain"), default="bare")
    parser.add_argument("--methods", nargs="+", choices=BARE_METHODS)
    parser.add_argument("--backbone", default=None, help="default: resnet18, with --against plain resnet101")
    parser.add_argument("--sizes", type=int, nargs="+", default=None, help="sides of the images in pixels")
    parser.add_argument("--num-labels", type=int, nargs="+", default=None)
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--average", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--memory", action="store_true", help="also measure memory")
    parser.add_argument("--checkpointing", action="store_true", help="ours with backbone.gradient_checkpointing")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON file with the results")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(options.threads)
    if options.memory_of:
        side, case = options.memory_of
        print(extra_peak(Case(*json.loads(case)), side))
        return
    is_plain = options.against == "plain"
    backbone = options.backbone or ("resnet101" if is_plain else "resnet18")
    print(f"{options.against}, {options.threads} threads, {options.precision}; ratio = {options.against} / ours")
    print(
        f"{'method':<12}{'backbone':<21} size   B    L {options.against:>10}      ours  ratio (range)       cpu flops"
    )
    rows = []
    for method, size, labels in itertools.product(
        options.methods or (PLAIN_METHODS if is_plain else BARE_METHODS),
        options.sizes or ([448] if is_plain else [64, 128]),
        options.num_labels or ([80] if is_plain else [None]),
    ):
        if method in ("hleg", "hspnet", "hin"):
            labels = None  # these need levels or captions, which drawn scenes have
        batch_size = options.batch_size or (2 if is_plain else 16)
        average = options.average and method != "hin"
        case = Case(
            options.against,
            method,
            backbone,
            size,
            batch_size,
            labels,
            options.precision,
            average,
            options.checkpointing,
        )
        row = measure(case, options.repeats)
        row |= measure_memory(case, options.threads) if options.memory else {}
        show(row)
        rows.append(row)
    if options.out:
        report = {"torch": torch.__version__, "threads": options.threads, "rows": rows}
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
