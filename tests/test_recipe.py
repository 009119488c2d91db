from __future__ import annotations

import copy
import json
import math
import time
from pathlib import Path

import pytest
from pydantic import ValidationError
from recipe_trees import FULL, SMALL, USER

from hlcli.errors import RecipeError
from hlcli.losses.missing_config import Splc
from hlcli.recipe import TAGS, Recipe, section_classes
from hlcli.recipe_reading.text import parse_yaml
from hlcli.sections import Sgd

METHODS = list(section_classes("model"))
WITH_IMAGES = [name for name, one in section_classes("data").items() if "images" in one.model_fields]


def mistakes(tree, overrides=()) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict(tree, overrides, source="r.yaml")
    return caught.value.message.split("\n")


def changed(**sections) -> dict:
    """The small recipe with sections extended."""
    tree = copy.deepcopy(SMALL)
    for section, values in sections.items():
        tree[section] = {**tree.get(section, {}), **values} if isinstance(values, dict) else values
    return tree


def test_data_and_model_are_enough():
    recipe = Recipe.from_dict(SMALL)
    assert recipe.data.dataset == "shapes"
    assert recipe.optim.optimizer == "adamw"


@pytest.mark.parametrize("section", ["optim", "schedule", "objective", "train", "eval", "backbone"])
def test_an_empty_section_stands_for_its_defaults(section):
    assert (
        Recipe.from_dict({**SMALL, section: None})
        == Recipe.from_dict({**SMALL, section: {}})
        == Recipe.from_dict(SMALL)
    )


def test_a_section_without_its_tag_is_the_default_variant():
    assert Recipe.from_dict(changed(optim={"lr": 3e-4})).optim.optimizer == "adamw"


@pytest.mark.parametrize("tree", [SMALL, USER, FULL])
def test_the_resolved_text_gives_an_equal_recipe_and_the_same_text(tree):
    recipe = Recipe.from_dict(tree)
    again = Recipe.from_dict(parse_yaml(recipe.to_yaml().encode(), "r.yaml"))
    assert again == recipe
    assert again.to_yaml() == recipe.to_yaml()
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_resolved_text_is_complete_and_begins_each_section_with_its_tag():
    tree = parse_yaml(Recipe.from_dict(SMALL).to_yaml().encode(), "r.yaml")
    assert list(tree) == list(Recipe.model_fields)
    for section, values in tree.items():
        assert set(values) == set(type(getattr(Recipe.from_dict(SMALL), section)).model_fields)
        if section in TAGS:
            assert next(iter(values)) == TAGS[section]


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValidationError):
        Recipe.from_dict(SMALL).train.epochs = 3


def test_files_names_and_overrides_are_read(tmp_path: Path):
    file = tmp_path / "r.yaml"
    file.write_text("data: {dataset: shapes}\nmodel: {method: hleg}\noptim: {lr: 1e-3}\n")
    assert Recipe.from_yaml(file).optim.lr == 1e-3
    assert Recipe.from_yaml(str(file), ["optim.lr=5", "data.root=no"]).data.root == Path("no")
    assert Recipe.from_yaml("hleg/intentonomy").data.dataset == "intentonomy"


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        (changed(data={"image_sise": 3}), "data.image_sise: unknown key. Did you mean image_size?"),
        (changed(data={"image-size": 3}), "data.image-size: unknown key. Did you mean image_size?"),
        (changed(train={"lr": 3}), "train.lr: unknown key. This key belongs to section optim."),
        (changed(optim={"momentum": 0.9}), "optim.momentum: unknown key. It exists with optimizer: sgd."),
        (changed(data={"images": "x"}), f"data.images: unknown key. It exists with dataset: {'|'.join(WITH_IMAGES)}."),
        ({**SMALL, "trian": {}}, "trian: unknown section. Did you mean train?"),
        ({**SMALL, "batch_size": 3}, "batch_size: unknown section. This key belongs to section train or eval."),
        ({**SMALL, "zzzzz": 3}, "zzzzz: unknown section."),
        (
            {"data": SMALL["data"]},
            f"model: is required, beginning with `method: {'|'.join(METHODS)}`.",
        ),
        (changed(data=None), "data: must be a section of keys with values (got null)."),
        (changed(schedule=[1]), "schedule: must be a section of keys with values (got [1])."),
        ({**SMALL, "data": {"dataset": "folder", "images": "x"}}, "data.labels: is required."),
        (
            changed(model={"method": "hlegg"}),
            f"model.method: must be one of {', '.join(METHODS)} (got 'hlegg'). Did you mean hleg?",
        ),
        (changed(train={"batch_size": 0}), "train.batch_size: must be at least 1 (got 0)."),
        (changed(train={"epochs": 1.5}), "train.epochs: must be a whole number (got 1.5)."),
        (changed(optim={"lr": "fast"}), "optim.lr: must be a number (got 'fast')."),
        (changed(optim={"lr": True}), "optim.lr: must be a number (got true)."),
        (changed(train={"epochs": True}), "train.epochs: must be a whole number (got true)."),
        (changed(optim={"lr": math.nan}), "optim.lr: must be a finite number (got nan)."),
        (changed(optim={"lr": math.inf}), "optim.lr: must be a finite number (got inf)."),
        (changed(train={"cpu": 3}), "train.cpu: must be true or false (got 3)."),
        (changed(eval={"split": 5}), "eval.split: must be text (got 5). Put it in quotes."),
        (changed(eval={"threshold": 1.5}), "eval.threshold: must be self or val, or must be less than 1.0 (got 1.5)."),
        (changed(backbone={"frozen": "conv1"}), "backbone.frozen: must be a list (got 'conv1')."),
        (changed(backbone={"frozen": ["a", 1]}), "backbone.frozen[1]: must be text (got 1). Put it in quotes."),
        (changed(backbone={"frozen": [True]}), "backbone.frozen[0]: must be text (got true). Put it in quotes."),
        (
            changed(data={"image_size": "big"}),
            "data.image_size: must be a whole number, or must be a list (got 'big').",
        ),
        (
            changed(data={"image_size": [224]}),
            "data.image_size: must be a whole number, or must have at least 2 entries (got [224]).",
        ),
        (
            changed(train={"trackers": ["tensorbord"]}),
            "train.trackers[0]: must be one of tensorboard, wandb or mlflow "
            "(got 'tensorbord'). Did you mean tensorboard?",
        ),
        (
            changed(optim={"optimizer": "adam_twd", "decay_vectors": True}),
            "optim.decay_vectors: must be false (got true).",
        ),
        ({**SMALL, "optim": {3: 4}}, "optim.3: a key must be a name."),
        (
            changed(model={"hidden_dim": 10, "num_heads": 1}),
            "model: hidden_dim must be a multiple of 4 for the position code (got 10).",
        ),
    ],
)
def test_each_mistake_says_where_what_and_how_to_mend_it(tree, line):
    assert mistakes(tree) == [f"r.yaml: {line}"]


