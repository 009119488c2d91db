"""The `train` verb: the one loop, for every method."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hlcli.building import self_contained
from hlcli.data.loader_processes import batches as load_batches
from hlcli.errors import HlcliError, LostProcessError
from hlcli.interrupts import Interrupts
from hlcli.launching import from_first, make_accelerator
from hlcli.library_errors import as_ours
from hlcli.metrics.results import as_gain
from hlcli.optim import apply_schedule, schedule_point
from hlcli.profiling import phase
from hlcli.progress import Progress
from hlcli.recipe import Recipe
from hlcli.runs import Run, choose_folder
from hlcli.sharding import is_cut, local_part, shards_networks
from hlcli.training.determinism import deterministic
from hlcli.training.ending import close_run, note_end, note_failure, note_interrupt, was_asked
from hlcli.training.log import flush
from hlcli.training.seeds import seed_step
from hlcli.training.selection import evaluate_epoch
from hlcli.training.state import Training, save, set_up
from hlcli.training.trackers import check_trackers, start_trackers

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    run_dir: str | Path | None = None,
    *,
    name: str = "run",
    resume: bool = False,
    from_best: bool = False,
    overwrite: bool = False,
) -> Run:
    """Train a recipe; evaluate after each epoch; keep the last state and the best model.

    A run that was killed at any moment and is resumed ends, on the CPU, with the same bits as one that was not.

    Args:
        recipe: what to train.
        run_dir: the run's folder; default the next free `runs/NAME`.
        name: NAME.
        resume: go on where the run stopped.
        from_best: go on behind the best epoch instead; needs `train.keep_best_state`.
        overwrite: start anew in a folder that is in use.

    Raises:
        InputError: when recipe, data or folder cannot be used.
        TrainingError: when the loss stops being a number; the last good state is kept.
        LostProcessError: when another process is gone.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once all state is saved.

    Examples:
        >>> hlcli.train(hlcli.Recipe.from_yaml("runs/shapes/recipe.yaml"), "runs/again").state()
        'finished'
    """
    recipe.model.check_trainable()
    recipe, resume = self_contained(recipe), resume or from_best
    settings = recipe.train
    check_trackers(settings.trackers)
    run = None
    with Interrupts() as interrupts:
        accelerator = make_accelerator(cpu=settings.cpu, precision=settings.precision)
        try:
            with as_ours(), deterministic(settings.deterministic):
                with phase("set-up"), interrupts.at_once():
                    shards_networks(accelerator)  # what cannot be trained with is refused before anything is made
                    run = _agree_on_folder(accelerator, run_dir, name, resume=resume, overwrite=overwrite)
                    training = set_up(recipe, run, accelerator, interrupts, resume=resume, from_best=from_best)
                    start_trackers(accelerator, run, recipe, training.progression.step)
                _run_epochs(training)
                note_end(accelerator, run, "finished", 0, "", **_best(training))
        except KeyboardInterrupt as interrupt:
            raise note_interrupt(accelerator, run, all_saved=not interrupts.is_urgent) from interrupt
        except HlcliError as error:
            if isinstance(error, LostProcessError) and (interrupts.requested or was_asked(run)):
                # a loader or another process was stopped by the signal that is to stop this one, or by its own
                raise note_interrupt(accelerator, run, all_saved=False) from error
            note_failure(accelerator, run, error)
            raise
        finally:
            close_run(accelerator, run)
        accelerator.end_training()
    return run


def _agree_on_folder(
    accelerator: Accelerator, run_dir: str | Path | None, name: str, *, resume: bool, overwrite: bool
) -> Run:
    """The first process chooses and locks the folder, the others follow."""
    asked = None if run_dir is None else Path(run_dir)
    run = Run(from_first(accelerator, lambda: choose_folder(asked, name, resume=resume, overwrite=overwrite).folder))
    if accelerator.is_main_process:
        run.lock()
        run.stopped_file.unlink(missing_ok=True)
    return run


def _run_epochs(training: Training) -> None:
    """Train and evaluate epoch by epoch, from wherever the progression stands."""
    progression, settings = training.progression, training.recipe.train
    while progression.epoch < settings.epochs and not progression.is_finished:
        if (
            training.ema is not None
            and progression.epoch == settings.ema_start_epoch
            and progression.step_in_epoch == 0
        ):
            training.ema.restart(training.model)
        _train_epoch(training)
        save(training)
        is_last = progression.epoch + 1 == settings.epochs
        if is_last or (progression.epoch + 1) % training.recipe.eval.every_epochs == 0:
            with phase("evaluation"), training.interrupts.at_once():  # the state is saved, and evaluations can be long
                progression.is_finished = evaluate_epoch(training)
        is_best = progression.best_epoch == progression.epoch
        progression.epoch, progression.step_in_epoch = progression.epoch + 1, 0
        if is_best and settings.keep_best_state:
            save(training, training.run.best_checkpoint_file)
    progression.is_finished = True
    save(training)
    if training.accelerator.is_main_process:
        training.run.former_checkpoint_file.unlink(missing_ok=True)  # what is finished is not written again


def _train_epoch(training: Training) -> None:
    """The rest of the current epoch."""
    progression, settings = training.progression, training.recipe.train
    training.model.train()
    training.criterion.train()
    training.recipe.model.start_epoch(training.model, progression.epoch)
    training.order.start(progression.epoch, progression.step_in_epoch)
    batches = load_batches(training.loader) if len(training.order) else iter(())
    title = f"Epoch {progression.epoch + 1}/{settings.epochs}"
    steps = training.order.steps_per_epoch
    later = steps * (settings.epochs - progression.epoch - 1)
    with Progress(title, total=steps, unit="step", start=progression.step_in_epoch, after=later) as bar:
        while progression.step_in_epoch < steps:
            _step(training, batches)
            bar.advance()
            if progression.step % settings.log_every_steps == 0:
                bar.note(**{name: round(value, 4) for name, value in flush(training).items()})
            every = settings.checkpoint_every_steps
            if every is not None and progression.step % every == 0 and progression.step_in_epoch < steps:
                save(training)
            _stop_if_asked(training)
        if rest := flush(training):
            bar.note(**{name: round(value, 4) for name, value in rest.items()})


def _step(training: Training, batches: Iterator[Any]) -> None:
    """One optimiser step: schedule, gradients of all parts of the batch, update, average."""
    progression, settings, accelerator = training.progression, training.recipe.train, training.accelerator
    seed_step(settings.seed, progression.step, accelerator.process_index)
    point = schedule_point(
        training.recipe.schedule, progression.step, training.total_steps, training.order.steps_per_epoch
    )
    apply_schedule(training.optimizer, point)
    parts = settings.accumulation_steps
    weights = []
    for part, batch in enumerate(islice(batches, parts)):
        is_last = part + 1 == parts
        with nullcontext() if is_last else accelerator.no_sync(training.wrapped):
            with phase("data"):
                batch = training.task.on_device(batch, training.order.parts)
            weights.append(_backward(training, batch, 1.0 / parts))
    with phase("communication"):
        _share_gradients(training)
        _weigh(training, [weight for weight in weights if weight is not None])
    with phase("optimiser"):
        _update(training)
    progression.step += 1
    progression.step_in_epoch += 1
    training.window_steps += 1


def _update(training: Training) -> None:
    """Clip the gradients, look at them, step, average."""
    settings, accelerator = training.recipe.train, training.accelerator
    norm, others = None, [training.model, training.criterion]
    if settings.clip_norm is not None:
        norm, others = accelerator.clip_grad_norm_(training.wrapped.parameters(), settings.clip_norm), others[1:]
    training.watch.look(training.window["loss"], [p for part in others for p in part.parameters()], norm)
    training.optimizer.step()
    training.optimizer.zero_grad()
    if training.ema is not None and training.progression.epoch >= settings.ema_start_epoch:
        training.ema.update(training.model)


def _backward(training: Training, batch: Any, share: float) -> torch.Tensor | None:
    """Gradients of one part of a batch; the terms are added to the log window without waiting for the device.

    Returns:
        What the part weighs, where a step has several that do not weigh alike: its gradients are so many times larger.
    """
    with phase("forward"), training.accelerator.autocast():
        terms = training.task.losses(training.wrapped, batch, training.criterion, epoch=training.progression.epoch)
    loss = torch.stack(list(terms.trained.values())).sum()
    weight = terms.weight if training.order.parts > 1 else None
    factor = share if weight is None else weight
    if not is_cut(training.model):  # the gradients of a loss that is none are none, on all processes: none takes a step
        factor = factor * (loss.detach() * 0 + 1)
    with phase("backward"):
        training.accelerator.backward(loss * factor)
    for name, value in {"loss": loss, **terms.trained, **terms.noted}.items():
        value = value.detach().double() * share
        training.window[name] = training.window[name] + value if name in training.window else value
    return weight


def _weigh(training: Training, weights: list[torch.Tensor]) -> None:
    """Gradients of weighted parts, summed here and averaged over processes → those of the whole batch's mean."""
    if not weights:
        return
    mean = training.accelerator.reduce(torch.stack(weights).sum().float(), reduction="mean")
    gradients = [local_part(p.grad) for p in training.model.parameters() if p.grad is not None]
    torch._foreach_div_(gradients, mean.clamp(min=1))


def _share_gradients(training: Training) -> None:
    """The mean over all processes of the gradients of a loss that trains parameters of its own."""
    criterion, accelerator = training.criterion, training.accelerator
    if accelerator.num_processes == 1:
        return
    for parameter in criterion.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad = accelerator.reduce(parameter.grad, reduction="mean")


def _stop_if_asked(training: Training) -> None:
    """After Ctrl-C or SIGTERM on any process: save and stop, all together."""
    accelerator = training.accelerator
    requested = training.interrupts.requested
    if accelerator.num_processes > 1:
        if training.progression.step % 5:
            return
        flag = torch.tensor(float(requested), device=accelerator.device)
        requested = bool(accelerator.reduce(flag, reduction="sum") > 0)
    if requested:
        save(training)
        raise KeyboardInterrupt


def _best(training: Training) -> dict[str, object]:
    progression = training.progression
    gain = progression.best_value
    return {
        "best_value": None if gain is None else as_gain(training.recipe.select_by, gain),
        "best_epoch": progression.best_epoch + 1,
        "best_weights": progression.best_weights,
    }
