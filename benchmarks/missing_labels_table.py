"""Losses for missing labels side by side: one label is kept per training image, and all labels count on test.

    python benchmarks/missing_labels_table.py --dataset shapes --seeds 0 1 2 --epochs 10
    python benchmarks/missing_labels_table.py --dataset folder --images photos --labels labels.csv --epochs 10
    python benchmarks/missing_labels_table.py --method hspnet      # a small CLIP model from scratch

All rows have the same model, images, epochs, batch size and learning rate; a seed decides the first weights, the order
of the images and which labels are kept. Nothing is tuned on test: the weights of the last epoch are measured once. The
first row was trained with all labels, the upper line. EPR and ROLE are told the mean number of true labels per
training image, which the others do not know. Training images without any label are left out of all rows but the upper
line, which learns from them too. A CSV file begins with `image,labels,split` and has the splits train and test.

Writes --out after every run and prints a Markdown table at the end. Runs that are in --out already are not repeated,
unless their loss had other numbers: the same command goes on with a stopped table, and once all is measured prints it
again. A file of other settings, labels or versions is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

import hlcli
from hlcli.data.store import open_records, split_labels
from hlcli.files import whole_file
from hlcli.recipe import Recipe

SMALL = {"feedforward_dim": 192, "dropout": 0.0}
METHODS: dict[str, dict[str, Any]] = {
    "linear": {"method": "linear"},
    "hleg": {"method": "hleg", "hidden_dim": 96, **SMALL},
    "salgl": {"method": "salgl", "attention_dim": 96, "positions": True, "loss_scale": 1.0, **SMALL},
    "sgre": {"method": "sgre", "attention_dim": 96, "positions": True, "loss_scale": 1.0, **SMALL},
    "hspnet": {
        "method": "hspnet", "graph": "clip", "reduction": "mean", "batch_norm_eval_epochs": 0, "gcn_lr_factor": 1.0,
    },
}  # fmt: skip
UPPER_LINE = "all labels, bce"
LOSSES = (
    UPPER_LINE, "an", "wan", "label_smoothing", "focal_margin", "splc", "hill", "em", "epr", "role", "ll_r", "ll_ct",
    "ll_cp", "asymmetric",
)  # fmt: skip
COUNTED = ("epr", "role")
"""Losses that must be told the mean number of true labels."""


def data_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The data section, with all labels."""
    shared = {"image_size": arguments.image_size, "horizontal_flip": True, "workers": 0}
    if arguments.method == "hspnet":
        shared["normalization"] = "clip"
    if arguments.dataset == "shapes":
        return {"dataset": "shapes", "num_train": arguments.num_train, **shared}
    hierarchy = {} if arguments.hierarchy is None else {"hierarchy": str(arguments.hierarchy)}
    return {
        "dataset": "folder",
        "images": str(arguments.images),
        "labels": str(arguments.labels),
        **hierarchy,
        **shared,
    }


def recipe_of(loss: str, seed: int, expected_positives: float, arguments: argparse.Namespace) -> Recipe:
    """The recipe of a run; rows differ in the objective, and the upper line in the labels."""
    is_upper = loss == UPPER_LINE
    kept = {} if is_upper else {"labels_kept": "single", "labels_kept_seed": seed}
    objective: dict[str, Any] = {"loss": "bce" if is_upper else loss}
    if loss in COUNTED:
        objective["expected_positives"] = expected_positives
    return Recipe.from_dict(
        {
            "data": {**data_of(arguments), **kept},
            "backbone": {"name": arguments.backbone, "pretrained": arguments.pretrained, "stage": arguments.stage},
            "model": METHODS[arguments.method],
            "objective": objective,
            "optim": {"optimizer": "adamw", "lr": arguments.lr, "weight_decay": 1e-2},
            "train": {
                "epochs": arguments.epochs, "batch_size": arguments.batch_size, "ema_decay": None, "seed": seed,
                "cpu": arguments.cpu,
            },
            "eval": {
                "split": "test", "select_by": "mAP", "every_epochs": arguments.epochs, "average_precision": "plain",
                "threshold": 0.5,
            },
        }
    )  # fmt: skip


def mean_labels(arguments: argparse.Namespace) -> float:
    """True labels per training image; images without any, which only the upper line has, do not count."""
    recipe = recipe_of(UPPER_LINE, 0, 1.0, arguments)
    counts = [len(labels) for _, labels in split_labels(open_records(recipe.data, "train"))]
    return statistics.mean(count for count in counts if count)


def objective_of(recipe: Recipe) -> dict[str, Any]:
    """The loss with all its numbers, as it is stored."""
    return recipe.to_dict()["objective"]


