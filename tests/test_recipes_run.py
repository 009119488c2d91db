"""Every published experiment runs on drawn scenes with nothing but `--set`: a smoke test of its settings."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from hlcli.cli import main
from hlcli.data.loader import BatchOrder
from hlcli.optim import schedule_point
from hlcli.recipe import Recipe
from hlcli.runs import Run
from hlcli.shipped_recipes import list_recipes

PUBLISHED = [
    name for name in list_recipes()
    if name.startswith(("hleg/intentonomy", "salgl/", "sgre/", "hspnet/")) and name != "hspnet/zero-shot"
]  # fmt: skip
SMALLER = {
    "data": {
        "dataset": "shapes", "image_size": "32", "num_train": "24", "num_val": "8", "num_test": "8", "workers": "0",
    },
    "backbone": {"pretrained": "false", "frozen": "[]", "stage": "null"},
    "train": {"epochs": "1", "batch_size": "12", "cpu": "true", "precision": "fp32", "checkpoint_every_steps": "null"},
    "eval": {"batch_size": "8", "split": "test"},
}  # fmt: skip
NARROWER = {
    "hleg": {"hidden_dim": "32", "feedforward_dim": "32"},
    "salgl": {"attention_dim": "16", "feedforward_dim": "32", "label_embeddings": "random"},
    "hspnet": {"graph": "clip", "gcn_hidden": "16"},
    "sgre": {"attention_dim": "16", "feedforward_dim": "32", "label_embeddings": "random"},
}


def overrides(name: str) -> list[str]:
    """The words after `hlcli train --recipe NAME` that make it small."""
    recipe = Recipe.from_yaml(name)
    tree = {section: dict(values) for section, values in SMALLER.items()}
    tree["backbone"]["name"] = "test_vit" if "vit" in recipe.backbone.name else "test_resnet"
    if recipe.model.backbone_kind == "clip":
        tree["backbone"]["name"], tree["data"]["image_size"] = "clip:tiny", "32"
    tree["model"] = NARROWER[recipe.model.method]
    if recipe.eval.threshold == "val":
        tree["eval"]["split"] = "val"
    words = [f"{section}.{key}={value}" for section, values in tree.items() for key, value in values.items()]
    return [word for override in words for word in ("--set", override)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_experiment_runs_on_drawn_scenes(name: str, tmp_path) -> None:
    words = ["train", "--recipe", name, "--run", str(tmp_path / "run"), *overrides(name)]
    result = CliRunner().invoke(main.app, words)
    assert result.exit_code == 0, result.output
    run = Run(tmp_path / "run")
    assert run.state() == "finished"
    numbers = [event["metrics"] for event in run.events() if event["event"] == "evaluation"]
    assert {"mAP", "CF1", "OF1", "CF1_top3"} <= set(numbers[-1])
    assert ("scene/entropy" in numbers[-1]) == name.startswith("salgl/")


def test_all_published_experiments_are_there() -> None:
    """Both papers' data sets, sizes and backbones."""
    recipes = {name: Recipe.from_yaml(name) for name in PUBLISHED}
    assert {r.data.name for n, r in recipes.items() if n.startswith("salgl")} >= {"coco", "nuswide", "voc2007"}
    assert {r.data.name for n, r in recipes.items() if n.startswith("sgre")} >= {"coco", "nuswide", "voc2007", "vg500"}
    assert {r.data.name for n, r in recipes.items() if n.startswith("hspnet")} >= {"coco", "nuswide", "voc2012", "cub"}
    for method in ("salgl", "sgre"):
        own = [recipe for name, recipe in recipes.items() if name.startswith(f"{method}/")]
        assert {(448, 448), (576, 576)} <= {recipe.data.height_width for recipe in own}
    architectures = {recipe.backbone.name.split(".")[0] for recipe in recipes.values()}
    assert architectures >= {
        "resnet101", "tresnet_l", "tresnet_v2_l", "vit_large_patch16_224", "swin_large_patch4_window12_384",
        "cvt_w24_384",
    }  # fmt: skip


# What HSPNet's training logs print of the first group's learning rate after the first step of epochs 0, 1, 2…
LOGGED = {
    "hspnet/coco": (642, ["4.0e-06", "4.9e-06", "7.7e-06", "1.2e-05", "1.8e-05", "2.5e-05", "3.4e-05", "4.3e-05"]),
    "hspnet/voc2012": (45, ["4.0e-06", "5.0e-06", "7.7e-06", "1.2e-05", "1.8e-05", "2.6e-05", "3.4e-05", "4.3e-05"]),
    "hspnet/nuswide": (931, ["4.0e-06", "4.9e-06", "7.7e-06", "1.2e-05", "1.8e-05", "2.5e-05", "3.4e-05", "4.3e-05"]),
    "hspnet/cub": (47, ["4.0e-05", "5.0e-05", "7.7e-05", "1.2e-04", "1.8e-04", "2.6e-04", "3.4e-04", "4.3e-04"]),
}


@pytest.mark.parametrize("name", LOGGED)
def test_learning_rates_of_hspnet_are_those_of_its_logs(name: str) -> None:
    """Published programs print the rate of the step to come."""
    recipe, (steps, rates) = Recipe.from_yaml(name), LOGGED[name]
    images = {"hspnet/coco": 82_081, "hspnet/voc2012": 5_717, "hspnet/nuswide": 119_103, "hspnet/cub": 5_994}[name]
    order = BatchOrder(images, recipe.train.batch_size, seed=0, keep_last=recipe.train.last_batch == "keep")
    assert order.steps_per_epoch == steps
    total = steps * recipe.schedule.epochs
    found = [
        recipe.optim.lr * schedule_point(recipe.schedule, epoch * steps + 1, total).lr_factor
        for epoch in range(len(rates))
    ]
    assert [f"{lr:.1e}" for lr in found] == rates
    assert recipe.train.ema_decay == pytest.approx(0.82 ** (1 / (641 if name == "hspnet/coco" else steps)), abs=1e-7)
