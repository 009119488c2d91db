"""What the published programs write around the weights, where their checkpoints are a whole state of training."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BUFFERS = ("running_mean", "running_var", "running_keys", "running_values", ".pe")


def hleg_file(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """`model_best.pth.tar`."""
    return {
        "epoch": 3,
        "arch": "Q2L-R101-448",
        "state_dict": dict(state),
        "best_f1_samples": 0.4,
        "optimizer": _adam(state),
    }


def hin_file(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """`…_best.pth`."""
    return {
        "torch_rng_state": torch.random.get_rng_state(),
        "cuda_rng_state": torch.zeros(16, dtype=torch.uint8),
        "numpy_rng_state": np.random.RandomState(0).get_state(),
        "random_rng_state": random.Random(0).getstate(),
        "epoch": 11,
        "val_loss": 2.5,
        "val_cider": np.float64(1.2),
        "state_dict": dict(state),
        "optimizer": _adam(state),
        "scheduler": {"base_lrs": [1.0], "last_epoch": 12, "_step_count": 13, "_last_lr": [1e-5], "lr_lambdas": [None]},
        "patience": 2,
        "best_cider": np.float64(1.3),
        "use_rl": False,
    }


def _adam(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Two moments of every weight: twice the size of the weights."""
    weights = [
        value for name, value in state.items()
        if value.is_floating_point() and value.numel() and not name.endswith(_BUFFERS)
    ]  # fmt: skip
    moments = {
        number: {"step": 100, "exp_avg": torch.full_like(value, 0.5), "exp_avg_sq": torch.full_like(value, 0.25)}
        for number, value in enumerate(weights)
    }
    group = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False}
    return {"state": moments, "param_groups": [{**group, "params": list(moments)}]}
