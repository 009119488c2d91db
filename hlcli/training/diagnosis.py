"""Losses and gradients that are not finite: noticed on the device without waiting for it, explained at the end.

From the first gradient that is not finite on, the fused optimisers leave all weights as they are until the log is
flushed. So that step can be repeated then with the same weights, the same images and the same random numbers, and
every layer and term of it can be looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from hlcli.errors import DataError, TrainingError, named
from hlcli.sharding import is_cut, local_part
from hlcli.training.seeds import seed_step

if TYPE_CHECKING:
    from hlcli.training.state import Training

LEAST_SCALE = 2.0**-24
"""A loss scale below this, the smallest number of fp16, was halved forty times: every step overflows."""


class Watch:
    """Counts the steps whose loss and gradients are finite, all on the device.

    Args:
        device: of the network.
        optimizer: a fused one, which leaves the weights alone from the first gradient that is not finite; None where
            something else decides that (a loss scale), or nothing does (a network that is cut over processes).

    Attributes:
        good_steps: steps before the first bad one, since the last `start`.
    """

    def __init__(self, device: torch.device, optimizer: torch.optim.Optimizer | None) -> None:
        self.good_steps = torch.zeros((), device=device)
        self._is_bad = torch.zeros((), device=device)
        self._sees_gradients = optimizer is not None
        if optimizer is not None:
            optimizer.found_inf = self._is_bad  # type: ignore[attr-defined]  # what torch's fused optimisers look at

    def look(self, loss: Tensor, parameters: Iterable[nn.Parameter], norm: Tensor | None = None) -> None:
        """Look at a step before its update.

        Args:
            loss: the sum of the losses since `start`.
            parameters: with gradients to look at.
            norm: of all other gradients.
        """
        if self._sees_gradients:
            sizes = [] if norm is None else [norm]
            if gradients := [parameter.grad for parameter in parameters if parameter.grad is not None]:
                sizes.append(nn.utils.get_total_norm(gradients, foreach=True))
            for size in sizes:
                self._is_bad.logical_or_(~size.isfinite())
        self.good_steps += loss.isfinite() & (self._is_bad == 0)

    def start(self) -> None:
        """Count from zero."""
        self.good_steps.zero_()


def parts_of(training: Training) -> nn.ModuleDict:
    """All that a step changes by gradients."""
    return nn.ModuleDict({"model": training.model, "loss": training.criterion})


def bad_weights(parts: nn.ModuleDict) -> list[str]:
    """Names of weights that are not finite; of a network that is cut, this process's parts."""
    return [_short(name) for name, weight in parts.named_parameters() if not _is_finite(local_part(weight))]


def bad_buffers(parts: nn.ModuleDict) -> list[str]:
    """Names of buffers with NaN: often no cause, as the statistics of batch norms take over what goes through them."""
    return [_short(name) for name, buffer in parts.named_buffers() if local_part(buffer).isnan().any()]


def _short(name: str) -> str:
    """The network's names go without a title."""
    return name.removeprefix("model.")


_EITHER = "The loss or a gradient is not finite"


class _Cause(NamedTuple):
    """What was found in a step that was repeated, in words, and the images that it is about."""

    what: str
    images: tuple[str, ...] = ()
    subject: str = "The loss is not finite"


def failure(training: Training, hint: str) -> TrainingError:
    """The error of a training whose loss, gradients or scale are no longer numbers; all processes call it together.

    Args:
        training: as it stands when the log is flushed.
        hint: where the last good state is.
    """
    accelerator, progression, scaler = training.accelerator, training.progression, training.accelerator.scaler
    good = int(accelerator.gather(training.watch.good_steps.reshape(1)).min())
    steps_back = training.window_steps - good
    optimizer = training.optimizer.param_groups[0]
    facts = f"lr {optimizer['lr']:.4g}"
    if scaler is not None:
        facts += f", loss scale {scaler.get_scale():.4g}"
    place = f"in epoch {progression.epoch + 1}, step {progression.step - max(steps_back, 1) + 1} ({facts})"
    if not steps_back:  # every loss was finite
        return TrainingError(f"The loss scale is too small {place}: every step overflows in fp16.", hint)
    cause = _of_all_processes(training, _repeat(training, steps_back))
    about = f" Images: {named(cause.images)}." if cause.images else ""
    return TrainingError(f"{cause.subject} {place}: {cause.what}.{about}", hint)


