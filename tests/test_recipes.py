from __future__ import annotations

import contextlib
import itertools
import re
from typing import Any

import pytest

from hlcli.errors import RecipeError
from hlcli.recipe import TAGS, Recipe, section_classes
from hlcli.recipe_reading import shipped as shipped_recipes
from hlcli.recipe_reading.shipped import describe_recipes, find_recipe, list_recipes, recipes_folder
from hlcli.recipe_reading.text import parse_yaml, read_yaml

MUST_BE_THERE = {
    "hleg": "intentonomy photos",
    "salgl": "coco coco-576 coco-vit-large nuswide shapes voc2007 voc2007-vit-large",
    "sgre": "coco coco-576 coco-cvt coco-swin-large coco-tresnet-l coco-tresnet-l21k coco-vit-large nuswide shapes "
    "vg500 voc2007",
    "hspnet": "coco cub nuswide shapes voc2012 zero-shot",
    "hin": "coco coco-scst flickr8k",
}


def test_every_recipe_that_should_be_shipped_is():
    files = [path for path in recipes_folder().rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".yaml"}
    assert len(files) == len(list_recipes())
    expected = {f"{method}/{name}" for method, names in MUST_BE_THERE.items() for name in names.split()}
    assert {"quickstart", "quickstart-caption", *expected} - set(list_recipes()) == set()


def test_every_method_has_a_recipe():
    assert {row.method for row in describe_recipes()} == set(section_classes("model"))


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_is_valid_and_survives_being_written_out(name):
    recipe = Recipe.from_yaml(name)
    assert Recipe.from_dict(parse_yaml(recipe.to_yaml().encode(), name)) == recipe


@pytest.mark.parametrize("name", list_recipes())
def test_sections_and_keys_stand_in_the_order_of_their_classes(name):
    tree, resolved = read_yaml(find_recipe(name)), Recipe.from_yaml(name).to_dict()
    assert list(tree) == [section for section in resolved if section in tree]
    for section, values in tree.items():
        assert list(values) == [key for key in resolved[section] if key in values]


def said_for_nothing(tree: dict[str, dict[str, Any]]) -> list[str]:
    """The keys without which a recipe would be the same; the tag of a section may always be said."""
    idle = []
    for section, values in tree.items():
        for key in values.keys() - {TAGS.get(section)}:
            without = {**tree, section: {other: value for other, value in values.items() if other != key}}
            with contextlib.suppress(RecipeError):
                if Recipe.from_dict(without) == Recipe.from_dict(tree):
                    idle.append(f"{section}.{key}")
    return sorted(idle)


def test_keys_that_are_said_for_nothing_are_found():
    tree = {"data": {"dataset": "shapes", "workers": 8}, "model": {"method": "hleg"}, "optim": {"optimizer": "adamw"}}
    default = Recipe.from_dict(tree).train
    assert said_for_nothing(tree) == []
    tree["train"] = {"epochs": default.epochs, "batch_size": default.batch_size + 1, "ema_decay": None}
    assert said_for_nothing({**tree, "optim": {"lr": 1e-4}}) == ["optim.lr", "train.epochs"]


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_says_nothing_that_is_a_default(name):
    assert said_for_nothing(read_yaml(find_recipe(name))) == []


@pytest.mark.parametrize("name", list_recipes())
def test_the_header_says_what_it_is_where_from_how_good_how_dear_and_how_to_run_it(name):
    recipe, lines = Recipe.from_yaml(name), find_recipe(name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    header = [line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)]
    assert f" {' × '.join(map(str, dict.fromkeys(recipe.data.height_width)))} px" in header[0]
    assert [line.partition(": ")[0] for line in header[1:5]] == ["Paper", "Published", "Ours", "Cost"]
    assert all(line.partition(": ")[2] for line in header[1:5])
    scores = [float(number) for line in header[2:4] for number in re.findall(r"\b\d+\.\d+", line)]
    assert all(score < 2 for score in scores), "scores are fractions"
    assert scores or header[3] == "Ours: not yet measured."
    assert "" in header[5:-1], "an empty line comes before the commands"
    command = "train" if recipe.model.needs_training else "eval"
    expected = rf"(accelerate launch )?hlcli {command} --recipe recipes/{name}\.yaml (--run runs/|--split )\S+"
    assert re.fullmatch(expected, header[-1])


def test_descriptions_cover_all_recipes():
    assert tuple(row.name for row in describe_recipes()) == list_recipes()
    assert all(all(row) for row in describe_recipes())


