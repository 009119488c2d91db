"""Every loss can be trained with every method that takes the images of a data set."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from hlcli.building import build_model
from hlcli.data.loader import LabelBatch
from hlcli.losses.section import LossSection
from hlcli.methods.base import MethodSection
from hlcli.recipe import Recipe, section_classes

SMALL = {"feedforward_dim": 16, "num_heads": 2, "dropout": 0.0}
SIZES: dict[str, dict[str, Any]] = {
    "query2label": {"hidden_dim": 16, **SMALL},
    "hleg": {"hidden_dim": 16, **SMALL},
    "salgl": {"num_scenes": 2, "attention_dim": 16, **SMALL},
    "sgre": {"attention_dim": 16, **SMALL},
}
METHODS: dict[str, dict[str, Any]] = {
    name: {"method": name, **SIZES.get(name, {})}
    for name, one in section_classes("model").items()
    if issubclass(one, MethodSection) and (one.task, one.backbone_kind) == ("labels", "grid")
}
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {"expected_positives": 2.5} for name in ("epr", "role")},
    **{name: {"delta_rel": 0.1} for name in ("ll_r", "ll_ct", "ll_cp")},
}
OBJECTIVES: list[dict[str, Any]] = [
    {"loss": name, **OPTIONS.get(name, {})}
    for name, one in section_classes("objective").items()
    if issubclass(one, LossSection)
]


def recipe_of(method: str, objective: dict[str, Any]) -> Recipe:
    return Recipe.from_dict(
        {
            "data": {"dataset": "shapes", "image_size": 32, "labels_kept": "single"},
            "backbone": {"name": "test_resnet.r160_in1k", "pretrained": False, "stage": 3},
            "model": METHODS[method],
            "objective": objective,
        }
    )


@cache
def network(method: str) -> nn.Module:
    recipe = recipe_of(method, {"loss": "an"})
    torch.manual_seed(0)
    return build_model(recipe, recipe.data.label_space()).train()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective["loss"])
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_trained(method: str, objective: dict[str, Any]) -> None:
    recipe, model = recipe_of(method, objective), network(method)
    num_labels = recipe.data.label_space().num_labels
    criterion = recipe.objective.build(num_images=9, num_labels=num_labels)
    generator = torch.Generator().manual_seed(0)
    batch = LabelBatch(
        images=torch.rand(4, 3, 32, 32, generator=generator),
        targets=torch.eye(num_labels)[:4],
        ignore=torch.zeros(4, num_labels, dtype=torch.bool),
        rows=torch.tensor([0, 3, 8, 5]),
        object_masks=None,
    )
    model.zero_grad()
    terms = recipe.model.training_losses(model, batch, criterion, epoch=1)
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    assert total.isfinite()
    gradients = [parameter.grad for parameter in model.backbone.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)
    if objective["loss"] == "role":
        learning = criterion.estimates.grad.any(dim=1)
        assert learning.nonzero().flatten().tolist() == [0, 3, 5, 8]
    if objective["loss"] == "ll_cp":
        assert criterion.flips.any()
        assert not criterion.flips[[1, 2, 4, 6, 7]].any()
