"""What a recipe would cost, worked out without data on a device: parameters, steps, memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hlcli.building import build_model
from hlcli.data.kept_labels import open_training_records
from hlcli.data.loader import BatchOrder
from hlcli.data.store import open_label_space, open_records
from hlcli.errors import DataError
from hlcli.recipe import Recipe
from hlcli.sections import Sgd, Train

GIB = 2**30
PROBE_BATCH = 2


class Plan(NamedTuple):
    """Costs of a run; steps are None while the data set is not prepared (`note` says why)."""

    parameters: int
    trained: int
    steps_per_epoch: int | None
    total_steps: int | None
    weight_bytes: int
    activation_bytes: int
    note: str
    missing_file: str = ""  # what training will ask for, and how to get it

    def lines(self) -> list[str]:
        """The plan in words."""
        steps = (
            f"{self.steps_per_epoch} steps per epoch, {self.total_steps} in all" if self.steps_per_epoch else self.note
        )
        lines = [
            f"parameters: {self.parameters:,}, {self.trained:,} of them trained",
            f"steps: {steps}",
            f"memory of one process: about {_in_words(self.weight_bytes + self.activation_bytes)} "
            f"({_in_words(self.weight_bytes)} weights, gradients, optimiser and average; "
            f"{_in_words(self.activation_bytes)} activations)",
        ]
        return [*lines, f"missing: {self.missing_file}"] if self.missing_file else lines


def _in_words(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def plan(recipe: Recipe, num_processes: int = 1) -> Plan:
    """Work out a recipe's costs; weights are neither loaded nor made.

    Raises:
        RecipeError: when the network cannot be built.
        DataError: when the training split fills no batch, or a batch cannot be shared evenly.
    """
    note, missing_file, steps = "", "", None
    try:
        labels = open_label_space(recipe.data)
        open_records(recipe.data, "train")
    except DataError as error:
        note = f"unknown: {error}"
        labels = recipe.data.label_space()
    else:
        steps = _steps_per_epoch(recipe.train, len(open_training_records(recipe.data)), num_processes)
    try:
        recipe.model.describe_files(recipe.data.folder())
    except DataError as error:
        missing_file = str(error)
    with torch.device("meta"):
        model = build_model(recipe, labels, initial_weights=False)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    parameters = sum(p.numel() for p in model.parameters())
    moments = 1 if isinstance(recipe.optim, Sgd) else 2
    copies = parameters * (1 + (recipe.train.ema_decay is not None)) + trained * (1 + moments)
    images = recipe.train.batch_size // (num_processes * recipe.train.accumulation_steps)
    width = 2 if recipe.train.precision in ("fp16", "bf16") else 4
    activations = _activation_bytes(model, recipe.data.height_width, images) * width // 4
    total_steps = steps and steps * recipe.train.epochs
    return Plan(parameters, trained, steps, total_steps, copies * 4, activations, note, missing_file)


def _steps_per_epoch(settings: Train, rows: int, num_processes: int) -> int:
    order = BatchOrder(
        rows,
        settings.batch_size,
        seed=settings.seed,
        num_processes=num_processes,
        accumulation_steps=settings.accumulation_steps,
        keep_last=settings.last_batch == "keep",
    )
    return order.steps_per_epoch


def _activation_bytes(model: nn.Module, image_size: tuple[int, int], images: int) -> int:
    """Bytes that a forward pass of so many images keeps: a part grows with them, another (texts of labels) does not."""
    few, twice = (_saved_bytes(model, image_size, batch) for batch in (PROBE_BATCH, 2 * PROBE_BATCH))
    per_image = (twice - few) / PROBE_BATCH
    return max(0, round(few + (images - PROBE_BATCH) * per_image))


def _saved_bytes(model: nn.Module, image_size: tuple[int, int], batch: int) -> int:
    """Bytes that a forward pass of a few images keeps for the backward pass."""
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    images = torch.zeros(batch, 3, *image_size, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model.train()(images)
    del output
    return sum(kept.values())
