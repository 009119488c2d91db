"""Forward and backward of the label attention, and of the SGRE head around it, against the plain of `plain_sgre.py`.

    python benchmarks/label_attention.py --threads 1 --out label_attention.json

Both start from the same weights and see the same batch, in turn, so that a busy machine slows both; the processor
time of the process is given beside the time on the clock. The shares are ours / plain: below 1 means that ours needs
less. First, losses and gradients are compared, without dropout and in double precision (in single, rounding alone
moves some gradients of either head by a thousandth).

Memory is measured in a process of its own for each: how far the resident memory of a second step rises above what is
resident before it, when weights, inputs and gradients are there already (so gradients are added to, not made).
`--fresh-gradients` lets the step make them, and counts them. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from plain_sgre import PlainAttention, PlainHead
from torch import Tensor, nn

from hlcli.data.labels import LabelSpace
from hlcli.layers.label_attention import LabelAttention
from hlcli.methods.reference_names import LABEL_ATTENTION, inverted, rename_all
from hlcli.methods.sgre.config import Sgre
from hlcli.methods.sgre.convert import to_reference
from hlcli.methods.sgre.model import Sgre as SgreModel

BATCH_SIZE, GRID, DIM, EMBEDDING = 2, (14, 14), 2048, 768
STAGES = ("attention", "head")
COMPARED_LABELS = 20
ZERO_BUT_FOR_ROUNDING = ("attention.hidden_linear.bias", "attention.target_linear.bias")
Step = Callable[[], Tensor]
Rename = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class Tokens(nn.Module):
    """A backbone that has done its work."""

    name, grid, num_features, class_tokens = "tokens", GRID, DIM, 0


class AttentionAlone(nn.Module):
    """The attention with trained label embeddings, as far as one number per label."""

    def __init__(self, attention: nn.Module, embeddings: Tensor) -> None:
        super().__init__()
        self.attention = attention
        self.embeddings = nn.Parameter(embeddings)

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Means of the label features, twice, in place of two branches."""
        features = self.attention(tokens, self.embeddings)[0]
        return features[..., ::2].mean(dim=-1), features[..., 1::2].mean(dim=-1)


def make_pair(stage: str, num_labels: int) -> tuple[nn.Module, nn.Module, Rename]:
    """Plain and ours with the same weights, and what gives our tensors the names of the plain ones."""
    torch.manual_seed(0)
    plain: nn.Module
    ours: nn.Module
    if stage == "attention":
        embeddings = torch.randn(num_labels, EMBEDDING) / 2
        plain = AttentionAlone(PlainAttention(DIM, EMBEDDING), embeddings.clone())
        ours = AttentionAlone(LabelAttention(DIM, EMBEDDING, 1024), embeddings)
        table = {**inverted(LABEL_ATTENTION), "head.embeddings": "embeddings"}

        def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
            return rename_all({f"head.{name}": of for name, of in state.items()}, table, "SGRE")
    else:
        plain = PlainHead(DIM, num_labels, EMBEDDING)
        labels = LabelSpace.flat([f"label {index}" for index in range(num_labels)])
        ours = Sgre().build_head(labels, num_features=DIM, grid=GRID)
        model = SgreModel(Tokens(), ours)

        def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
            theirs = to_reference({f"head.{name}": of for name, of in state.items()}, model)
            return {name: of for name, of in theirs.items() if not name.startswith("position_embedding")}

    plain.load_state_dict(rename(dict(ours.state_dict())))
    return plain, ours, rename


def make_step(module: nn.Module, num_labels: int, *, keep_gradients: bool) -> Step:
    """A function that makes one forward and backward pass, the gradient of the tokens included."""
    generator = torch.Generator().manual_seed(1)
    dtype = next(module.parameters()).dtype
    tokens = torch.randn(BATCH_SIZE, GRID[0] * GRID[1], DIM, generator=generator).relu().to(dtype).requires_grad_()
    targets = (torch.rand(BATCH_SIZE, num_labels, generator=generator) < 0.05).to(dtype)

    def step() -> Tensor:
        module.zero_grad(set_to_none=not keep_gradients)
        tokens.grad = tokens.grad.zero_() if keep_gradients and tokens.grad is not None else None
        logits, label_logits, *_ = module(tokens)
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        loss = loss + F.binary_cross_entropy_with_logits(label_logits, targets)
        loss.backward()
        return loss.detach()

    return step


def set_dropout(module: nn.Module, on: bool) -> None:
    """Put the dropout of both heads to the published probabilities, or to none."""
    for name, part in module.named_modules():
        probability = 0.5 if name in ("fc2.2", "classifier") else 0.1
        if isinstance(part, nn.Dropout):
            part.p = probability if on else 0.0
        elif isinstance(getattr(part, "dropout", None), float):
            part.dropout = probability if on else 0.0


