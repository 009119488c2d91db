"""What a training says of itself while it runs: metrics.jsonl, and the trackers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from hlcli.errors import TrainingError
from hlcli.training.trackers import tell_trackers

if TYPE_CHECKING:
    from hlcli.training.state import Training


def flush(training: Training) -> dict[str, float]:
    """Means of the loss terms since the last call, over all processes; written to the log.

    Raises:
        TrainingError: when the loss is not a number.
    """
    if not training.window_steps:
        return {}
    accelerator, progression = training.accelerator, training.progression
    sums = accelerator.reduce(torch.stack(list(training.window.values())), reduction="mean")
    values = dict(zip(training.window, (sums / training.window_steps).tolist(), strict=True))
    training.window, training.window_steps = {}, 0
    if not all(abs(value) < float("inf") for value in values.values()):
        raise TrainingError(
            f"The loss is {values['loss']} in epoch {progression.epoch + 1}, step {progression.step}.",
            f"Lower optim.lr, or set train.clip_norm{last_good_state(training)}.",
        )
    values["lr"] = training.optimizer.param_groups[0]["lr"]
    record_event(training, "step", "train", "regular", values)
    return values


def last_good_state(training: Training) -> str:
    """Where it lies, as the end of a hint; nothing before the first checkpoint."""
    path = training.run.checkpoint_file
    return f"; the last good state is in {path}" if path.is_file() else ""


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
