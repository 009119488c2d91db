"""The tiny captioning recipe: HIN on a few drawn scenes, trained in seconds."""

from __future__ import annotations

from typing import Any

from hlcli.recipe import Recipe

TINY_CAPTIONS: dict[str, dict[str, Any]] = {
    "data": {
        "dataset": "shapes", "image_size": 32, "workers": 0, "normalization": "none",
        "num_train": 24, "num_val": 9, "num_test": 5, "min_word_count": 2,
    },
    "backbone": {"name": "test_resnet.r160_in1k", "pretrained": False},
    "model": {
        "method": "hin", "dim": 16, "num_heads": 2, "key_width": 8, "value_width": 8, "feed_forward": 16,
        "encoder_layers": 2, "decoder_layers": 2, "max_length": 30, "window_scales": [1, 2], "train_backbone": True,
    },
    "objective": {"loss": "cross_entropy", "group_captions": True},
    "optim": {"optimizer": "adam", "lr": 1e-3, "weight_decay": 0.0},
    "schedule": {"schedule": "by_epoch", "factors": [[0, 0.5], [1, 1.0]]},
    "train": {
        "epochs": 2, "batch_size": 6, "ema_decay": None, "cpu": True,
        "checkpoint_every_steps": None, "log_every_steps": 2,
    },
    "eval": {"batch_size": 4, "beam_size": 2, "max_words": 12},
}  # fmt: skip

SCST = ("objective.loss=self_critical", "objective.beam_size=3", "objective.max_words=8", "train.batch_size=4")
"""Overrides for the second stage."""


def tiny_captions(*overrides: str) -> Recipe:
    """The tiny captioning recipe, with overrides such as `train.epochs=1`."""
    return Recipe.from_dict(TINY_CAPTIONS, overrides)
