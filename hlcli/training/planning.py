"""What a recipe would cost, worked out without data on a device: parameters, steps, memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from hlcli.building import build_model
from hlcli.data.kept_labels import open_training_records
from hlcli.data.labels import LabelSpace
from hlcli.data.loader import BatchOrder
from hlcli.data.store import open_label_space, open_records, split_captions
from hlcli.errors import DataError
from hlcli.inspection.before_training import check_selection
from hlcli.plain_text import counted
from hlcli.recipe import Recipe
from hlcli.sections import Sgd, Train

if TYPE_CHECKING:
    from hlcli.captioning.vocabulary import Vocabulary

GIB = 2**30
_PROBE_BATCH = 2
_COCO_WORDS = 10_197
CLIP_TOKENS, CLIP_WIDTH, VINVL_WIDTH = 256, 1024, 2048
CAPTIONS_PER_IMAGE, CAPTION_TOKENS = 5, 14

_Probe = Callable[[nn.Module, int], object]
"""A forward pass of a network in training mode, of so many images."""


class TrainingPlan(NamedTuple):
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
            f"{counted(self.steps_per_epoch, 'step')} per epoch, {self.total_steps:,} in all"
            if self.steps_per_epoch
            else self.note
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


def plan_training(recipe: Recipe, num_processes: int = 1) -> TrainingPlan:
    """Work out a recipe's costs; weights are neither loaded nor made.

    Raises:
        RecipeError: when the network cannot be built, or there is nothing to train.
        DataError: when the data is there but is not for this method, the training split fills no batch, a batch cannot
            be shared evenly, or a file of vectors or of a graph is of other labels.

    Examples:
        >>> plan = hlcli.plan_training(hlcli.Recipe.from_yaml("runs/shapes/recipe.yaml"))
        >>> plan.steps_per_epoch
        6
        >>> print(plan.lines()[1])
        steps: 6 steps per epoch, 6 in all
    """
    recipe.model.check_trainable()
    note, steps, rows = "", None, None
    captions = recipe.model.task == "captions"
    find_outputs = _caption_outputs if captions else _label_outputs
    try:
        outputs, rows = find_outputs(recipe)
    except DataError as error:
        if not isinstance(error.__cause__, FileNotFoundError):  # it is there, and training would refuse it
            raise
        note = f"unknown: {error}"
        outputs = _usual_vocabulary() if captions else recipe.data.label_space()
    if rows is not None:
        steps = _steps_per_epoch(recipe.train, rows, num_processes)
    missing_file = ""
    if isinstance(outputs, LabelSpace):
        check_selection(recipe, outputs)
        missing_file = _missing_file(recipe, outputs, is_prepared=rows is not None)
    with torch.device("meta"):
        model = build_model(_with_widths(recipe) if captions else recipe, outputs, initial_weights=False)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    parameters = sum(p.numel() for p in model.parameters())
    moments = 1 if isinstance(recipe.optim, Sgd) else 2
    copies = parameters * (1 + (recipe.train.ema_decay is not None)) + trained * (1 + moments)
    images = recipe.train.batch_size // (num_processes * recipe.train.accumulation_steps)
    width = 2 if recipe.train.precision in ("fp16", "bf16") else 4
    probe = partial(_probe_captions if captions else _probe_labels, recipe)
    activations = _activation_bytes(model, probe, images) * width // 4
    total_steps = steps and steps * recipe.train.epochs
    return TrainingPlan(parameters, trained, steps, total_steps, copies * 4, activations, note, missing_file)


def _missing_file(recipe: Recipe, labels: LabelSpace, *, is_prepared: bool) -> str:
    """What training will ask for besides the data, and how to get it; empty where all of it is there.

    Raises:
        InputError: when training would refuse what is there; names of labels count once the data set is prepared.
    """
    try:
        if is_prepared:
            recipe.model.check_files(labels, recipe.data.folder())
        else:
            recipe.model.describe_files(recipe.data.folder())
    except DataError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        return str(error)
    return ""


def _label_outputs(recipe: Recipe) -> tuple[LabelSpace, int]:
    """The labels, and the number of training images."""
    labels = open_label_space(recipe.data).require_labels(recipe.data.name)
    open_records(recipe.data, "train")
    return labels, len(open_training_records(recipe.data))


def _caption_outputs(recipe: Recipe) -> tuple[Vocabulary, int]:
    """The words, and the number of training rows: captions, or images with all of theirs."""
    from hlcli.captioning.config import CaptionObjective
    from hlcli.captioning.words import open_vocabulary

    assert isinstance(recipe.objective, CaptionObjective)
    captions = split_captions(open_records(recipe.data, "train"))
    rows = sum(map(len, captions)) if recipe.objective.one_row_per_caption else len(captions)
    return open_vocabulary(recipe.data), rows


def _usual_vocabulary() -> Vocabulary:
    """As many words as MS-COCO's captions have, where the real ones are not known yet."""
    from hlcli.captioning.vocabulary import Vocabulary

    return Vocabulary.from_counts({f"word{number}": 5 for number in range(_COCO_WORDS)}, 5)


def _with_widths(recipe: Recipe) -> Recipe:
    """The recipe with widths of stored features; of files that are not there, the papers'."""
    try:
        model = recipe.model.completed(recipe.data)
    except DataError:
        model = recipe.model.model_copy(update={"grid_width": CLIP_WIDTH, "region_width": VINVL_WIDTH})
    return recipe.model_copy(update={"model": model})


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


def _activation_bytes(model: nn.Module, probe: _Probe, images: int) -> int:
    """Bytes that a forward pass of so many images keeps: a part grows with them, another (texts of labels) does not."""
    few, twice = (_saved_bytes(model, probe, batch) for batch in (_PROBE_BATCH, 2 * _PROBE_BATCH))
    per_image = (twice - few) / _PROBE_BATCH
    return max(0, round(few + (images - _PROBE_BATCH) * per_image))


def _saved_bytes(model: nn.Module, probe: _Probe, batch: int) -> int:
    """Bytes that a forward pass of a few images keeps for the backward pass."""
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.device("meta"):
        output = probe(model.train(), batch)
    del output
    return sum(kept.values())


def _probe_labels(recipe: Recipe, model: nn.Module, batch: int) -> object:
    """A forward pass of images."""
    return model(torch.zeros(batch, 3, *recipe.data.height_width))


def _probe_captions(recipe: Recipe, model: nn.Module, batch: int) -> object:
    """A forward pass of images, or of as many features as the papers have, with captions of a usual length."""
    from hlcli.captioning.batch import CaptionInputs
    from hlcli.captioning.config import CaptionObjective

    assert isinstance(recipe.objective, CaptionObjective)
    grid_width, region_width = (getattr(_with_widths(recipe).model, name) for name in ("grid_width", "region_width"))
    inputs = CaptionInputs(
        torch.zeros(batch, 3, *recipe.data.height_width) if recipe.model.needs_backbone(recipe.data) else None,
        None if recipe.data.grid_features is None else torch.zeros(batch, CLIP_TOKENS, grid_width),
        None if recipe.data.region_features is None else torch.zeros(batch, recipe.data.max_regions, region_width),
    )
    each = 1 if recipe.objective.one_row_per_caption else CAPTIONS_PER_IMAGE
    token_ids = torch.zeros(batch * each, CAPTION_TOKENS, dtype=torch.long)
    return model(inputs, token_ids, torch.arange(batch).repeat_interleave(each))
