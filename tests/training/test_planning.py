"""What a dry run tells about costs."""

from __future__ import annotations

import functools

import pytest
import torch
from PIL import Image
from tiny import TINY, tiny_recipe
from tiny_captions import tiny_captions

from hlcli.building import build_model
from hlcli.errors import DataError, RecipeError
from hlcli.recipe import Recipe
from hlcli.training.planning import GIB, TrainingPlan, plan_training


def test_parameters_and_steps_are_those_of_the_run():
    recipe = tiny_recipe("backbone.frozen=[conv1, layer1]", "train.epochs=3")
    model = build_model(recipe, recipe.data.label_space())
    costs = plan_training(recipe)
    assert costs.parameters == sum(p.numel() for p in model.parameters())
    assert costs.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert costs.trained < costs.parameters
    assert (costs.steps_per_epoch, costs.total_steps) == (6, 18)
    assert costs.lines()[1] == "steps: 6 steps per epoch, 18 in all"


def test_weights_count_average_and_moments():
    costs = plan_training(tiny_recipe())
    assert costs.weight_bytes == costs.parameters * 4 * (1 + 1 + 1 + 2)
    assert plan_training(tiny_recipe("train.ema_decay=null")).weight_bytes == costs.parameters * 4 * (1 + 1 + 2)
    sgd = {**tiny_recipe("train.ema_decay=null").to_dict(), "optim": {"optimizer": "sgd"}}
    assert plan_training(Recipe.from_dict(sgd)).weight_bytes == costs.parameters * 4 * (1 + 1 + 1)


def test_activations_grow_with_the_share_of_a_process():
    whole = plan_training(tiny_recipe()).activation_bytes
    near = functools.partial(pytest.approx, rel=0.03)  # queries of labels are as many for any number of images
    assert plan_training(tiny_recipe("train.batch_size=16")).activation_bytes == near(2 * whole)
    assert plan_training(tiny_recipe("train.accumulation_steps=2")).activation_bytes == near(whole / 2)
    assert plan_training(tiny_recipe(), num_processes=4).activation_bytes == near(whole / 4)
    assert plan_training(tiny_recipe("train.precision=bf16")).activation_bytes == whole // 2
    assert whole > 8 * 3 * 32 * 32 * 4


def test_texts_of_labels_do_not_grow_with_the_batch():
    sizes = [
        plan_training(Recipe.from_yaml("hspnet/shapes", [f"train.batch_size={images}"])).activation_bytes
        for images in (32, 64, 128)
    ]
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=1e-6)
    texts = 2 * sizes[0] - sizes[1]
    assert texts > 2**19
    assert sizes[2] < 128 * (texts + sizes[0]) / 32  # and not 64 times the texts


def test_nothing_is_put_on_a_device(monkeypatch: pytest.MonkeyPatch):
    before = torch.get_rng_state()
    costs = plan_training(tiny_recipe("backbone.name=resnet101", "backbone.pretrained=true", "data.image_size=448"))
    assert costs.parameters > 40_000_000
    assert torch.equal(torch.get_rng_state(), before)


def test_a_data_set_that_is_not_there_yet_only_hides_the_steps(tmp_path):
    recipe = tiny_recipe(f"data.store={tmp_path / 'none'}")
    costs = plan_training(recipe)
    assert costs.steps_per_epoch is None
    assert costs.total_steps is None
    assert "unknown: " in costs.lines()[1]
    assert "hlcli preprocess shapes" in costs.lines()[1]
    assert costs.parameters == plan_training(tiny_recipe()).parameters


def test_data_that_a_method_cannot_learn_from_is_refused(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("image,labels,split\na.png,dog,train\n")
    data = {"dataset": "folder", "images": str(tmp_path), "labels": str(tmp_path / "labels.csv"), "image_size": 32}
    with pytest.raises(DataError, match="No image of folder has a caption"):
        plan_training(Recipe.from_dict({**tiny_captions().to_dict(), "data": data}))


def test_batches_that_cannot_be_are_refused():
    with pytest.raises(DataError, match=r"has 48 images, fewer than train\.batch_size 64"):
        plan_training(tiny_recipe("train.batch_size=64"))
    with pytest.raises(DataError, match="cannot be cut into 3 processes"):
        plan_training(tiny_recipe(), num_processes=3)
    with pytest.raises(RecipeError, match="knows no model"):
        plan_training(tiny_recipe("backbone.name=nothing"))


def test_sizes_are_written_in_words():
    lines = TrainingPlan(1234, 1000, 1, 2, 3 * GIB, 512 * 2**20, "").lines()
    assert lines[0] == "parameters: 1,234, 1,000 of them trained"
    assert lines[2].startswith("memory of one process: about 3.5 GiB (3.0 GiB weights")
    assert "512 MiB activations" in lines[2]


def test_label_embeddings_that_are_missing_are_named_before_training(tmp_path) -> None:
    model = {"method": "sgre", "label_embeddings": "prepared", "attention_dim": 16, "feedforward_dim": 32}
    tree = {**TINY, "data": {**TINY["data"], "root": str(tmp_path)}, "model": model}
    (line,) = [line for line in plan_training(Recipe.from_dict(tree)).lines() if line.startswith("missing: ")]
    assert "label_embeddings.safetensors is missing. Run `hlcli embed labels DATASET` first" in line
