"""What a training says of itself while it runs: metrics.jsonl, and the trackers."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from hlcli.inspection.before_training import announce_findings
from hlcli.inspection.findings import Finding
from hlcli.plain_text import counted
from hlcli.runs import log_to_file
from hlcli.sharding import is_cut
from hlcli.training.diagnosis import LEAST_SCALE, failure
from hlcli.training.trackers import tell_trackers

if TYPE_CHECKING:
    from hlcli.training.state import Training

logger = logging.getLogger(__name__)


def announce(training: Training, findings: Sequence[Finding]) -> None:
    """The story of the run begins: folder, data, sizes, and what people should know of the data."""
    log_to_file(training.run.folder / "log.txt")
    count = sum(parameter.numel() for parameter in training.model.parameters())
    trainable = sum(p.numel() for p in training.model.parameters() if p.requires_grad)
    recipe, accelerator = training.recipe, training.accelerator
    processes = accelerator.num_processes
    logger.info("Run folder: %s", training.run.folder)
    logger.info("%s on %s: %s.", recipe.model.method, recipe.data.dataset, training.task.describe())
    logger.info(
        "%s parameters, %s trained; %s per epoch of %s; %s, %s%s, %s.",
        f"{count:,}", f"{trainable:,}", counted(training.order.steps_per_epoch, "step"),
        counted(recipe.train.batch_size, "row"), accelerator.device, counted(processes, "process", "processes"),
        " with FSDP" if is_cut(training.model) else "",
        {"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
    )  # fmt: skip
    announce_findings(findings)


def flush(training: Training) -> dict[str, float]:
    """Means of the loss terms since the last call, over all processes; written to the log.

    Raises:
        TrainingError: when a loss or a gradient was not a number, or the loss scale fell to nothing.
    """
    if not training.window_steps:
        return {}
    accelerator = training.accelerator
    sums = torch.stack([*training.window.values(), training.watch.good_steps.double()])
    *means, good = (accelerator.reduce(sums, reduction="mean") / training.window_steps).tolist()
    values = dict(zip(training.window, means, strict=True))
    is_finite = good == 1 and all(map(math.isfinite, means))
    if not is_finite or (accelerator.scaler is not None and accelerator.scaler.get_scale() < LEAST_SCALE):
        raise failure(training, f"Lower optim.lr, or set train.clip_norm{last_good_state(training)}.")
    training.window, training.window_steps = {}, 0
    training.watch.start()
    values["lr"] = training.optimizer.param_groups[0]["lr"]
    record_event(training, "step", "train", "regular", values)
    return values


def last_good_state(training: Training) -> str:
    """Where it lies, as the end of a hint, and how to go on from the best model; nothing before there is any."""
    run = training.run
    place = f"; the last good state is in {run.checkpoint_file}" if run.checkpoint_file.is_file() else ""
    return place + best_model(training)


def best_model(training: Training) -> str:
    """How to go on from it, as the end of a hint; nothing before there is one."""
    run = training.run
    best = f". A new run goes on from the best model by train.init_weights={run.folder}"
    return best if (run.model_folder / "model.json").is_file() else ""


def record_event(training: Training, event: str, split: str, weights: str, metrics: Mapping[str, float | None]) -> None:
    """One line of metrics.jsonl, and the trackers."""
    progression = training.progression
    if training.accelerator.is_main_process:
        training.run.log_event(
            {
                "event": event,
                "epoch": progression.epoch + 1,
                "step": progression.step,
                "split": split,
                "weights": weights,
                "metrics": metrics,
            }
        )
    if training.recipe.train.trackers:
        prefix = f"{split}/" if weights == "regular" else f"{split}-{weights}/"
        numbers = {prefix + name: value for name, value in metrics.items() if value is not None}
        tell_trackers(training.accelerator, training.run.folder, numbers, progression.step)
