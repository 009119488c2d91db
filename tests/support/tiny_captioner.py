"""Captioners with random weights on small drawn scenes: folders of models, made in a moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from model_states import cpu_state

from hlcli.building import build_model, self_contained
from hlcli.captioning.vocabulary import Vocabulary
from hlcli.data.labels import LabelSpace
from hlcli.models.folder import save_model
from hlcli.recipe import EvalSection, Recipe, change_section

WORDS = {word: 9 - i for i, word in enumerate(("a", "red", "blue", "circle", "square", "above", "the", "sun", "two"))}

TINY_CAPTIONER: dict[str, dict[str, Any]] = {
    "data": {
        "dataset": "shapes", "image_size": 64, "workers": 0, "normalization": "none",
        "num_train": 6, "num_val": 5, "num_test": 7, "render_size": 64,
    },
    "backbone": {"name": "test_resnet.r160_in1k", "pretrained": False, "stage": 3},
    "model": {
        "method": "hin", "dim": 16, "num_heads": 2, "key_width": 8, "value_width": 8, "feed_forward": 16,
        "encoder_layers": 2, "decoder_layers": 2, "max_length": 20, "window_scales": [1, 2],
    },
    "objective": {"loss": "cross_entropy"},
    "train": {"cpu": True, "batch_size": 6, "ema_decay": None},
    "eval": {"batch_size": 3, "beam_size": 2, "max_words": 8},
}  # fmt: skip


def captioner_recipe(*overrides: str) -> Recipe:
    """The tiny recipe, with overrides such as `eval.beam_size=3`."""
    return Recipe.from_dict(TINY_CAPTIONER, overrides)


def change_eval(recipe: Recipe, changes: Mapping[str, Any]) -> EvalSection:
    """The evaluation section of a recipe with other values by key."""
    return change_section("eval", recipe.eval, changes)  # type: ignore[no-any-return]


def write_captioner(
    folder: Path,
    *overrides: str,
    seed: int = 0,
    words: dict[str, int] | None = None,
    features: dict[str, Any] | None = None,
) -> Path:
    """A model folder; `features` are facts of the files that it would have been trained on."""
    recipe = self_contained(captioner_recipe(*overrides))
    vocabulary = Vocabulary.from_counts(words or WORDS, 1)
    torch.manual_seed(seed)
    model = build_model(recipe, vocabulary)
    with torch.no_grad():  # otherwise all words are almost equally likely, and all images alike
        for parameter in model.network.parameters():  # type: ignore[union-attr]
            parameter.mul_(3)
    facts = {} if features is None else {"features": features}
    save_model(
        folder, cpu_state(model), recipe, LabelSpace.empty(), thresholds=None, facts=facts, vocabulary=vocabulary
    )  # fmt: skip
    return folder
