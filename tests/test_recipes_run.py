"""Every published experiment runs on drawn scenes with nothing but `--set`: a smoke test of its settings."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from hlcli.cli import main
from hlcli.recipe import Recipe
from hlcli.runs import Run
from hlcli.shipped_recipes import list_recipes

PUBLISHED = [name for name in list_recipes() if name.startswith(("hleg/intentonomy", "salgl/", "sgre/"))]
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
    "sgre": {"attention_dim": "16", "feedforward_dim": "32", "label_embeddings": "random"},
}


def overrides(name: str) -> list[str]:
    """The words after `hlcli train --recipe NAME` that make it small."""
    recipe = Recipe.from_yaml(name)
    tree = {section: dict(values) for section, values in SMALLER.items()}
    tree["backbone"]["name"] = "test_vit" if "vit" in recipe.backbone.name else "test_resnet"
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
    for method in ("salgl", "sgre"):
        own = [recipe for name, recipe in recipes.items() if name.startswith(f"{method}/")]
        assert {(448, 448), (576, 576)} <= {recipe.data.height_width for recipe in own}
    architectures = {recipe.backbone.name.split(".")[0] for recipe in recipes.values()}
    assert architectures >= {
        "resnet101", "tresnet_l", "tresnet_v2_l", "vit_large_patch16_224", "swin_large_patch4_window12_384",
        "cvt_w24_384",
    }  # fmt: skip
