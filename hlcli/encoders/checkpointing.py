"""Gradient checkpointing of timm models: blocks run twice, but batch norms count every batch once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hlcli.errors import RecipeError


def checkpoint_blocks(model: nn.Module, name: str) -> list[_BatchNorm]:
    """Make a model forget what its blocks have computed; they run once more in the backward pass.

    Args:
        model: a timm model.
        name: what the recipe calls it.

    Returns:
        The batch norms whose statistics may move in the first of both runs alone; see `counting`.

    Raises:
        RecipeError: when the model has no blocks that could run once more.
    """
    try:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError, TypeError) as error:
        raise RecipeError(
            f"backbone.gradient_checkpointing: {name or 'this model'} cannot do it.",
            "Set it to false; train.accumulation_steps or train.precision: bf16 save memory, too.",
        ) from error
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.own_momentum, norm.counts = norm.momentum, False  # type: ignore[assignment]
        norm.register_forward_pre_hook(_before_norm)
    return norms


@contextmanager
def counting(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """For a while, let batch norms move their running statistics, as they do not when blocks run once more."""
    for norm in norms:
        norm.counts = True  # type: ignore[assignment]
    try:
        yield
    finally:
        for norm in norms:
            norm.counts = False  # type: ignore[assignment]


def _before_norm(norm: _BatchNorm, _: object) -> None:
    """Without momentum the statistics stay; the counter goes up in any case, so it goes down before.

    All is done beforehand, as PyTorch ends the second run as soon as it has what it needs.
    """
    if norm.training:
        norm.momentum = norm.own_momentum if norm.counts else 0.0  # type: ignore[assignment]
        if not norm.counts and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.sub_(1)
