"""HSPNet: a training step (forward, loss, backward, optimiser) and an evaluation, ours against a plain variant.

    python benchmarks/hspnet_step.py --device cuda --precision bf16 --out hspnet_step.json
    python benchmarks/hspnet_step.py --sets coco cub --threads 1   # on a CPU: by parts
    python benchmarks/hspnet_step.py --small --repeats 1           # a look at whether it works

The plain variant is what the paper's program does: prompts of all 77 tokens, all 50 queries of the attention pool, the
parents' texts read anew in every step, and the labels' texts for every batch of an evaluation. Both start from the same
random weights of CLIP RN50, and see the same batch, in turn, each first in every other round, so that a busy machine
slows both. A ratio above 1 means that ours is faster. Before anything is timed, losses and logits of both are
compared; when they differ by more than the precision explains, nothing is measured. In mixed precision, graph, lengths
and cosines of the plain variant run in half precision as in the paper's program; ours keeps them in float32.

A step of 128 images takes minutes on a CPU. With --parts (the default there) all is measured with --part-batch images:
the whole step, and what it consists of. The time of the image tower grows with the batch, that of texts and optimiser
does not: so the ratio at --batch-size images is extrapolated, and called that. The attention pool, a part of the image
tower, is also timed alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hspnet_parts import PRECISIONS, Works, autocast, extrapolated, optimizer_of, parts_of
from plain_hspnet import SETS, Pair, make_pair
from torch import Tensor, nn

import hlcli
from hlcli.data.loader import LabelBatch
from hlcli.losses.splc import SplcLoss

LOSS_TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 1e-2}
"""How far losses may differ, as a share of them."""
LOGIT_TOLERANCE = {"fp32": 1e-2, "bf16": 0.5, "fp16": 0.1}
"""How far logits, from -10 to 10, may differ."""
FEASIBLE_ON_CPU = 16


def training_steps(pair: Pair, batch: LabelBatch, precision: str) -> dict[str, Callable[[], Tensor]]:
    """Functions that make one step and return the loss."""
    criterion = SplcLoss()

    def plain_loss() -> Tensor:
        return criterion(pair.plain(batch.images), batch.targets).sum()

    def our_loss() -> Tensor:
        return pair.section.training_losses(pair.ours, batch, criterion, epoch=0)["classification"]

    def step_of(model: nn.Module, loss_of: Callable[[], Tensor]) -> Callable[[], Tensor]:
        optimizer = optimizer_of(model)

        def step() -> Tensor:
            model.train()
            with autocast(batch.images.device, precision):
                loss = loss_of()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        return step

    return {"plain": step_of(pair.plain, plain_loss), "ours": step_of(pair.ours, our_loss)}


def evaluations(pair: Pair, images: Tensor, batches: int, precision: str) -> dict[str, Callable[[], Tensor]]:
    """Functions that score a number of batches."""

    def run(model: nn.Module, before: Callable[[], object]) -> Tensor:
        model.eval()
        with torch.inference_mode(), autocast(images.device, precision):
            for _ in range(batches):
                before()
                output = model(images)
        return output if isinstance(output, Tensor) else output.logits

    return {
        "plain": lambda: run(pair.plain, lambda: None),
        "ours, nothing remembered": lambda: run(pair.ours, pair.ours._label_memory.forget),
        "ours": lambda: run(pair.ours, lambda: None),
    }


def paired(functions: Works, repeats: int, device: str) -> dict[str, Any]:
    """Median seconds of each function, run in turn, its ratio to the first, and its peak memory on a GPU."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    peaks = dict.fromkeys(functions, 0)
    for repeat in range(repeats + 1):
        for name in list(functions)[:: 1 if repeat % 2 else -1]:  # who begins also begins on a colder machine
            if device == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            functions[name]()
            if device == "cuda":
                torch.cuda.synchronize()
                peaks[name] = torch.cuda.max_memory_allocated()
            if repeat:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(seconds.values()))
    found = {}
    for name, values in seconds.items():
        ratios = [slow / fast for slow, fast in zip(first, values, strict=True)]
        found[name] = {
            "seconds": statistics.median(values),
            "ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
            "peak_bytes": peaks[name] or None,
        }
    return found