def differences(stage: str) -> dict[str, float]:
    """How far the loss, and the worst gradient, lie from the plain ones, relative to these."""
    plain, ours, rename = make_pair(stage, COMPARED_LABELS)
    losses = []
    for module in (plain, ours):
        set_dropout(module.double(), False)
        losses.append(make_step(module, COMPARED_LABELS, keep_gradients=False)().item())
    gradients = rename({name: of.grad for name, of in ours.named_parameters() if of.grad is not None})
    worst = max(
        ((gradients[name] - of.grad).norm() / of.grad.norm()).item()
        for name, of in plain.named_parameters()
        if of.grad is not None and name not in ZERO_BUT_FOR_ROUNDING
    )
    return {"loss_difference": abs(losses[1] / losses[0] - 1), "gradient_difference": worst}


def measure_time(stage: str, num_labels: int, repeats: int) -> dict[str, Any]:
    """Paired times: medians of both, and of their shares."""
    plain, ours, _ = make_pair(stage, num_labels)
    steps = {"plain": make_step(plain, num_labels, keep_gradients=False)}
    steps["ours"] = make_step(ours, num_labels, keep_gradients=False)
    clocks = {"seconds": time.perf_counter, "cpu_seconds": time.process_time}
    taken: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in steps} for clock in clocks}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            before = {clock: now() for clock, now in clocks.items()}
            step()
            for clock, now in clocks.items():
                if repeat:  # the first round warms up
                    taken[clock][name].append(now() - before[clock])
    result: dict[str, Any] = {}
    for clock, both in taken.items():
        shares = [fast / slow for slow, fast in zip(both["plain"], both["ours"], strict=True)]
        result |= {f"{name}_{clock}": statistics.median(values) for name, values in both.items()}
        result |= {f"{clock}_share": statistics.median(shares), f"{clock}_share_range": [min(shares), max(shares)]}
    return result


def resident(field: str) -> int:
    """Bytes of resident memory: VmRSS now, VmHWM at most since the mark was reset."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def extra_peak(stage: str, variant: str, num_labels: int, *, fresh_gradients: bool) -> int:
    """Bytes that a step needs above what is resident before it."""
    plain, ours, _ = make_pair(stage, num_labels)
    module = {"plain": plain, "ours": ours}[variant]
    del plain, ours
    step = make_step(module, num_labels, keep_gradients=not fresh_gradients)
    step()
    if fresh_gradients:
        module.zero_grad(set_to_none=True)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM
    step()
    return resident("VmHWM") - before


def measure_memory(stage: str, num_labels: int, threads: int, *, fresh_gradients: bool) -> dict[str, Any]:
    """Extra peaks of both, each in its own process, and their share."""
    peaks = {}
    for variant in ("plain", "ours"):
        command = [sys.executable, __file__, "--memory-of", stage, variant, str(num_labels), "--threads", str(threads)]
        command += ["--fresh-gradients"] if fresh_gradients else []
        # Freed tensors go back to the system at once, so that the mark means tensors in use.
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        peaks[variant] = int(done.stdout)
    return {
        "plain_extra_bytes": peaks["plain"],
        "our_extra_bytes": peaks["ours"],
        "memory_share": peaks["ours"] / peaks["plain"],
    }


def show(row: dict[str, Any]) -> None:
    """A line of the table."""
    memory = "-"
    if "memory_share" in row:
        plain, ours = row["plain_extra_bytes"] / 2**20, row["our_extra_bytes"] / 2**20
        memory = f"{plain:6.0f} {ours:5.0f} MiB {row['memory_share']:5.2f}"
    low, high = row["seconds_share_range"]
    print(
        f"{row['stage']:<10}{row['num_labels']:>6} {row['plain_seconds']:7.2f}s {row['ours_seconds']:6.2f}s"
        f" {row['seconds_share']:5.2f} ({low:.2f}–{high:.2f}) {row['cpu_seconds_share']:5.2f}   {memory}"
        f"   {row['loss_difference']:.0e} {row['gradient_difference']:.0e}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--num-labels", type=int, nargs="+", default=[80, 500])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-memory", action="store_true", help="time alone")
    parser.add_argument("--fresh-gradients", action="store_true", help="count gradients as memory of the step")
    parser.add_argument("--out", type=Path, help="JSON file with the results")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        stage, variant, num_labels = options.memory_of
        print(extra_peak(stage, variant, int(num_labels), fresh_gradients=options.fresh_gradients))
        return
    print(f"B={BATCH_SIZE}, {GRID[0] * GRID[1]} tokens, width {DIM}, {options.threads} threads; share = ours / plain")
    print(
        f"{'stage':<10}labels    plain    ours  share (range)      cpu   extra memory, share   loss and gradient differ"
    )
    rows = []
    for stage in options.stages:
        difference = differences(stage)
        for num_labels in options.num_labels:
            row = {"stage": stage, "num_labels": num_labels, **difference}
            row |= measure_time(stage, num_labels, options.repeats)
            if not options.no_memory:
                row |= measure_memory(stage, num_labels, options.threads, fresh_gradients=options.fresh_gradients)
            show(row)
            rows.append(row)
    if options.out:
        report = {"torch": torch.__version__, "threads": options.threads, "batch_size": BATCH_SIZE, "rows": rows}
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
