"""Everything the training loop works with: made from a recipe, saved to a checkpoint, restored from one."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hlcli.data.loader import BatchOrder
from hlcli.ema import Ema
from hlcli.errors import CheckpointError, RecipeError, TrainingError, in_a_line, named
from hlcli.files import remove_leftovers
from hlcli.interrupts import Interrupts
from hlcli.launching import from_first, share_cores
from hlcli.metrics.results import as_gain
from hlcli.models.folder import copy_model, finite, model_facts
from hlcli.optim import build_optimizer
from hlcli.profiling import phase, watch_communication
from hlcli.recipe import Recipe
from hlcli.runs import Run
from hlcli.sharding import is_cut, load_model_state, load_optimizer_state, put_together, shard, shards_networks
from hlcli.tasks.base import Task
from hlcli.tasks.choice import make_task
from hlcli.training import checkpoints
from hlcli.training.agreement import check_agreement
from hlcli.training.diagnosis import Watch, bad_buffers, bad_weights, parts_of
from hlcli.training.log import announce, flush, last_good_state
from hlcli.training.trackers import forget_trackers

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

logger = logging.getLogger(__name__)


@dataclass
class Training:
    """Everything the loop works with; `model` is the plain network, `wrapped` what gradients go through."""

    recipe: Recipe
    run: Run
    accelerator: Accelerator
    task: Task
    order: BatchOrder
    loader: DataLoader
    model: nn.Module
    wrapped: nn.Module
    ema: Ema | None
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    interrupts: Interrupts
    progression: checkpoints.Progression
    watch: Watch
    window: dict[str, Tensor] = field(default_factory=dict)
    window_steps: int = 0

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole schedule."""
        return self.order.steps_per_epoch * (getattr(self.recipe.schedule, "epochs", None) or self.recipe.train.epochs)


def set_up(
    recipe: Recipe,
    run: Run,
    accelerator: Accelerator,
    interrupts: Interrupts,
    *,
    resume: bool,
    from_best: bool = False,
) -> Training:
    """Data → loader → model, cut over processes or not → optimiser → state to resume from."""
    settings = recipe.train
    if resume:
        run.check_same_recipe(recipe)
    torch.manual_seed(settings.seed)
    share_cores(accelerator, recipe.data.workers)
    task = make_task(recipe, accelerator)
    checkpoint = _checkpoint(run, accelerator, from_best) if resume else None
    is_fresh = checkpoint is None
    findings = task.check_data() if is_fresh else []
    order = BatchOrder(
        task.num_rows,
        settings.batch_size,
        seed=settings.seed,
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
        accumulation_steps=settings.accumulation_steps,
        keep_last=settings.last_batch == "keep",
    )
    loader = task.training_loader(order)
    needs_backbone = settings.init_weights is None or any(name.startswith("backbone") for name in settings.init_omit)
    model = task.build_model(initial_weights=is_fresh and needs_backbone, data_files=is_fresh)
    if is_fresh:
        _load_initial_weights(recipe, model)
    if order.smallest_part == 1:
        _check_batch_norms(model)
    in_parts = shards_networks(accelerator)
    if settings.channels_last and not in_parts:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model = model.to(accelerator.device)
    ema = None if settings.ema_decay is None else Ema(model, settings.ema_decay, recipe.model.copied_by_average())
    criterion = task.build_criterion().to(accelerator.device)
    if in_parts:
        model = shard(accelerator, model)
        if ema is not None:
            ema.model = shard(accelerator, ema.model)
    optimizer, watch = _optimizer(recipe, accelerator, model, criterion)
    training = Training(
        recipe, run, accelerator, task, order, loader, model, model if in_parts else accelerator.prepare_model(model),
        ema, criterion, optimizer, interrupts, checkpoints.Progression(), watch,
    )  # fmt: skip
    watch_communication(training.wrapped)
    _restore(training, checkpoint)
    if accelerator.is_main_process:
        announce(training, findings)
    return training


def _optimizer(
    recipe: Recipe, accelerator: Accelerator, model: nn.Module, criterion: nn.Module
) -> tuple[torch.optim.Optimizer, Watch]:
    """The optimiser, and what watches over its steps."""
    optimizer = build_optimizer(recipe.optim, model, recipe.model.lr_factors(), criterion)
    leaves_weights = accelerator.scaler is None and not is_cut(model)
    watch = Watch(accelerator.device, optimizer if leaves_weights else None)
    if accelerator.scaler is not None:  # else Accelerate's wrapper does nothing, yet looks for packages in every step
        optimizer = accelerator.prepare_optimizer(optimizer, device_placement=False)
    return optimizer, watch


def _check_batch_norms(model: nn.Module) -> None:
    """Refuse parts of one image where a batch norm would see a single number.

    Raises:
        RecipeError: with the ways out.
    """
    if any(getattr(module, "needs_several_images", False) for module in model.modules()):
        raise RecipeError(
            "train.batch_size: a part of one image and one grid cell, or one label, is too little for batch norms.",
            "Raise train.batch_size or data.image_size, or set train.last_batch=drop.",
        )


def _load_initial_weights(recipe: Recipe, model: nn.Module) -> None:
    """Start from other weights where the recipe says so; prefixes of `init_omit` keep their fresh values."""
    if recipe.train.init_weights is None:
        return
    from hlcli.models.folder import load_weights, read_weights

    path, prefixes = recipe.train.init_weights, recipe.train.init_omit
    state = {k: v for k, v in read_weights(path, recipe, model).items() if not (prefixes and k.startswith(prefixes))}
    own = model.state_dict()
    omitted = [name for name in own if prefixes and name.startswith(prefixes)]
    load_weights(model, {**state, **{name: own[name] for name in omitted}}, str(path))
    logger.info("Started from %s, except %d weights.", recipe.train.init_weights, len(omitted))


