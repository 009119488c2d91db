"""`model.json`: what older versions wrote is read, and what contradicts itself is not believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from model_states import cpu_state
from safetensors.torch import save_file
from tiny import tiny_recipe

from hlcli.building import build_model
from hlcli.errors import CheckpointError, RecipeError
from hlcli.models.description import read_description
from hlcli.models.folder import model_facts, read_model, save_model

OLD = sorted((Path(__file__).parent / "old_models").glob("*.json"))
"""Descriptions, and names and shapes of weights, as the commit in the file's name wrote them."""


def write_old(file: Path, folder: Path) -> dict[str, Any]:
    """The old model with weights made up; its description."""
    old = json.loads(file.read_text(encoding="utf-8"))
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(old["model.json"]), encoding="utf-8")
    state = {
        name: torch.tensor(1) if name.endswith("num_batches_tracked") else torch.rand(shape) * 0.1 + 0.01
        for name, shape in old.get("shapes", {}).items()
    }
    save_file(state, folder / "model.safetensors")
    return dict(old["model.json"])


def test_every_method_of_the_papers_has_an_old_model() -> None:
    assert [file.stem.partition("-")[0] for file in OLD] == ["hin", "hleg", "hspnet", "salgl", "sgre"]


@pytest.mark.parametrize("file", OLD, ids=lambda file: file.stem)
def test_older_descriptions_are_read(file: Path, tmp_path: Path) -> None:
    document = write_old(file, tmp_path / "model")
    found = read_description(tmp_path / "model")
    assert found.facts == document["facts"] == model_facts(tmp_path / "model")
    assert found.labels.to_json()["levels"] == document["labels"]["levels"]
    assert found.thresholds == (tuple(document["thresholds"]) if document["thresholds"] else None)
    assert (found.vocabulary is None) == (document.get("vocabulary") is None)


@pytest.mark.parametrize("file", [file for file in OLD if "hin" not in file.stem], ids=lambda file: file.stem)
def test_older_models_are_opened(file: Path, tmp_path: Path) -> None:
    write_old(file, tmp_path / "model")
    torch.manual_seed(0)
    loaded = read_model(tmp_path / "model")
    with torch.inference_mode():
        logits = loaded.model(torch.rand(2, 3, *loaded.recipe.data.height_width)).logits
    assert logits.shape == (2, loaded.labels.num_labels)
    assert logits.isfinite().all()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recipe = tiny_recipe()
    labels = recipe.data.label_space()
    save_model(tmp_path / "model", cpu_state(build_model(recipe, labels)), recipe, labels, thresholds=None, facts={})
    return tmp_path / "model"


def change(folder: Path, **values: Any) -> None:
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps(document | values), encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value"), [("normalization", {"mean": [0.5] * 3, "std": [0.5] * 3}), ("image_size", [64, 64])]
)
def test_images_are_seen_in_one_way(folder: Path, key: str, value: Any) -> None:
    change(folder, **{key: value})
    with pytest.raises(CheckpointError, match=rf"{key} .* contradicts its recipe, by which it is"):
        read_model(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("thresholds", ["0.5", "0.5", "0.5"]), ("thresholds", [True, 0.5, 0.5]), ("thresholds", "0.5"),
        ("format", -1), ("format", 0), ("format", True), ("format", 1.0), ("format", "1"),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_not_believed(folder: Path, key: str, value: Any) -> None:
    change(folder, **{key: value})
    with pytest.raises(CheckpointError, match=rf"model\.json cannot be read: ValueError\(.*{key} "):
        read_model(folder)


def test_a_key_that_nobody_knows_names_the_version_that_wrote_it(folder: Path) -> None:
    recipe = tiny_recipe().to_dict()
    recipe["model"]["hidden_dimm"] = 3
    change(folder, recipe=recipe, hlcli="0.0.7")
    with pytest.raises(RecipeError, match=r"model\.hidden_dimm: unknown key\. Did you mean hidden_dim\?") as caught:
        read_model(folder)
    assert "written by hlcli 0.0.7: use that one, or correct model.json" in str(caught.value)