def _of_all_processes(training: Training, cause: _Cause | None) -> _Cause:
    """The first process's cause that has one, the same on all."""
    from accelerate.utils import gather_object

    found = [one for one in gather_object([cause]) if one is not None]
    again = "it did not happen again when the step was repeated, so the machine may not be sound"
    return found[0] if found else _Cause(again, subject=_EITHER)


def _repeat(training: Training, steps_back: int) -> _Cause | None:
    """The step so many steps ago once more, part by part: the first thing in it that is not finite."""
    if bad := bad_weights(parts_of(training)):
        return _Cause(_weights(bad), subject=_EITHER)
    if is_cut(training.model):
        return _Cause("which layer is not known under FSDP", subject=_EITHER)
    progression, order, loader = training.progression, training.order, training.loader
    dataset: Any = loader.dataset
    fetch = getattr(dataset, "__getitems__", lambda keys: [dataset[key] for key in keys])  # as loaders do
    training.model.train()
    training.criterion.train()
    order.start(progression.epoch, progression.step_in_epoch - steps_back)
    step = progression.step - steps_back
    seed_step(training.recipe.train.seed, step, training.accelerator.process_index)
    causes = []
    for keys in islice(iter(order), order.accumulation_steps):
        batch = loader.collate_fn(fetch(keys))
        if not isinstance(batch, DataError):
            causes.append(_look_at(training, training.task.on_device(batch, order.parts)))
    found = next((cause for cause in causes if cause is not None), None)
    if found is None and (bad := bad_buffers(parts_of(training))):
        return _Cause(_weights(bad), subject=_EITHER)
    return found


def _weights(names: list[str]) -> str:
    return f"{'weight' if len(names) == 1 else 'weights'} {named(names)}"


def _look_at(training: Training, batch: Any) -> _Cause | None:
    """Forward and backward pass of a part of a step, with an eye on every layer."""
    rows = _bad_rows(batch)
    images = tuple(training.task.train_records[row].image_id for row in rows)
    training.optimizer.zero_grad()
    with watched_layers(training.model) as layers, training.accelerator.autocast():
        terms = training.task.losses(training.model, batch, training.criterion, epoch=training.progression.epoch)
    loss = torch.stack(list(terms.trained.values())).sum()
    values = {name: float(value.detach()) for name, value in {**terms.trained, **terms.noted}.items()}
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if bad:
        what = ", ".join(f"term {name} is {value}" for name, value in bad.items())
        what += f"; the first layer whose output is not finite is {layers[0]}" if layers else "; all layers are finite"
        return _Cause(f"{what}; numbers of the batch are not finite" if images else what, images)
    parts = parts_of(training)
    with _watched_gradients(parts) as names:
        loss.backward()
    if names:
        what = f"all terms are finite, but on the way back the gradient of {_short(names[0])} is not"
        return _Cause(what, images, "A gradient is not finite")
    gradients = [weight.grad for weight in parts.parameters() if weight.grad is not None]
    if gradients and not nn.utils.get_total_norm(gradients).isfinite():
        norm = nn.utils.get_total_norm([gradient.double() for gradient in gradients])
        return _Cause(f"they are finite, but their norm is {norm:.3g}", images, "The gradients are too large")
    return None


@contextmanager
def watched_layers(model: nn.Module) -> Iterator[list[str]]:
    """The names of modules whose output is not finite, in the order in which they come."""
    found: list[str] = []

    def note(name: str, output: object) -> None:
        if not all(map(_is_finite, _tensors(output))):
            found.append(name or "the network as a whole")

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, module in model.named_modules()
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _watched_gradients(parts: nn.Module) -> Iterator[list[str]]:
    """The names of parameters whose gradient is not finite, in the order in which they come."""
    found: list[str] = []

    def note(name: str, gradient: Tensor | None) -> None:
        if gradient is not None and not _is_finite(gradient):
            found.append(name)

    handles = [
        parameter.register_post_accumulate_grad_hook(lambda own, name=name: note(name, own.grad))
        for name, parameter in parts.named_parameters()
        if parameter.requires_grad
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _bad_rows(batch: Any) -> list[int]:
    """Places in the training split of the images with numbers that are not finite."""
    bad = torch.zeros(len(batch.rows), dtype=torch.bool)
    for tensor in _tensors(batch):
        if tensor.ndim and tensor.is_floating_point() and len(tensor) == len(bad):
            bad |= ~tensor.isfinite().flatten(1).all(dim=1).cpu() if tensor.ndim > 1 else ~tensor.isfinite().cpu()
    return batch.rows.cpu()[bad].tolist()


def _tensors(value: object) -> Iterator[Tensor]:
    """All tensors in what a layer gives, or in a batch."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.detach().isfinite().all())