@pytest.mark.parametrize("tag", ["shape", None, 3, ["shapes"], {}, True])
def test_an_unknown_variant_lists_the_known_ones(tag):
    (line,) = mistakes({**SMALL, "data": {"dataset": tag}})
    assert line.startswith("r.yaml: data.dataset: must be one of ")
    assert "shapes" in line
    assert line.endswith("Did you mean shapes?") == (tag == "shape")


def test_a_section_that_names_no_variant_lists_the_known_ones():
    (line,) = mistakes({**SMALL, "data": {}})
    assert line.startswith("r.yaml: data.dataset: is required: one of ")


@pytest.mark.parametrize(
    ("tree", "places"),
    [
        (changed(train={"precision": "fp16", "cpu": True}), ("train.precision", "train.cpu")),
        (changed(train={"batch_size": 4, "accumulation_steps": 5}), ("train.accumulation_steps", "train.batch_size")),
        (changed(train={"ema_start_epoch": 6}), ("train.ema_start_epoch", "train.epochs")),
        (changed(train={"init_omit": ["fc"]}), ("train.init_omit", "train.init_weights")),
        (changed(schedule={"epochs": 3}), ("schedule.epochs", "train.epochs")),
        (changed(schedule={"base_momentum": 0.99}), ("schedule.base_momentum", "schedule.max_momentum")),
    ],
)
def test_values_that_do_not_go_together_are_both_named(tree, places):
    (line,) = mistakes(tree)
    assert all(place in line for place in places)


def test_all_mistakes_are_reported_at_once():
    lines = mistakes(changed(data={"workers": -1}, train={"epochs": 0, "cpo": 1}, evaal={}, optim={"lr": None}))
    assert [line.split(": ")[1] for line in lines] == ["data.workers", "optim.lr", "train.epochs", "train.cpo", "evaal"]


def test_all_conflicts_are_reported_at_once():
    assert len(mistakes(changed(train={"precision": "fp16", "cpu": True, "ema_start_epoch": 9}))) == 2


def test_choosing_another_variant_leaves_none_of_the_old_ones_keys() -> None:
    tree = {**SMALL, "objective": {"loss": "asymmetric", "gamma_neg": 4, "clip": 0.05}}
    assert Recipe.from_dict(tree, ["objective.loss=splc", "objective.tau=0.7"]).objective == Splc(tau=0.7)
    chosen = Recipe.from_dict(tree, ["model.method=sgre", "model.feedforward_dim=64"]).model
    assert (chosen.name, chosen.feedforward_dim) == ("sgre", 64)
    kept = Recipe.from_dict({**tree, "optim": {"optimizer": "adamw", "lr": 0.5, "beta1": 0.5}}, ["optim.optimizer=sgd"])
    assert kept.optim == Sgd(lr=0.5)
    with pytest.raises(RecipeError, match="gamma_neg"):  # what is asked for is not dropped
        Recipe.from_dict(tree, ["objective.loss=splc", "objective.gamma_neg=1"])
    with pytest.raises(RecipeError, match="gamma_neg"):  # nor what a file says of its own variant
        Recipe.from_dict({**tree, "objective": {"loss": "splc", "gamma_neg": 4}}, ["objective.loss=splc"])


def test_mistakes_of_overrides_say_so():
    (section,) = mistakes(SMALL, ["optm.lr=1"])
    assert section.startswith("r.yaml: optm: unknown section (from --set).")
    assert mistakes(SMALL, ["optim.lr=-1"]) == ["r.yaml: optim.lr: must be greater than 0.0 (got -1) (from --set)."]


def test_long_values_and_long_lists_of_mistakes_are_cut_short():
    (line,) = mistakes(changed(optim={"lr": "x" * 10**5}))
    assert len(line) < 200
    lines = mistakes({**SMALL, **{f"section{i}": {} for i in range(500)}})
    assert len(lines) == 21
    assert lines[-1] == "r.yaml: … and 480 more mistakes."


def test_a_missing_recipe_names_the_nearest():
    with pytest.raises(
        RecipeError, match=r"recipes/hleg/intentonomi.yaml is neither .* Did you mean hleg/intentonomy\?"
    ):
        Recipe.from_yaml("recipes/hleg/intentonomi.yaml")


def test_a_recipe_is_read_in_a_blink():
    text = Recipe.from_dict(FULL).to_yaml().encode()
    began = time.perf_counter()
    Recipe.from_dict(parse_yaml(text, "r.yaml"))
    assert time.perf_counter() - began < 0.2
