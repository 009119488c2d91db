"""Average precision and the F1 threshold sweep against a plain baseline, scikit-learn and torchmetrics.

    python benchmarks/metrics.py --out metrics.json

Needs `pip install "hlcli[dev]"`. The plain baseline does what the papers' programs do: one label after the other, a
full precision-recall curve each, and four scikit-learn F1 calls at each of 19 thresholds; it takes about a minute a
round at the default size (`--rounds 1` for one). All contenders see the same arrays in one process, in turn, and the
median over the rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score
from torchmetrics.functional.classification import multilabel_average_precision, multilabel_f1_score

from hlcli.metrics.multilabel import THRESHOLDS, average_precision, f1_curve, mean_average_precision

Scores = NDArray[np.float32]
Targets = NDArray[np.bool_]
OURS = "hlcli"


def baseline_average_precision(scores: Scores, targets: Targets) -> float:
    """Mean average precision by its definition in docs/metrics.md, label by label."""
    values = []
    for label in range(scores.shape[1]):
        order = np.argsort(-scores[:, label])
        hits = np.cumsum(targets[order, label].astype(float))
        misses = np.cumsum(1.0 - targets[order, label])
        recall = np.concatenate([[0.0], hits / hits[-1], [1.0]])
        precision = np.concatenate([[0.0], hits / (hits + misses), [0.0]])
        for i in range(len(precision) - 2, -1, -1):
            precision[i] = max(precision[i], precision[i + 1])
        steps = np.flatnonzero(recall[1:] != recall[:-1])
        values.append(np.sum((recall[steps + 1] - recall[steps]) * precision[steps + 1]))
    return float(np.mean(values))


def baseline_f1_sweep(scores: Scores, targets: Targets) -> float:
    """Best macro F1 over the thresholds; micro, samples and per-label F1 come along, as in the reference."""
    best = 0.0
    truth = targets.astype(int)
    for threshold in THRESHOLDS:
        predictions = (scores > threshold).astype(int)
        curves = [
            f1_score(truth, predictions, average=kind, zero_division=0) for kind in ("micro", "samples", "macro", None)
        ]
        best = max(best, float(curves[2]))
    return best


def torchmetrics_f1_sweep(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """Best macro F1 from per-label F1 alone; torchmetrics has no mean over images of one set."""
    return max(
        float(
            multilabel_f1_score(
                scores, targets, scores.shape[1], threshold=threshold, average="none", validate_args=False
            ).mean()
        )
        for threshold in THRESHOLDS
    )


def contenders(scores: Scores, targets: Targets) -> dict[str, dict[str, Callable[[], float]]]:
    """Work → contender → a call that returns a number; equal numbers mean equal definitions."""
    tensors = torch.from_numpy(scores), torch.from_numpy(targets.astype(np.int64))
    size = scores.shape[1]
    return {
        "average precision, interpolated": {
            OURS: lambda: mean_average_precision(average_precision(scores, targets)),
            "plain baseline": lambda: baseline_average_precision(scores, targets),
        },
        "average precision, plain": {
            OURS: lambda: mean_average_precision(
                average_precision(scores, targets, interpolation="plain", merge_ties=True)
            ),
            "scikit-learn": lambda: float(average_precision_score(targets, scores, average="macro")),
            "torchmetrics": lambda: float(
                multilabel_average_precision(*tensors, num_labels=size, average="macro", validate_args=False)
            ),
        },
        "F1 at 19 thresholds": {
            OURS: lambda: float(f1_curve(scores, targets).macro.max()),
            "scikit-learn (plain baseline)": lambda: baseline_f1_sweep(scores, targets),
            "torchmetrics (per label only)": lambda: torchmetrics_f1_sweep(*tensors),
        },
    }


def measure(scores: Scores, targets: Targets, rounds: int) -> list[dict]:
    """One row per work and contender: median seconds, ratio to ours, and the number it found."""
    work = contenders(scores, targets)
    seconds: dict[tuple[str, str], list[float]] = {(name, who): [] for name, calls in work.items() for who in calls}
    found: dict[tuple[str, str], float] = {}
    for calls in contenders(scores[:100], targets[:100]).values():
        for call in calls.values():
            call()  # the first call of a library is not typical
    for _ in range(rounds):
        for (name, who), times in seconds.items():
            start = time.perf_counter()
            found[name, who] = work[name][who]()
            times.append(time.perf_counter() - start)
    medians = {key: statistics.median(times) for key, times in seconds.items()}
    rows = [
        {"work": name, "who": who, "seconds": value, "ratio": value / medians[name, OURS], "result": found[name, who]}
        for (name, who), value in medians.items()
    ]
    ours = medians["average precision, interpolated", OURS] + medians["F1 at 19 thresholds", OURS]
    plain = (
        medians["average precision, interpolated", "plain baseline"]
        + medians["F1 at 19 thresholds", "scikit-learn (plain baseline)"]
    )
    rows.append({"work": "mAP and F1 together", "who": OURS, "seconds": ours, "ratio": 1.0})
    rows.append({"work": "mAP and F1 together", "who": "plain baseline", "seconds": plain, "ratio": plain / ours})
    return rows


def make_data(images: int, labels: int, ties: bool) -> tuple[Scores, Targets]:
    """Sigmoid scores and COCO-like targets: 3.6 % positives; with ties, scores as a bfloat16 head gives them."""
    rng = np.random.default_rng(0)
    targets = rng.random((images, labels)) < 0.036
    targets[0] = True
    logits = torch.from_numpy(rng.normal(-3.0, 1.5, (images, labels)) + 3.0 * targets)
    scores = (logits.bfloat16().float() if ties else logits.float()).sigmoid()
    return scores.numpy(), targets


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--labels", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; the others use one")
    parser.add_argument("--ties", action="store_true", help="many equal scores, as a bfloat16 head gives them")
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure(*make_data(options.images, options.labels, options.ties), options.rounds)
    print(f"{options.images:,} images, {options.labels} labels, median of {options.rounds} rounds")
    for row in rows:
        result = f"{row['result']:.6f}" if "result" in row else ""
        print(f"{row['work']:32} {row['who']:31} {row['seconds']:9.3f} s {row['ratio']:8.1f}x  {result}")
    if options.out is not None:
        packages = {name: version(name) for name in ("numpy", "scikit-learn", "torch", "torchmetrics")}
        setting = {key: value for key, value in vars(options).items() if key != "out"}
        setting |= {
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "torch_threads": torch.get_num_threads(),
        }
        options.out.write_text(json.dumps({"setting": setting | packages, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
