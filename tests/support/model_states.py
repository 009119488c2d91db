"""Weights of models as files hold them."""

from __future__ import annotations

from torch import Tensor, nn


def cpu_state(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights and buffers on the CPU, of their own."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
