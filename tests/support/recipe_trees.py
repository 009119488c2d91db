"""Recipes as nested mappings: the smallest, one for a user's own photos, and one that says everything."""

from __future__ import annotations

from typing import Any

from hlcli.recipe import Recipe

SMALL: dict[str, Any] = {"data": {"dataset": "shapes"}, "model": {"method": "hleg"}}
USER: dict[str, Any] = {**SMALL, "data": {"dataset": "folder", "images": "photos", "labels": "labels.csv"}}
FULL = Recipe.from_dict(
    {
        **USER,
        "optim": {"optimizer": "sgd", "lr": 0.1},
        "schedule": {"schedule": "cosine", "warmup_steps": 3},
        "backbone": {"frozen": ["conv1", "no", "1e-4"], "name": "resnet18"},
        "train": {"trackers": ["tensorboard"], "clip_norm": 1e-7, "ema_decay": None},
        "eval": {"threshold": 0.5},
    }
).to_dict()