def differences(
    scoring: dict[str, Callable[[], Tensor]], steps: dict[str, Callable[[], Tensor]]
) -> tuple[float, float]:
    """How far losses (as a share) and logits of both sides differ."""
    scores = [function().float() for function in scoring.values()]
    logits = max((scores[0] - other).abs().max().item() for other in scores[1:])
    losses = {key: step().item() for key, step in steps.items()}
    return abs(losses["ours"] / losses["plain"] - 1), logits


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Training and evaluation of one data set's sizes.

    Raises:
        SystemExit: when both sides do not compute the same.
    """
    torch.manual_seed(0)
    sizes, precision = SETS[name], options.precision
    pair = make_pair(sizes, small=options.small, device=options.device)
    size = options.part_batch if options.parts else options.batch_size
    images = torch.randn(size, 3, pair.side, pair.side, device=options.device)
    targets = torch.zeros(size, sizes.children, device=options.device)
    targets[torch.arange(size), torch.randint(sizes.children, (size,))] = 1
    batch = LabelBatch(images, targets, None, torch.arange(size), None)
    scoring = evaluations(pair, images, options.eval_batches, precision)
    steps = training_steps(pair, batch, precision)
    loss, logits = differences(scoring, steps)
    if not (loss <= LOSS_TOLERANCE[precision] and logits <= LOGIT_TOLERANCE[precision]):  # NaN too
        raise SystemExit(f"{name}: both sides differ, losses by {loss:.1e} of them and logits by {logits:.1e}.")
    row = {
        "set": name,
        "sizes": sizes._asdict(),
        "measured_batch_size": size,
        "loss_difference": loss,
        "score_difference": logits,
        "training step": paired({**steps}, options.repeats, options.device),
        "evaluation": paired({**scoring}, options.repeats, options.device),
    }
    if options.parts:
        works = parts_of(pair, images, precision)
        row["parts"] = {work: paired(both, options.repeats, options.device) for work, both in works.items()}
        row["by_parts"] = extrapolated(row["parts"], size, options)
    return row


def show(row: dict[str, Any], options: argparse.Namespace) -> None:
    """One data set as a table."""
    size = row["measured_batch_size"]
    print(
        f"{row['set']}: {row['sizes']['children']} labels, {row['sizes']['parents']} parents; same loss within "
        f"{row['loss_difference']:.0e}, same logits within {row['score_difference']:.0e}\n"
        f"  measured with {size} images in {options.precision}, an evaluation of {options.eval_batches} batches"
    )
    works = {"training step": row["training step"], "evaluation": row["evaluation"], **row.get("parts", {})}
    for work, found in works.items():
        for name, values in found.items():
            low, high = values["ratio_range"]
            figures = f"{values['seconds']:8.3f}s {values['ratio']:6.2f}  {low:.2f}–{high:.2f}"
            peak = "" if values["peak_bytes"] is None else f"  {values['peak_bytes'] / 2**30:.2f} GiB"
            print(f"  {work:26} {name:26} {figures}{peak}")
    for work in ("training step", "evaluation") if "by_parts" in row else ():
        measured, found = row[work]["ours"]["ratio"], row["by_parts"][work]
        print(
            f"  {work}: measured {measured:.2f} with {size} images (sum of parts {found['sum_of_parts']['ratio']:.2f}),"
            f" EXTRAPOLATED, not measured, {found['extrapolated']['ratio']:.2f} with {options.batch_size}"
        )
    for work, shares in row.get("by_parts", {}).get("attention_pool_share", {}).items():
        print(f"  {work}: attention pool's share of the image tower {shares['plain']:.1%}, ours {shares['ours']:.1%}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=["coco", "cub"])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--parts", action=argparse.BooleanOptionalAction, help=f"default: CPU, over {FEASIBLE_ON_CPU}")
    parser.add_argument("--part-batch", type=int, default=8, help="images that --parts measures with")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--eval-batches", type=int, default=4)
    parser.add_argument("--precision", choices=list(PRECISIONS), default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--small", action="store_true", help="a tiny CLIP model instead of RN50")
    parser.add_argument("--out", type=Path, help="JSON file with the results")
    options = parser.parse_args()
    for name in ("repeats", "eval_batches", "batch_size", "part_batch"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    if options.parts is None:
        options.parts = options.device == "cpu" and options.batch_size > FEASIBLE_ON_CPU
    return options


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = []
    for name in options.sets:
        rows.append(measure(name, options))
        show(rows[-1], options)
    if options.out:
        report = {
            **{key: value for key, value in vars(options).items() if key != "out"},
            "hlcli": hlcli.__version__,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "machine": torch.cuda.get_device_name() if options.device == "cuda" else platform.machine(),
            "rows": rows,
        }
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