def test_an_installed_package_reads_the_recipes_inside_it(tmp_path, monkeypatch):
    inside = tmp_path / "hlcli" / "recipes" / "hleg"
    inside.mkdir(parents=True)
    (inside / "mine.yaml").write_text("# Mine\ndata: {dataset: shapes}\nmodel: {method: hleg}\n")
    monkeypatch.setattr(shipped_recipes, "_PACKAGE", tmp_path / "hlcli")
    assert describe_recipes() == [("hleg/mine", "hleg", "shapes", "Mine")]
    assert find_recipe("hleg/mine") == inside / "mine.yaml"


def test_a_file_comes_before_a_shipped_recipe_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hleg").mkdir()
    (tmp_path / "hleg" / "intentonomy").write_text("data: {dataset: shapes}\nmodel: {method: hleg}\n")
    assert Recipe.from_yaml("hleg/intentonomy").data.dataset == "shapes"


def test_a_folder_with_a_recipe_is_its_recipe_unless_a_shipped_one_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart", "runs/mine"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "recipe.yaml").write_text("data: {dataset: shapes}\nmodel: {method: hleg}\n")
    assert Recipe.from_yaml("runs/mine").data.dataset == "shapes"
    assert find_recipe("./quickstart").parent.name == "quickstart"
    assert find_recipe("quickstart").parent == recipes_folder()
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(RecipeError):
        find_recipe("")  # no name is not this folder


@pytest.mark.parametrize("name", ["", "hleg", "../recipes/quickstart", "a\0b", "x" * 5000, "-"])
def test_names_that_are_no_recipes_are_refused(name):
    with pytest.raises(RecipeError):
        find_recipe(name)


# What the published programs of label methods set and recipes leave to the defaults, which may therefore not change.
PUBLISHED_DEFAULTS: dict[str, dict[str, Any]] = {
    "data": {"normalization": "imagenet", "cutout_fraction": 0.5},
    "backbone": {"pretrained": True},
    "objective": {
        "loss": "asymmetric", "gamma_pos": 0, "gamma_neg": 2, "clip": 0, "eps": 1e-5, "detach_focus": True,
    },
    "schedule": {
        "schedule": "onecycle", "warmup_fraction": 0.2, "start_divisor": 25, "final_divisor": 1e4,
        "cycle_momentum": True, "base_momentum": 0.85, "max_momentum": 0.95,
    },
    "train": {"batch_size": 128},
    "eval": {"average_precision": "interpolated"},
}  # fmt: skip
OWN_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "hleg/intentonomy": {
        "data": {"image_size": 224, "cutout_length": 50},
        "optim": {"optimizer": "adamw", "lr": 1e-4, "weight_decay": 1e-2},
        "train": {"epochs": 6, "ema_decay": 0.9997, "seed": 31},
        "eval": {"threshold": "val", "empty_labels": "skip"},
    },
    "salgl/coco": {
        "model": {"num_scenes": 4, "graph_steps": 3, "scene_assignment": "hard", "positions": False},
        "optim": {"optimizer": "adamw", "lr": 1e-4, "weight_decay": 1e-2},
        "train": {"ema_decay": 0.9997},
    },
    "sgre/coco": {"model": {"temperature": 1.0}, "train": {"ema_decay": 0.9997}},
    "query2label/coco": {
        "data": {"image_size": 448, "randaugment": True, "cutout": 1, "cutout_fraction": 0.5},
        "backbone": {"freeze_batch_norm": True, "frozen": ["conv1", "bn1", "layer1"]},
        "model": {
            "hidden_dim": 2048,
            "feedforward_dim": 8192,
            "num_heads": 4,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "self_attention": False,
            "dropout": 0.1,
            "loss_scale": 1000 / 80,
        },
        "optim": {"optimizer": "adamw", "lr": 1e-4, "weight_decay": 1e-2},
        "train": {"epochs": 80, "ema_decay": 0.9997, "early_stop_epochs": 8},
        "eval": {"split": "test", "select_by": "mAP"},
    },
}


@pytest.mark.parametrize("name", OWN_DEFAULTS)
def test_defaults_are_those_of_the_published_programs(name):
    tree = Recipe.from_yaml(name).to_dict()
    for expected in (PUBLISHED_DEFAULTS, OWN_DEFAULTS[name]):
        assert {section: {key: tree[section][key] for key in keys} for section, keys in expected.items()} == expected
    assert tree["backbone"]["name"] == "resnet101.tv_in1k"
