"""Every published experiment runs on drawn scenes with nothing but `--set`: a smoke test of its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hlcli.cli import main
from hlcli.data.loader import BatchOrder
from hlcli.optim import schedule_point
from hlcli.recipe import Recipe
from hlcli.recipe_reading.shipped import list_recipes
from hlcli.runs import Run

PUBLISHED = [name for name in list_recipes() if "/" in name and name != "hspnet/zero-shot"]
SMALLER = {
    "data": {
        "dataset": "shapes", "image_size": "32", "num_train": "24", "num_val": "8", "num_test": "8", "workers": "0",
    },
    "backbone": {"pretrained": "false", "frozen": "[]", "stage": "null"},
    "train": {"epochs": "1", "batch_size": "12", "cpu": "true", "precision": "fp32", "checkpoint_every_steps": "null"},
    "eval": {"batch_size": "8", "split": "test"},
}  # fmt: skip
NARROWER = {
    "hidden_dim": "32", "feedforward_dim": "32", "attention_dim": "16", "label_embeddings": "random",
    "graph": "clip", "gcn_hidden": "16",
    "dim": "16", "num_heads": "2", "key_width": "8", "value_width": "8", "feed_forward": "16",
}  # fmt: skip
IMAGES_INSTEAD_OF_FILES = {
    "data": {"grid_features": "null", "region_features": "null", "min_word_count": "2"},
    "train": {"init_weights": "null", "init_best": "false"},
    "eval": {"beam_size": "2", "max_words": "8"},
}


def overrides(name: str) -> list[str]:
    """The words after `hlcli train --recipe NAME` that make it small."""
    recipe = Recipe.from_yaml(name)
    tree = {section: dict(values) for section, values in SMALLER.items()}
    tree["backbone"]["name"] = "test_vit" if "vit" in recipe.backbone.name else "test_resnet"
    if recipe.model.task == "captions":
        for section, values in IMAGES_INSTEAD_OF_FILES.items():
            tree[section] |= values
    if recipe.model.backbone_kind == "clip":
        tree["backbone"]["name"], tree["data"]["image_size"] = "clip:tiny", "32"
    tree["model"] = {key: value for key, value in NARROWER.items() if key in type(recipe.model).model_fields}
    if recipe.eval.threshold == "val" or recipe.model.task == "captions":
        tree["eval"]["split"] = "val"
    words = [f"{section}.{key}={value}" for section, values in tree.items() for key, value in values.items()]
    return [word for override in words for word in ("--set", override)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_experiment_runs_on_drawn_scenes(name: str, tmp_path: Path) -> None:
    words = ["train", "--recipe", name, "--run", str(tmp_path / "run"), *overrides(name)]
    result = CliRunner().invoke(main.app, words)
    assert result.exit_code == 0, result.output
    run = Run(tmp_path / "run")
    assert run.state() == "finished"
    numbers = [event["metrics"] for event in run.events() if event["event"] == "evaluation"]
    expected = {"CIDEr", "BLEU-4", "ROUGE-L"} if name.startswith("hin/") else {"mAP", "CF1", "OF1", "CF1_top3"}
    assert expected <= set(numbers[-1])
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


# What HSPNet's training logs print of the first group's learning rate after the first step of epochs 0, 1, 2…: in units
# of a hundredth of the highest, up to the last epoch that they hold.
COCO = "4.0 4.9 7.7 12 18 25 34 43 52 61 70 79 86 92 96 99 100 100 100 99"
VOC = "4.0 5.0 7.7 12 18 26 34 43 52 62 71 79 86 92 96 99 100 100"
LOGGED = {
    "hspnet/coco": (642, COCO),
    "hspnet/voc2012": (45, VOC),
    "hspnet/nuswide": (931, " ".join(COCO.split()[:13])),
    "hspnet/cub": (47, f"{VOC} 100 99 99 98 98 97"),
}


@pytest.mark.parametrize("name", LOGGED)
def test_learning_rates_of_hspnet_are_those_of_its_logs(name: str) -> None:
    """Published programs print the rate of the step to come."""
    recipe: Any = Recipe.from_yaml(name)
    steps, logged = LOGGED[name]
    rates = [f"{float(share) / 100 * recipe.optim.lr:.1e}" for share in logged.split()]
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


# data set: learning rates of the image tower and of the graph convolution, first epoch that corrects
PUBLISHED_HSPNET = {
    "coco": (1e-4, 5e-4, 1),
    "voc2012": (1e-4, 7e-4, 2),
    "nuswide": (1e-4, 5e-4, 3),
    "cub": (1e-3, 5e-3, 1),
}


@pytest.mark.parametrize("name", PUBLISHED_HSPNET)
def test_recipes_of_hspnet_hold_the_published_numbers(name: str) -> None:
    recipe, (lr, graph_lr, change_epoch) = Recipe.from_yaml(f"hspnet/{name}"), PUBLISHED_HSPNET[name]
    expected: dict[str, dict[str, Any]] = {
        "data": {
            "dataset": name, "hierarchy": True, "image_size": 224, "resize": "crop", "normalization": "clip",
            "horizontal_flip": False,
        },
        "backbone": {"name": "clip:RN50-quickgelu", "pretrained": True, "weights": None},
        "model": {
            "method": "hspnet", "graph": "prepared", "n_ctx": 4, "reweight_p": 0.2, "keep_share": 0.75, "gamma": 0.9,
            "logit_factor": 10.0, "meta_lr_factor": 1.0, "batch_norm_eval_epochs": 1, "reduction": "sum",
            "gcn_hidden": None,
        },
        "objective": {"loss": "splc", "tau": 0.6, "change_epoch": change_epoch, "margin": 1.0, "gamma": 2.0},
        "optim": {
            "optimizer": "adam_twd", "lr": lr, "weight_decay": 1e-4, "beta2": 0.999, "eps": 1e-8,
            "backbone_lr_factor": 1.0, "decay_vectors": False,
        },
        "schedule": {
            "schedule": "onecycle", "epochs": 80, "warmup_fraction": 0.2, "start_divisor": 25.0, "final_divisor": 1e4,
            "cycle_momentum": True, "base_momentum": 0.85, "max_momentum": 0.95,
        },
        "train": {"epochs": 60, "batch_size": 128, "last_batch": "keep", "precision": "fp16", "accumulation_steps": 1},
        "eval": {"select_by": "mAP", "threshold": 0.5, "average_precision": "plain", "empty_labels": "zero"},
    }  # fmt: skip
    tree = recipe.to_dict()
    assert {section: {key: tree[section][key] for key in keys} for section, keys in expected.items()} == expected
    assert recipe.optim.lr * tree["model"]["gcn_lr_factor"] == pytest.approx(graph_lr)


def hin_rate(base: float, epoch: int, steps: tuple[tuple[int, float], ...], last: float, warm: bool) -> float:
    """The published schedule: its lambda at epoch + 1."""
    at = epoch + 1
    if warm and at <= 3:
        return base * at / 4
    return next((base * share for until, share in steps if at <= until), base * last)


@pytest.mark.parametrize(
    ("name", "base", "steps", "last", "warm"),
    [
        ("hin/coco", 1e-4, ((10, 1.0), (12, 0.2)), 0.04, True),
        ("hin/coco-scst", 5e-6, ((8, 1.0), (11, 0.2), (14, 0.04)), 0.008, False),
    ],
)
def test_learning_rates_of_hin_are_the_published_ones(
    name: str, base: float, steps: tuple[tuple[int, float], ...], last: float, warm: bool
) -> None:
    recipe = Recipe.from_yaml(name)
    for epoch in range(20):
        for step in (epoch * 7, epoch * 7 + 6):
            found = recipe.optim.lr * schedule_point(recipe.schedule, step, 700, 7).lr_factor
            assert found == pytest.approx(hin_rate(base, epoch, steps, last, warm), rel=1e-12), epoch


@pytest.mark.parametrize(("name", "rows"), [("hin/coco", 20), ("hin/coco-scst", 4)])
def test_recipes_of_hin_hold_the_published_numbers(name: str, rows: int) -> None:
    expected: dict[str, dict[str, Any]] = {
        "data": {"dataset": "coco-karpathy", "min_word_count": 5, "max_regions": 50},
        "model": {
            "method": "hin", "dim": 512, "num_heads": 8, "key_width": 64, "value_width": 64, "feed_forward": 2048,
            "encoder_layers": 3, "decoder_layers": 3, "dropout": 0.1, "max_length": 54, "positional": "random",
        },
        "optim": {"optimizer": "adam", "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.98, "eps": 1e-8},
        "train": {
            "epochs": 100, "batch_size": rows, "last_batch": "keep", "seed": 111, "ema_decay": None, "clip_norm": None,
            "early_stop_epochs": 4, "early_stop_from_epoch": 15,
        },
        "eval": {"beam_size": 5, "max_words": 20, "length_penalty": 0.0, "block_ngrams": 0, "select_by": None},
    }  # fmt: skip
    tree = Recipe.from_yaml(name).to_dict()
    assert {section: {key: tree[section][key] for key in keys} for section, keys in expected.items()} == expected
    if name.endswith("scst"):
        assert tree["objective"] | {"gradient": ""} == {
            "loss": "self_critical", "beam_size": 5, "max_words": 20, "baseline": "beams", "df_unit": "caption",
            "gradient": "",
        }  # fmt: skip
        assert tree["train"]["init_best"]
