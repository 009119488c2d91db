"""Everything the training loop works with: made from a recipe, saved to a checkpoint, restored from one."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hlcli import checkpoints
from hlcli.building import build_model, normalize, train_transform
from hlcli.data.kept_labels import check_kept_labels, open_training_records, write_kept_labels
from hlcli.data.loader import BatchOrder, TrainingImages, make_loader
from hlcli.data.records import Records
from hlcli.data.store import open_label_space, open_records
from hlcli.data.transforms import Normalize
from hlcli.ema import Ema
from hlcli.errors import RecipeError, TrainingError
from hlcli.evaluation import evaluation_loader
from hlcli.interrupts import Interrupts
from hlcli.launching import share_cores
from hlcli.model_folder import finite
from hlcli.optim import build_optimizer
from hlcli.recipe import Recipe
from hlcli.runs import Run, log_to_file

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    from hlcli.data.labels import LabelSpace
    from hlcli.losses.base import Loss

logger = logging.getLogger(__name__)


@dataclass
class Training:
    """Everything the loop works with; `model` is the plain network, `wrapped` what gradients go through."""

    recipe: Recipe
    run: Run
    accelerator: Accelerator
    labels: LabelSpace
    train_records: Records
    eval_records: Records
    order: BatchOrder
    loader: DataLoader
    eval_loader: DataLoader
    normalize: Normalize
    model: nn.Module
    wrapped: nn.Module
    ema: Ema | None
    criterion: Loss
    optimizer: torch.optim.Optimizer
    interrupts: Interrupts
    progression: checkpoints.Progression
    window: dict[str, Tensor] = field(default_factory=dict)
    window_steps: int = 0

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole schedule."""
        return self.order.steps_per_epoch * (getattr(self.recipe.schedule, "epochs", None) or self.recipe.train.epochs)


def set_up(recipe: Recipe, run: Run, accelerator: Accelerator, interrupts: Interrupts, *, resume: bool) -> Training:
    """Labels → records → loaders → model → optimiser → state to resume from."""
    settings = recipe.train
    if resume:
        run.check_same_recipe(recipe)
    torch.manual_seed(settings.seed)
    share_cores(accelerator, recipe.data.workers)
    labels = open_label_space(recipe.data)
    train_records, eval_records = open_training_records(recipe.data), open_records(recipe.data, recipe.eval.split)
    order = BatchOrder(
        len(train_records),
        settings.batch_size,
        seed=settings.seed,
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
        accumulation_steps=settings.accumulation_steps,
        keep_last=settings.last_batch == "keep",
    )
    images = TrainingImages(train_records, labels.num_labels, train_transform(recipe.data), settings.seed)
    loader = make_loader(images, order, workers=recipe.data.workers, device=accelerator.device)
    is_fresh = not (resume and run.checkpoint_file.is_file())
    needs_backbone = settings.init_weights is None or any(name.startswith("backbone") for name in settings.init_omit)
    model = build_model(recipe, labels, initial_weights=is_fresh and needs_backbone, data_files=is_fresh)
    if is_fresh:
        _load_initial_weights(recipe, model)
    if order.smallest_part == 1:
        _check_batch_norms(model)
    if settings.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model = model.to(accelerator.device)
    ema = None if settings.ema_decay is None else Ema(model, settings.ema_decay, recipe.model.copied_by_average())
    criterion = recipe.objective.build(len(train_records), labels.num_labels).to(accelerator.device)
    optimizer = build_optimizer(recipe.optim, model, recipe.model.lr_factors(), criterion)
    optimizer = accelerator.prepare_optimizer(optimizer, device_placement=False)
    training = Training(
        recipe, run, accelerator, labels, train_records, eval_records, order, loader,
        evaluation_loader(eval_records, recipe, labels, accelerator, recipe.eval.batch_size, recipe.data.workers),
        normalize(recipe.data).to(accelerator.device), model, accelerator.prepare_model(model), ema,
        criterion, optimizer, interrupts, checkpoints.Progression(),
    )  # fmt: skip
    _restore(training, resume)
    if accelerator.is_main_process:
        _announce(training)
    return training


def _check_batch_norms(model: nn.Module) -> None:
    """Refuse parts of one image where a batch norm would see a single number.

    Raises:
        RecipeError: with the ways out.
    """
    if any(getattr(module, "needs_several_images", False) for module in model.modules()):
        raise RecipeError(
            "train.batch_size: a part of one image and one grid cell is too little for batch norms.",
            "Raise train.batch_size or data.image_size, or set train.last_batch=drop.",
        )


