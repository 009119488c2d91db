"""One training step of the HLEG head (forward, loss, backward), ours against the plain one of `plain_hleg.py`.

    python benchmarks/hleg_step.py --out hleg_step.json

Both start from the same weights and see the same batch, in turn, so that a busy machine slows both. A ratio above 1
means that ours is faster. First, both losses and gradients are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from plain_hleg import PlainHead, plain_objective
from torch import Tensor, nn

from hlcli.data.datasets.intentonomy_labels import label_space
from hlcli.data.labels import Level
from hlcli.losses.asymmetric import AsymmetricLoss
from hlcli.methods.hleg.config import Hleg
from hlcli.methods.hleg.convert import from_reference
from hlcli.methods.hleg.objective import combine_levels, per_level

GRID = (7, 7)


def children(level: Level, num_parents: int) -> list[list[int]]:
    """Labels of each parent."""
    parents = level.parent_index or ()
    return [[child for child, parent in enumerate(parents) if parent == index] for index in range(num_parents)]


def make_pair(dim: int, dropout: float) -> tuple[PlainHead, nn.Module]:
    """Both heads with the same weights."""
    labels = label_space()
    groups = [children(labels.levels[2], len(labels.levels[1])), children(labels.levels[1], len(labels.levels[0]))]
    plain = PlainHead(*groups, channels=dim, dim=dim, heads=4, hidden=4 * dim, dropout=dropout)
    section = Hleg(hidden_dim=dim, feedforward_dim=4 * dim, dropout=dropout)
    ours = section.build_head(labels, num_features=dim, grid=GRID)
    state = from_reference(plain.state_dict())
    ours.load_state_dict({name.removeprefix("head."): value for name, value in state.items()})
    return plain, ours


def steps(plain: PlainHead, ours: Any, features: Tensor, targets: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Functions that make one step and return the loss."""
    criterion = AsymmetricLoss()
    tokens = features.flatten(2).transpose(1, 2)

    def plain_step() -> Tensor:
        plain.zero_grad(set_to_none=True)
        loss = plain_objective(plain, plain(features), targets.double())
        loss.backward()
        return loss

    def our_step() -> Tensor:
        ours.zero_grad(set_to_none=True)
        losses = per_level(ours(tokens).level_logits, ours.hierarchy.lift(targets), criterion)
        loss = combine_levels(losses, "hard_first_sample") + 0.1 * losses[-1].mean()
        loss.backward()
        return loss

    return {"plain": plain_step, "ours": our_step}


def measure(dim: int, batch_size: int, repeats: int) -> dict[str, Any]:
    """Paired times of one width."""
    torch.manual_seed(0)
    plain, ours = make_pair(dim, dropout=0.0)
    features = torch.randn(batch_size, dim, *GRID).relu().requires_grad_()
    targets = (torch.rand(batch_size, 28) < 0.07).float()
    both = steps(plain, ours, features, targets)
    difference = abs(both["plain"]().item() / both["ours"]().item() - 1)
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for module in (plain, ours):
        for part in module.modules():
            if isinstance(getattr(part, "dropout", None), float):
                part.dropout = 0.1
            if isinstance(part, nn.Dropout):
                part.p = 0.1
    for repeat in range(repeats + 1):
        for name, step in both.items():
            start = time.perf_counter()
            step()
            if repeat:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    ratios = [slow / fast for slow, fast in zip(seconds["plain"], seconds["ours"], strict=True)]
    return {
        "hidden_dim": dim,
        "batch_size": batch_size,
        "loss_difference": difference,
        "plain_seconds": statistics.median(seconds["plain"]),
        "our_seconds": statistics.median(seconds["ours"]),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[512, 2048], help="hidden widths")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, help="JSON file with the results")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = []
    print(f"{'width':>6} {'plain':>9} {'ours':>9} {'ratio':>6}  range         same loss within")
    for dim in options.dims:
        row = measure(dim, options.batch_size, options.repeats)
        low, high = row["ratio_range"]
        print(
            f"{dim:6d} {row['plain_seconds']:8.3f}s {row['our_seconds']:8.3f}s {row['ratio']:6.2f}"
            f"  {low:.2f}–{high:.2f}     {row['loss_difference']:.0e}"
        )
        rows.append(row)
    if options.out:
        report = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows}
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
