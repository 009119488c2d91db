"""Networks whose weights follow: shapes without numbers, where that is possible."""

from __future__ import annotations

import threading

import pytest
import torch
from model_states import cpu_state
from tiny import tiny_recipe
from torch import nn

from hlcli import building
from hlcli.building import build_for_weights, build_model
from hlcli.models.folder import load_weights
from hlcli.recipe import Recipe


def recipe_of(backbone: str, image_size: int) -> Recipe:
    tree = {**tiny_recipe().to_dict(), "model": {"method": "linear"}}
    return Recipe.from_dict(tree, [f"backbone.name={backbone}", f"data.image_size={image_size}"])


def test_a_network_takes_its_numbers_with_its_weights(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(building, "_LARGE", 1)
    recipe = tiny_recipe()
    labels = recipe.data.label_space()
    whole, waiting = build_model(recipe, labels), build_for_weights(recipe, labels)
    assert all(parameter.is_meta for parameter in waiting.parameters())
    for name, buffer in whole.named_buffers():
        assert torch.equal(buffer, waiting.get_buffer(name)), name
    load_weights(waiting, cpu_state(whole), "test", assign=True)
    images = torch.rand(2, 3, *recipe.data.height_width)
    assert torch.equal(whole.eval()(images).logits, waiting.eval()(images).logits)
    assert [p.requires_grad for p in waiting.parameters()] == [p.requires_grad for p in whole.parameters()]


def test_a_network_that_computes_with_its_first_numbers_is_built_whole(monkeypatch: pytest.MonkeyPatch):
    """Swin makes an index where its parameters are, which no file holds."""
    monkeypatch.setattr(building, "_LARGE", 1)
    recipe = recipe_of("swin_tiny_patch4_window7_224", 224)
    model = build_for_weights(recipe, recipe.data.label_space())
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def test_what_other_threads_build_meanwhile_is_theirs():
    found: list[bool] = []

    def build() -> None:
        found.append(nn.Linear(1024, 1024).weight.is_meta)

    with building._without_numbers():
        other = threading.Thread(target=build)
        other.start()
        other.join()
        build()
    build()
    assert found == [False, True, False]
