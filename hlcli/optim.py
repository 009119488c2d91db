"""Optimisers with their parameter groups, and schedules as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from hlcli import sections
from hlcli.errors import RecipeError
from hlcli.sharding import is_cut


class _Point(NamedTuple):
    """What a schedule says for one step."""

    lr_factor: float  # times the learning rate of each group
    momentum: float | None  # beta1 of Adam, momentum of SGD; None leaves it as it is


def schedule_point(section: sections.AnySchedule, step: int, total: int, steps_per_epoch: int = 1) -> _Point:
    """The schedule's value during a step.

    Args:
        section: the recipe's schedule.
        step: optimiser steps already taken, 0-based.
        total: optimiser steps of the whole schedule; later steps keep the last value.
        steps_per_epoch: for a schedule by epochs.
    """
    if isinstance(section, sections.ByEpoch):
        epoch = step // steps_per_epoch
        return _Point([factor for first, factor in section.factors if first <= epoch][-1], None)
    step = min(step, total - 1)
    if isinstance(section, sections.OneCycle):
        return _one_cycle(section, step, total)
    if step < section.warmup_steps:
        return _Point((step + 1) / section.warmup_steps, None)
    if isinstance(section, sections.Constant):
        return _Point(1.0, None)
    progress = (step - section.warmup_steps) / max(1, total - 1 - section.warmup_steps)
    return _Point(_cosine(1.0, section.final_fraction, progress), None)


def _one_cycle(section: sections.OneCycle, step: int, total: int) -> _Point:
    """Two cosine phases as in `torch.optim.lr_scheduler.OneCycleLR`, without its state."""
    first = 1.0 / section.start_divisor
    last = first / section.final_divisor
    peak = section.warmup_fraction * total - 1
    if step <= peak and peak > 0:
        fraction = step / peak
        lr = _cosine(first, 1.0, fraction)
        momentum = _cosine(section.max_momentum, section.base_momentum, fraction)
    else:
        fraction = (step - peak) / (total - 1 - peak)
        lr = _cosine(1.0, last, fraction)
        momentum = _cosine(section.base_momentum, section.max_momentum, fraction)
    return _Point(lr, momentum if section.cycle_momentum else None)


def _cosine(start: float, end: float, fraction: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * fraction))


def build_optimizer(
    section: sections.AnyOptim,
    model: nn.Module,
    lr_factors: Mapping[str, float] | None = None,
    criterion: nn.Module | None = None,
) -> torch.optim.Optimizer:
    """The optimiser over all trainable parameters of a model, and of a loss that has some.

    Groups keep their own peak learning rate under `peak_lr`. Parameters below a submodule called
    `backbone` get `backbone_lr_factor`; 1-D parameters and biases are decayed only with `decay_vectors`.

    Args:
        section: the recipe's section.
        model: the network.
        lr_factors: learning rates of parts of it as shares of `section.lr`, by the beginning of parameter names.
        criterion: the loss; its parameters are not decayed, and learn at its `lr_factor` times `section.lr`.

    Raises:
        RecipeError: when nothing is trainable.
    """
    factors = {"backbone.": section.backbone_lr_factor, **(lr_factors or {})}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = next((factor for prefix, factor in factors.items() if name.startswith(prefix)), 1.0)
            is_decayed = section.decay_vectors or not (parameter.ndim == 1 or name.endswith(".bias"))
            groups.setdefault((factor, is_decayed), []).append(parameter)
    if not groups:
        raise RecipeError("No parameter is trainable.", "Free some in backbone.frozen.")
    # The rest of the network comes first: the learning rate that is reported is that of the first group.
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] != 1.0, item[0]))
    arguments: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr": section.lr * factor,
            "weight_decay": section.weight_decay if is_decayed else 0.0,
        }
        for (factor, is_decayed), parameters in ordered
    ]
    memory = [] if criterion is None else list(criterion.parameters())
    if memory:
        factor = float(getattr(criterion, "lr_factor", 1.0))
        arguments.append({"params": memory, "lr": section.lr * factor, "weight_decay": 0.0})
    optimizer = _make(section, arguments)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def _make(section: sections.AnyOptim, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if isinstance(section, sections.Sgd):
        in_parts = any(is_cut(parameter) for group in groups for parameter in group["params"])
        return torch.optim.SGD(groups, momentum=section.momentum, fused=not in_parts)  # torch has none for parts
    kind = torch.optim.AdamW if isinstance(section, sections.AdamW) else torch.optim.Adam
    return kind(groups, betas=(section.beta1, section.beta2), eps=section.eps, fused=True)


def apply_schedule(optimizer: torch.optim.Optimizer, point: _Point) -> None:
    """Set learning rates and momenta for the coming step."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * point.lr_factor
        if point.momentum is None:
            continue
        if "betas" in group:
            group["betas"] = (point.momentum, group["betas"][1])
        elif "momentum" in group:
            group["momentum"] = point.momentum
