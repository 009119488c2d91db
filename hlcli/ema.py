"""Exponential moving average of a model's weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hlcli.sharding import local_part


class _Place(NamedTuple):
    """A tensor of the average and the one that it trails, by their layers: these may put another in their place."""

    average: nn.Module
    trained: nn.Module
    name: str
    is_copied: bool


class Ema:
    """A second model whose weights trail the trained one: e ← d·e + (1 − d)·w after every step.

    Constant entries (frozen weights, buffers of frozen layers) are left alone; integer buffers are copied.

    Args:
        model: the trained model, not wrapped.
        decay: share of the old average that is kept per step.
        copied: names of buffers that are copied instead of averaged.
    """

    def __init__(self, model: nn.Module, decay: float, copied: Sequence[str] = ()) -> None:
        self.decay = decay
        self.copied = frozenset(copied)
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._trails = _moving_tensors(model)
        self._followed: nn.Module | None = None
        self._places: list[_Place] = []

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the weights of the trained model."""
        if model is not self._followed:
            self._followed, self._places = model, self._places_of(model)
        averages, weights = [], []
        for place in self._places:
            own = local_part(getattr(place.average, place.name))
            trained = local_part(getattr(place.trained, place.name))
            if place.is_copied or not own.is_floating_point():
                own.copy_(trained)
            else:
                averages.append(own)
                weights.append(trained)
        torch._foreach_lerp_(averages, weights, 1.0 - self.decay)

    @torch.no_grad()
    def restart(self, model: nn.Module) -> None:
        """Forget the past: take the weights as they are now."""
        theirs = _tensors(model)
        for name, tensor in _tensors(self.model).items():
            tensor.copy_(theirs[name])

    def _places_of(self, model: nn.Module) -> list[_Place]:
        """Where both networks keep what trails: looked up once, as walking through all layers takes milliseconds."""
        places = []
        for full_name in self._trails:
            layer, _, name = full_name.rpartition(".")
            own, trained = self.model.get_submodule(layer), model.get_submodule(layer)
            places.append(_Place(own, trained, name, is_copied=full_name in self.copied))
        return places


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; of a network that is cut over processes, this one's parts."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: local_part(tensor) for name, tensor in tensors.items()}


def _moving_tensors(model: nn.Module) -> list[str]:
    """Names of what training changes: trainable parameters, and buffers of layers that are not frozen."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for prefix, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        is_frozen = bool(own) and not any(parameter.requires_grad for parameter in own)
        if isinstance(module, _BatchNorm):  # its statistics move although its weights are frozen, unless both are
            is_frozen = is_frozen and module.num_batches_tracked is None
        if not is_frozen:
            names += [f"{prefix}.{name}".lstrip(".") for name, _ in module.named_buffers(recurse=False)]
    return names