def _load_initial_weights(recipe: Recipe, model: nn.Module) -> None:
    """Start from other weights where the recipe says so; prefixes of `init_omit` keep their fresh values."""
    if recipe.train.init_weights is None:
        return
    from hlcli.model_folder import load_weights, read_weights

    path, prefixes = recipe.train.init_weights, recipe.train.init_omit
    state = {k: v for k, v in read_weights(path, recipe, model).items() if not (prefixes and k.startswith(prefixes))}
    own = model.state_dict()
    omitted = [name for name in own if prefixes and name.startswith(prefixes)]
    load_weights(model, {**state, **{name: own[name] for name in omitted}}, str(path))
    logger.info("Started from %s, except %d weights.", recipe.train.init_weights, len(omitted))


def _restore(training: Training, resume: bool) -> None:
    """Take up the last checkpoint, if there is one and it is wanted."""
    run = training.run
    if not (resume and run.checkpoint_file.is_file()):
        if training.accelerator.is_main_process:
            _clear(run)
            recipe, accelerator = training.recipe, training.accelerator
            files = recipe.model.describe_files(recipe.data.folder())
            run.start(recipe, str(accelerator.device), accelerator.num_processes, files)
            write_kept_labels(run.folder, training.train_records, training.labels)
        return
    check_kept_labels(run.folder, training.train_records, training.labels)
    training.progression, states = checkpoints.load_checkpoint(run.checkpoint_file)
    if training.accelerator.device.type == "cpu":
        torch.set_num_threads(training.progression.threads)
    training.model.load_state_dict(states["model"])
    training.optimizer.load_state_dict(states["optimizer"])
    if states.get("criterion"):
        training.criterion.load_state_dict(states["criterion"])
    if training.ema is not None:
        training.ema.model.load_state_dict(states["ema"])
    if training.accelerator.scaler is not None and states["scaler"] is not None:
        training.accelerator.scaler.load_state_dict(states["scaler"])
    if training.accelerator.is_main_process:
        run.cut_metrics(training.progression.metrics_length)
        run.write_status("running", exit_code=None)
    logger.info("Resumed %s at epoch %d, step %d.", run.folder, training.progression.epoch, training.progression.step)


def _clear(run: Run) -> None:
    """Remove what an overwritten run left."""
    if not run.folder.is_dir():
        return
    run.metrics_file.unlink(missing_ok=True)
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    shutil.rmtree(run.model_folder, ignore_errors=True)


def _announce(training: Training) -> None:
    """The story of the run begins: folder, data, sizes."""
    log_to_file(training.run.folder / "log.txt")
    count = sum(parameter.numel() for parameter in training.model.parameters())
    trainable = sum(p.numel() for p in training.model.parameters() if p.requires_grad)
    recipe, accelerator = training.recipe, training.accelerator
    processes = accelerator.num_processes
    logger.info("Run folder: %s", training.run.folder)
    logger.info(
        "%s on %s: %s training images, %s for %s; labels per level %s.",
        recipe.model.method, recipe.data.dataset, f"{len(training.train_records):,}",
        f"{len(training.eval_records):,}", recipe.eval.split, "/".join(map(str, training.labels.level_sizes)),
    )  # fmt: skip
    logger.info(
        "%s parameters, %s trained; %d steps per epoch of %d images; %s, %d %s, %s.",
        f"{count:,}", f"{trainable:,}", training.order.steps_per_epoch, recipe.train.batch_size,
        accelerator.device, processes, "process" if processes == 1 else "processes",
        {"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
    )  # fmt: skip


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
        training.accelerator.log({prefix + name: value for name, value in metrics.items()}, step=progression.step)


def save(training: Training) -> None:
    """Write all state, unless it has gone bad."""
    flush(training)
    if not finite(training.model):
        raise TrainingError(
            f"A weight is not a number after step {training.progression.step}.",
            f"Lower optim.lr, or set train.clip_norm{last_good_state(training)}.",
        )
    if training.accelerator.is_main_process:
        scaler = training.accelerator.scaler
        training.progression.metrics_length = training.run.metrics_length()
        training.progression.threads = torch.get_num_threads()
        states = {
            "model": training.model.state_dict(),
            "ema": None if training.ema is None else training.ema.model.state_dict(),
            "optimizer": training.optimizer.state_dict(),
            "criterion": training.criterion.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        checkpoints.save_checkpoint(training.run.checkpoint_file, training.progression, states)
    training.accelerator.wait_for_everyone()


def flat(recipe: Recipe) -> dict[str, str | int | float | bool]:
    """A recipe as trackers like it."""
    sections = recipe.model_dump(mode="json")
    return {
        f"{section}.{key}": value if isinstance(value, str | int | float | bool) else str(value)
        for section, values in sections.items()
        for key, value in values.items()
    }
