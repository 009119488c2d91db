"""A trained model on disk: whole, complete, and never taken for another one."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from model_states import cpu_state
from safetensors.torch import load_file, save_file
from tiny import tiny_recipe

from hlcli import backbones
from hlcli.building import build_model
from hlcli.errors import CheckpointError, RecipeError
from hlcli.models.description import ModelDescription
from hlcli.models.folder import LoadedModel, finite, load_weights, read_model, save_model

THRESHOLDS = (0.3, 0.4, 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    recipe = tiny_recipe()
    labels = recipe.data.label_space()
    model = build_model(recipe, labels)
    path = tmp_path / "é 漢" / "model"
    save_model(path, cpu_state(model), recipe, labels, thresholds=THRESHOLDS, facts={"epoch": 7})
    return path


def change(folder: Path, **values: object) -> None:
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(description | values))


def change_weights(folder: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, folder / "model.safetensors")


def test_everything_comes_back(folder: Path):
    loaded = read_model(folder)
    recipe = tiny_recipe()
    assert loaded.recipe == recipe
    assert loaded.labels == recipe.data.label_space()
    assert loaded.thresholds == THRESHOLDS
    assert loaded.facts == {"epoch": 7}
    assert LoadedModel._fields == ("model", *ModelDescription._fields, "folder")
    assert not loaded.model.training
    torch.manual_seed(0)
    fresh = build_model(recipe, loaded.labels).eval()
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(loaded.model(images).level_logits, fresh(images).level_logits, rtol=0, atol=0)
    assert finite(loaded.model)
    with torch.no_grad():
        next(loaded.model.parameters())[0] = float("nan")
    assert not finite(loaded.model)


def test_the_description_tells_how_to_use_the_weights_elsewhere(folder: Path):
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert description["image_size"] == [32, 32]
    assert description["normalization"] == {"mean": [0.0] * 3, "std": [1.0] * 3}
    assert description["labels"]["levels"][-1]["label_names"] == list(tiny_recipe().data.label_space().label_names)
    assert set(load_file(folder / "model.safetensors")) == set(read_model(folder).model.state_dict())


def test_the_folder_above_is_enough(folder: Path):
    assert read_model(str(folder.parent)).facts == {"epoch": 7}


def test_saving_replaces_the_old_one(folder: Path):
    loaded = read_model(folder)
    save_model(folder, cpu_state(loaded.model), loaded.recipe, loaded.labels, thresholds=None, facts={})
    assert read_model(folder).thresholds is None
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


def test_a_save_that_was_cut_short_is_finished_on_opening(folder: Path):
    folder.rename(folder.with_name(".model.ready"))
    assert read_model(folder.parent).facts == {"epoch": 7}


def test_missing_unknown_and_misshapen_weights_are_named(folder: Path):
    state = load_file(folder / "model.safetensors")
    wrong = {name: value for name, value in state.items() if name not in ("head.fine_queries", "head.position")}
    wrong |= {"head.gate": torch.ones(1), "head.classifier.weight": torch.ones(3, 3)}
    change_weights(folder, wrong)
    with pytest.raises(CheckpointError) as caught:
        read_model(folder)
    message = str(caught.value)
    assert "2 keys missing (head.fine_queries, head.position)" in message
    assert "1 key unexpected (head.gate)" in message
    assert "1 key of another shape (head.classifier.weight [3, 3] instead of [20, 32])" in message
    assert str(folder) in message


def test_a_label_space_that_does_not_fit_the_weights_is_refused(folder: Path):
    labels = {"levels": [{"name": "fine", "label_names": ["a", "b"], "parent_index": None}], "subsets": {}}
    change(folder, labels=labels, thresholds=None)
    with pytest.raises(CheckpointError, match="of another shape"):
        read_model(folder)


def test_a_newer_format_is_refused(folder: Path):
    change(folder, format=3, hlcli="9.9")
    with pytest.raises(CheckpointError, match="has format 3; this hlcli reads up to 2") as caught:
        read_model(folder)
    assert caught.value.hint == "Upgrade: it was written by hlcli 9.9."


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "x"}', '{"format": 1}', "\x00\xff"])
def test_damaged_descriptions_are_our_error(folder: Path, content: str):
    (folder / "model.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model.json cannot be read"):
        read_model(folder)


def test_a_recipe_that_is_no_longer_valid_names_the_file(folder: Path):
    recipe = tiny_recipe().to_dict()
    recipe["train"]["colour"] = 1
    change(folder, recipe=recipe)
    with pytest.raises(RecipeError, match=r"model.json: train.colour: unknown key"):
        read_model(folder)


def test_damaged_and_missing_weights_are_our_error(folder: Path):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"model.safetensors cannot be read"):
        read_model(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing"):
        read_model(folder)


def test_what_is_no_model_says_so(tmp_path: Path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_model(tmp_path / "nothing")
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(CheckpointError, match=r"model\.json is missing") as caught:
        read_model(tmp_path)
    assert caught.value.hint == "The run has not finished its first evaluation."


def test_loading_keeps_running_statistics(folder: Path):
    loaded = read_model(folder)
    state = {name: torch.full_like(value, 3) for name, value in loaded.model.state_dict().items()}
    load_weights(loaded.model, state, "x")
    assert all((value == 3).all() for value in loaded.model.state_dict().values())


def test_values_that_are_not_finite_are_refused_by_name(folder: Path):
    state = load_file(folder / "model.safetensors")
    state["head.classifier.weight"][0, 0] = float("nan")
    change_weights(folder, state)
    with pytest.raises(CheckpointError, match=r"1 key with values that are not finite \(head\.classifier\.weight\)"):
        read_model(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_weights_that_are_no_real_numbers_are_refused(folder: Path, dtype: torch.dtype):
    state = load_file(folder / "model.safetensors")
    state["head.classifier.weight"] = state["head.classifier.weight"].to(dtype)
    change_weights(folder, state)
    with pytest.raises(CheckpointError, match=r"no real numbers \(head\.classifier\.weight torch\."):
        read_model(folder)


def test_a_network_beyond_memory_is_a_mistake_in_the_recipe(monkeypatch: pytest.MonkeyPatch):
    recipe = tiny_recipe()
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        monkeypatch.setattr(backbones, "build_backbone", Mock(side_effect=error))
        with pytest.raises(RecipeError, match="does not fit into memory"):
            build_model(recipe, recipe.data.label_space())
    with pytest.raises(RecipeError, match=r"hidden_dim"):
        tiny_recipe("model.hidden_dim=4000000000")
