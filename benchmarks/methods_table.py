"""All methods side by side on one labelled folder: the same backbone, images, epochs, batch size and learning rate.

    python benchmarks/methods_table.py --images photos --labels labels.csv --backbone resnet18 --epochs 10

The CSV file begins with `image,labels,split` and has the splits train and test. Nothing is tuned on test: every method
trains for the same number of epochs, and the weights of the last epoch are measured once. Prints a Markdown
table (also into --out), and keeps the runs in --runs.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

import hlcli
from hlcli.recipe import Recipe

SMALL = {"feedforward_dim": 256, "dropout": 0.0}
METHODS: dict[str, dict[str, Any]] = {
    "linear": {"method": "linear"},
    "hleg": {"method": "hleg", "hidden_dim": 128, **SMALL},
    "salgl": {"method": "salgl", "attention_dim": 128, "graph_steps": 1, "positions": True, **SMALL},
    "sgre": {"method": "sgre", "attention_dim": 128, "positions": True, "branch_weight": 0.4, **SMALL},
}
COLUMNS = ("mAP", "CF1", "OF1")


def recipe_of(method: str, arguments: argparse.Namespace) -> Recipe:
    """The recipe of a row; rows differ in their model section only."""
    return Recipe.from_dict(
        {
            "data": {
                "dataset": "folder", "images": str(arguments.images), "labels": str(arguments.labels),
                "image_size": arguments.image_size, "horizontal_flip": True, "random_shift": 8, "workers": 0,
            },
            "backbone": {"name": arguments.backbone, "pretrained": False, "stage": arguments.stage},
            "model": METHODS[method],
            "objective": {"loss": "asymmetric", "gamma_neg": 2},
            "optim": {"optimizer": "adamw", "lr": arguments.lr, "weight_decay": 5e-2},
            "train": {
                "epochs": arguments.epochs, "batch_size": arguments.batch_size, "ema_decay": None,
                "seed": arguments.seed, "cpu": arguments.cpu,
            },
            "eval": {
                "split": "test", "select_by": "mAP", "every_epochs": arguments.epochs, "average_precision": "plain",
                "threshold": 0.5,
            },
        }
    )  # fmt: skip


def measure(method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and measure a row."""
    wall, processor = time.perf_counter(), time.process_time()
    run = hlcli.train(recipe_of(method, arguments), arguments.runs / method, overwrite=True)
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    metrics = [event["metrics"] for event in run.events() if event["event"] == "evaluation"][-1]
    weights = hlcli.load(run.folder).model
    return {
        "method": method,
        **{name: metrics[name] for name in COLUMNS},
        "parameters": sum(parameter.numel() for parameter in weights.parameters()),
        "processor_minutes": processor / 60,
        "wall_minutes": wall / 60,
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| method | mAP | CF1 | OF1 | parameters | CPU minutes |", "|---|---|---|---|---|---|"]
    for row in rows:
        scores = " | ".join(f"{row[name]:.3f}" for name in COLUMNS)
        size = f"{row['parameters'] / 1e6:.1f} M"
        lines.append(f"| {row['method']} | {scores} | {size} | {row['processor_minutes']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the methods that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--stage", type=int, help="Stage of the backbone that gives the grid; default the last.")
    parser.add_argument("--image-size", type=int, nargs=2, default=[64, 96], help="Height and width.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=60)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--runs", type=Path, default=Path("runs/methods-table"))
    parser.add_argument("--out", type=Path, default=Path("methods_table.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for method in arguments.methods:
        rows.append(measure(method, arguments))
        arguments.out.write_text(json.dumps({"settings": vars(arguments), "rows": rows}, default=str, indent=1))
        print(as_table(rows), flush=True)


if __name__ == "__main__":
    main()
