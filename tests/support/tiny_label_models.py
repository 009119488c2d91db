"""Models of every method of labels, tiny and with random weights; made in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from model_states import cpu_state

from hlcli.building import build_model
from hlcli.methods.base import MethodSection
from hlcli.models.folder import LoadedModel, save_model
from hlcli.recipe import Recipe, section_classes

_NARROW = {
    "hidden_dim": 16, "attention_dim": 16, "feedforward_dim": 16, "num_heads": 2, "num_scenes": 2,
    "label_embedding_dim": 8, "graph": "clip", "gcn_hidden": 8,
}  # fmt: skip

_SECTIONS: dict[str, type[MethodSection]] = {
    name: one
    for name, one in section_classes("model").items()
    if issubclass(one, MethodSection) and one.task == "labels"
}
LABEL_METHODS = tuple(_SECTIONS)


def tiny_label_recipe(method: str = "hleg", *overrides: str) -> Recipe:
    """For drawn scenes of 32 × 32 pixels; overrides such as `train.precision=bf16`."""
    section = _SECTIONS[method]
    backbone = "clip:tiny" if section.backbone_kind == "clip" else "test_resnet.r160_in1k"
    tree: dict[str, dict[str, Any]] = {
        "data": {"dataset": "shapes", "image_size": 32, "workers": 0},
        "backbone": {"name": backbone, "pretrained": not section.needs_training},
        "model": {"method": method, **{key: _NARROW[key] for key in _NARROW if key in section.model_fields}},
        "train": {"cpu": True},
        "eval": {"batch_size": 3, "threshold": 0.5},
    }
    return Recipe.from_dict(tree, overrides)


def tiny_label_model(method: str = "hleg", *overrides: str) -> LoadedModel:
    """A model of that recipe."""
    recipe = tiny_label_recipe(method, *overrides)
    labels = recipe.data.label_space()
    torch.manual_seed(0)
    model = build_model(recipe, labels, initial_weights=False)
    for name, buffer in model.named_buffers():
        if name == "label_features":  # what zero-shot computes from weights that are not here
            buffer.normal_()
    return LoadedModel(model.eval(), recipe, labels, None, {})


def save_tiny_label_model(folder: Path, method: str = "hleg", *overrides: str) -> Path:
    """A tiny model as a model folder."""
    loaded = tiny_label_model(method, *overrides)
    save_model(folder, cpu_state(loaded.model), loaded.recipe, loaded.labels, thresholds=None, facts={})
    return folder
