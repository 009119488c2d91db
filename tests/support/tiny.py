"""The tiny recipe: HLEG on a few drawn scenes, trained in seconds."""

from __future__ import annotations

from typing import Any

from hlcli.recipe import Recipe

TINY: dict[str, dict[str, Any]] = {
    "data": {
        "dataset": "shapes", "image_size": 32, "workers": 0, "normalization": "none",
        "num_train": 48, "num_val": 21, "num_test": 10, "horizontal_flip": True, "randaugment": True,
    },
    "backbone": {"name": "test_resnet.r160_in1k", "pretrained": False},
    "model": {"method": "hleg", "hidden_dim": 32, "feedforward_dim": 32, "num_heads": 2},
    "optim": {"optimizer": "adamw", "lr": 1e-3},
    "train": {
        "epochs": 2, "batch_size": 8, "ema_decay": 0.9, "cpu": True,
        "checkpoint_every_steps": None, "log_every_steps": 3,
    },
    "eval": {"batch_size": 6, "select_by": "mAP"},
}  # fmt: skip


def tiny_recipe(*overrides: str) -> Recipe:
    """The tiny recipe, with overrides such as `train.epochs=1`."""
    return Recipe.from_dict(TINY, overrides)
