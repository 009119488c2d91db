"""After an epoch: evaluate the trained and the averaged weights, keep the better model, say when to stop."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

from accelerate.utils import gather_object
from torch import nn

from hlcli.errors import RecipeError, TrainingError
from hlcli.inspection.before_training import refuse_unknown_metric
from hlcli.metrics.results import as_gain
from hlcli.plain_text import counted
from hlcli.sharding import put_together, share_buffers, whole
from hlcli.tasks.base import Scores
from hlcli.training.diagnosis import watched_layers
from hlcli.training.log import best_model, record_event
from hlcli.training.state import Training

logger = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """Weights that were just evaluated."""

    weights: str  # regular or ema
    model: nn.Module
    scores: Scores
    value: float  # larger is better


def evaluate_epoch(training: Training) -> bool:
    """Evaluate, record, keep the best model.

    Returns:
        Whether training has gone on for long enough without getting better.

    Raises:
        RecipeError: when `eval.select_by` names no metric, or one that is not a number here.
        TrainingError: when the loss is not a number.
        KeyboardInterrupt: when a stop is asked for meanwhile; the state before the evaluation is saved.
    """
    candidates = _evaluate(training)
    progression = training.progression
    regular, best = candidates[0], candidates[0]
    for candidate in candidates[1:]:
        if candidate.value > best.value:
            best = candidate
    if progression.best_regular_value is None or regular.value > progression.best_regular_value:
        progression.best_regular_value, progression.best_regular_epoch = regular.value, progression.epoch
    is_better = progression.best_value is None or best.value > progression.best_value
    if is_better or (training.task.ties_are_better and best.value == progression.best_value):
        progression.best_value, progression.best_epoch = best.value, progression.epoch
        progression.best_weights = best.weights
        _keep(training, best)
    name = training.recipe.select_by
    measured = ", ".join(f"{as_gain(name, candidate.value):.4f} ({candidate.weights})" for candidate in candidates)
    best_so_far = ", the best so far" if progression.best_epoch == progression.epoch else ""
    logger.info("Epoch %d: %s %s%s.", progression.epoch + 1, name, measured, best_so_far)
    return _is_enough(training, candidates)


def _evaluate(training: Training) -> list[Candidate]:
    """Regular and averaged weights on the evaluation split, each image decoded once."""
    recipe, progression = training.recipe, training.progression
    models = {"regular": training.model}
    if training.ema is not None and progression.epoch >= recipe.train.ema_start_epoch:
        models["ema"] = training.ema.model
        models = models if recipe.eval.weights == "best" else {recipe.eval.weights: models[recipe.eval.weights]}
    training.model.eval()
    training.criterion.eval()  # losses that set labels right do so in training alone
    networks = list(models.values())
    share_buffers(training.accelerator, networks)
    with whole(networks):
        found = training.task.evaluate(
            networks, training.criterion, epoch=progression.epoch, check=training.interrupts.check
        )
    training.model.train()
    candidates = []
    for (weights, model), scores in zip(models.items(), found, strict=True):
        loss = scores.numbers["loss"]
        if loss is None or not math.isfinite(loss):
            raise _failure(training, weights, model, loss)
        record_event(training, "evaluation", recipe.eval.split, weights, scores.numbers)
        candidates.append(Candidate(weights, model, scores, _value(recipe.select_by, scores.numbers)))
    return candidates


def _failure(training: Training, weights: str, model: nn.Module, loss: float | None) -> TrainingError:
    """The error of weights that were saved, as they are numbers, but whose loss is none: in which layer it begins."""
    model.eval()
    with whole([model]), watched_layers(model) as own:
        epoch, check = training.progression.epoch, training.interrupts.check
        training.task.evaluate([model], training.criterion, epoch=epoch, check=check)
    layers = [layer for layers in gather_object([own[:1]]) for layer in layers]
    where = f"the first layer whose output is not finite is {layers[0]}" if layers else "all layers are finite"
    place = f"on {training.recipe.eval.split} after epoch {training.progression.epoch + 1} ({weights} weights)"
    return TrainingError(
        f"The loss {place} is {loss}: {where}.",
        f"--resume would measure the same weights again: lower optim.lr and begin anew{best_model(training)}.",
    )


def _value(name: str, numbers: dict[str, float | None]) -> float:
    """The selecting metric, turned so that more is better; see `as_gain`."""
    refuse_unknown_metric(name, list(numbers))
    value = numbers[name]
    if value is None:
        raise RecipeError(
            f"eval.select_by: {name} is not a number on this split: labels without positives.",
            "Set eval.empty_labels=zero, choose another metric, or give the split images that have labels.",
        )
    return as_gain(name, value)


def _keep(training: Training, best: Candidate) -> None:
    """Write the model folder."""
    progression, section = training.progression, training.recipe.eval
    metrics = {name: value for name, value in best.scores.numbers.items() if name != "loss"}
    facts = {
        "weights": best.weights,
        "epoch": progression.epoch + 1,
        "step": progression.step,
        "split": section.split,
        "select_by": training.recipe.select_by,
        "metrics": metrics,
    }
    state = put_together(best.model.state_dict(), keep=training.accelerator.is_main_process)
    if training.accelerator.is_main_process:
        state = {name: tensor.to("cpu", copy=True) for name, tensor in state.items()}
        training.task.save_model(training.run.model_folder, state, best.scores, facts)


def _is_enough(training: Training, candidates: list[Candidate]) -> bool:
    """HLEG's rule: long since the best epoch of either kind, and the average is below its best; of one kind, SGRE's."""
    progression, patience = training.progression, training.recipe.train.early_stop_epochs
    ema_value = candidates[-1].value if len(candidates) > 1 else None
    is_past_best = ema_value is None or (
        progression.best_ema_value is not None and ema_value < progression.best_ema_value
    )
    if ema_value is not None and (progression.best_ema_value is None or ema_value > progression.best_ema_value):
        progression.best_ema_value = ema_value
    since = progression.epoch - max(progression.best_epoch, progression.best_regular_epoch, progression.patience_epoch)
    if patience is None or since <= patience or not is_past_best:
        return False
    if progression.epoch < training.recipe.train.early_stop_from_epoch:
        progression.patience_epoch = progression.epoch
        return False
    logger.info("Stopping early: no better model for %s.", counted(since, "epoch"))
    return True