def measure(loss: str, seed: int, expected_positives: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and measure one run."""
    recipe = recipe_of(loss, seed, expected_positives, arguments)
    folder = arguments.runs / f"{loss.replace(', ', '-').replace(' ', '-')}-{seed}"
    wall, processor = time.perf_counter(), time.process_time()
    run = hlcli.train(recipe, folder, overwrite=True)
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    metrics = [event["metrics"] for event in run.events() if event["event"] == "evaluation"][-1]
    return {
        "loss": loss, "seed": seed, "objective": objective_of(recipe), "metrics": metrics,
        "processor_minutes": processor / 60, "wall_minutes": wall / 60,
    }  # fmt: skip


def as_table(runs: list[dict[str, Any]]) -> str:
    """Markdown; mean and standard deviation over the seeds of each loss."""
    lines = ["| loss | test mAP | seeds | wall minutes a run |", "|---|---|---|---|"]
    for loss in dict.fromkeys(run["loss"] for run in runs):
        rows = [run for run in runs if run["loss"] == loss]
        scores = [run["metrics"]["mAP"] for run in rows]
        spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
        minutes = statistics.mean(run["wall_minutes"] for run in rows)
        lines.append(f"| {loss} | {statistics.mean(scores):.3f}{spread} | {len(rows)} | {minutes:.1f} |")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["shapes", "folder"], default="shapes")
    parser.add_argument("--images", type=Path, help="Folder of images, for --dataset folder.")
    parser.add_argument("--labels", type=Path, help="CSV file, for --dataset folder.")
    parser.add_argument("--hierarchy", type=Path, help="YAML tree of the labels, for --dataset folder.")
    parser.add_argument("--num-train", type=int, default=4000, help="Training images, for --dataset shapes.")
    parser.add_argument("--losses", nargs="+", default=list(LOSSES), choices=LOSSES, metavar="LOSS")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--method", choices=list(METHODS), default="linear")
    parser.add_argument("--backbone", help="Default test_resnet; for hspnet clip:tiny.")
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--stage", type=int, help="Stage of the backbone that gives the grid; default the last.")
    parser.add_argument("--image-size", type=int, nargs=2, default=[64, 64], help="Height and width.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--runs", type=Path, default=Path("runs/missing-labels-table"))
    parser.add_argument("--out", type=Path, default=Path("missing_labels_table.json"))
    arguments = parser.parse_args()
    if arguments.dataset == "folder" and not (arguments.images and arguments.labels):
        parser.error("--dataset folder needs --images and --labels")
    if arguments.dataset == "shapes" and arguments.hierarchy:
        parser.error("--hierarchy is for --dataset folder; shapes has one")
    arguments.backbone = arguments.backbone or ("clip:tiny" if arguments.method == "hspnet" else "test_resnet")
    return arguments


def comparable_settings(arguments: argparse.Namespace, expected_positives: float) -> dict[str, Any]:
    """What all runs of a table must have in common."""
    free = ("losses", "seeds", "threads", "cpu", "runs", "out")
    settings = {name: value for name, value in vars(arguments).items() if name not in free}
    settings |= {"mean_labels": expected_positives, "hlcli": hlcli.__version__, "torch": torch.__version__}
    for name in ("labels", "hierarchy"):
        path: Path | None = getattr(arguments, name)
        settings[f"{name}_sha256"] = path and hashlib.sha256(path.read_bytes()).hexdigest()
    return json.loads(json.dumps(settings, default=str))


def read_runs(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of an earlier start.

    Raises:
        SystemExit: when they were trained with other settings.
    """
    if not path.is_file():
        return []
    earlier = json.loads(path.read_text(encoding="utf-8"))
    if earlier["settings"] != settings:
        raise SystemExit(f"{path} holds runs with other settings: {earlier['settings']}. Give another --out.")
    return earlier["runs"]


def main() -> None:
    """Measure what is not yet measured."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    expected_positives = mean_labels(arguments)
    settings = comparable_settings(arguments, expected_positives)
    runs = read_runs(arguments.out, settings)
    for seed in arguments.seeds:  # seed by seed: a table that is stopped has all losses
        for loss in arguments.losses:
            earlier = [run for run in runs if (run["loss"], run["seed"]) == (loss, seed)]
            today = objective_of(recipe_of(loss, seed, expected_positives, arguments))
            if any(run["objective"] == today for run in earlier):
                continue
            runs = [run for run in runs if run not in earlier]
            run = measure(loss, seed, expected_positives, arguments)
            runs.append(run)
            runs.sort(key=lambda one: (LOSSES.index(one["loss"]), one["seed"]))
            with whole_file(arguments.out) as handle:
                handle.write(json.dumps({"settings": settings, "runs": runs}, indent=1))
            print(f"{loss}, seed {seed}: {run['metrics']['mAP']:.3f}", file=sys.stderr, flush=True)
    print(as_table(runs))


if __name__ == "__main__":
    main()