def _checkpoint(run: Run, accelerator: Accelerator, from_best: bool) -> Path | None:
    """The state to go on from, which the first process looks for; None where nothing was saved yet.

    Raises:
        CheckpointError: when none is whole, or the best epoch's is asked for but was not kept.
    """
    return from_first(accelerator, lambda: checkpoints.best_state(run) if from_best else checkpoints.last_state(run))


def _restore(training: Training, checkpoint: Path | None) -> None:
    """Take up a checkpoint, or begin."""
    run = training.run
    if training.accelerator.is_main_process:
        remove_leftovers(run.folder)
    if checkpoint is None:
        _take_over_best(training)
        if training.accelerator.is_main_process:
            _clear(run)
            recipe, accelerator = training.recipe, training.accelerator
            files = recipe.model.describe_files(recipe.data.folder())
            fsdp = is_cut(training.model)
            run.start(recipe, str(accelerator.device), accelerator.num_processes, files, fsdp=fsdp)
            training.task.start_run(run.folder)
            if recipe.train.init_best and recipe.train.init_weights is not None:
                copy_model(recipe.train.init_weights, run.model_folder)
        return
    training.task.check_run(run.folder)
    training.progression, states = checkpoints.load_checkpoint(checkpoint)
    if training.accelerator.device.type == "cpu":
        torch.set_num_threads(training.progression.threads)
    try:
        _load_states(training, states)
    except (RuntimeError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{checkpoint} does not fit: {in_a_line(error)}.",
            f"It was written by {states.get('hlcli', 'an older hlcli')}: resume with that version.",
        ) from error
    if training.accelerator.is_main_process:
        run.cut_metrics(training.progression.metrics_length)
        run.write_status("running", exit_code=None)
    epoch, step = training.progression.epoch, training.progression.step
    if training.progression.is_finished:
        logger.info("%s is finished already, at epoch %d, step %d.", run.folder, epoch, step)
    else:
        logger.info("Resumed %s at epoch %d, step %d.", run.folder, epoch + 1, step)


def _load_states(training: Training, states: dict[str, Any]) -> None:
    load_model_state(training.model, states["model"])
    load_optimizer_state(training.optimizer, states["optimizer"])
    if states.get("criterion"):
        training.criterion.load_state_dict(states["criterion"])
    if training.ema is not None:
        load_model_state(training.ema.model, states["ema"])
    if training.accelerator.scaler is not None and states["scaler"] is not None:
        training.accelerator.scaler.load_state_dict(states["scaler"])


def _take_over_best(training: Training) -> None:
    """Where the recipe says so, only a model that beats the one of `init_weights` is kept."""
    settings, name = training.recipe.train, training.recipe.select_by
    if not settings.init_best or settings.init_weights is None:
        return
    metrics = model_facts(settings.init_weights).get("metrics", {})
    if metrics.get(name) is None:
        raise RecipeError(
            f"train.init_best: {settings.init_weights} does not say its {name}.",
            "Give a run whose eval.select_by is the same, or set train.init_best=false.",
        )
    value = float(metrics[name])
    training.progression.best_value = as_gain(name, value)
    training.progression.best_regular_value = training.progression.best_value  # patience counts from there too
    if training.ema is not None:
        training.progression.best_ema_value = training.progression.best_value


def _clear(run: Run) -> None:
    """Remove what an overwritten run left."""
    if not run.folder.is_dir():
        return
    run.metrics_file.unlink(missing_ok=True)
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    shutil.rmtree(run.model_folder, ignore_errors=True)
    forget_trackers(run.folder)


def save(training: Training, path: Path | None = None) -> None:
    """Write all state, unless it has gone bad; `path` is the run's last checkpoint unless given."""
    with phase("saving"):
        _save(training, path)


def _save(training: Training, path: Path | None) -> None:
    flush(training)
    parts = parts_of(training)
    if training.ema is not None:
        parts["ema"] = training.ema.model
    is_suspect = torch.tensor(float(not finite(parts)), device=training.accelerator.device)
    if training.accelerator.reduce(is_suspect, reduction="sum") and (bad := _bad_of_all_processes(parts)):
        raise TrainingError(
            f"Weights are not numbers after step {training.progression.step}: {named(bad)}.",
            f"Lower optim.lr, or set train.clip_norm{last_good_state(training)}.",
        )
    check_agreement(training)
    scaler, is_main = training.accelerator.scaler, training.accelerator.is_main_process
    states = {
        "model": training.model.state_dict(),
        "ema": None if training.ema is None else training.ema.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "criterion": training.criterion.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
    }
    states = put_together(states, keep=is_main)
    if is_main:
        training.progression.metrics_length = training.run.metrics_length()
        training.progression.threads = torch.get_num_threads()
        former = training.run.former_checkpoint_file if path is None else None
        checkpoints.save_checkpoint(path or training.run.checkpoint_file, training.progression, states, former=former)
    training.accelerator.wait_for_everyone()


def _bad_of_all_processes(parts: nn.ModuleDict) -> list[str]:
    """Names of weights and buffers that hold no numbers on one of them."""
    from accelerate.utils import gather_object

    return list(dict.fromkeys(gather_object(bad_weights(parts) + bad_buffers(parts))))
